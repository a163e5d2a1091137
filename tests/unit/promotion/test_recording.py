"""Names of strata and systems as names of MLflow's metrics."""

from __future__ import annotations

import pytest

from rerankops.promotion.recording import metrics, plain

STRATA = [
    "numeric",
    "a/b",
    "a_b",
    "../../up",
    "/root",
    "a//b",
    "数字/单位",
    "．／",
    "x" * 400,
    "x" * 400 + "y",
    "a.b",
    ":",
]


def named(strata: list[str]) -> list[str]:
    rows = {name: {"accuracy": 0.5, "n": 3} for name in strata}
    return [name for name, _ in metrics({"systems": [{"name": "champion", "strata": rows}]})]


def test_mlflow_takes_every_stratum_and_no_two_become_one() -> None:
    from mlflow.utils.validation import _validate_metric_name

    names = named(STRATA)
    assert len(set(names)) == len(STRATA)
    for name in names:
        _validate_metric_name(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("recall@10", "recall_at_10"), ("accuracy.champion.后备箱 容积", "accuracy.champion.后备箱 容积")],
)
def test_ordinary_names_stay_readable(name: str, expected: str) -> None:
    assert plain(name) == expected
