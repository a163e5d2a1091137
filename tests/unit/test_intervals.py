"""The interval of a share against scipy's, for numbers and for whole columns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rerankops.intervals import wilson


def test_a_column_of_shares_has_scipys_intervals() -> None:
    hits, n = np.array([0, 1, 5, 81, 263, 10]), np.array([1, 1, 9, 263, 263, 20])
    low, high = wilson(hits / n, n)
    expected = [
        stats.binomtest(k, of).proportion_ci(method="wilson") for k, of in zip(hits.tolist(), n.tolist(), strict=True)
    ]
    assert np.column_stack([low, high]) == pytest.approx(np.array(expected))


def test_other_confidences_have_other_points() -> None:
    low, high = wilson(0.3, 40, stats.norm.ppf(0.95))
    expected = stats.binomtest(12, 40).proportion_ci(0.9, method="wilson")
    assert (float(low), float(high)) == pytest.approx(tuple(expected))


def test_nothing_counted_says_nothing_and_everything_counted_leaves_no_doubt() -> None:
    low, high = wilson([0.5, np.nan], [0, 4])
    assert np.isnan([low, high]).all()
    assert [float(end) for end in wilson(0.4, np.inf)] == [0.4, 0.4]
