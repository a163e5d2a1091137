"""What an answer costs: the sample, the medians, and memory that was in use only for a moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from rerankops import config
from rerankops.pipeline import costs
from rerankops.pipeline.context import Context
from rerankops.workspace import Workspace


@pytest.fixture
def measuring() -> Callable[[int], Context]:
    def of(questions: int) -> Context:
        settings = config.load(environ={}, overrides={"evaluation": {"latency_questions": questions}})
        return Context(settings, Workspace("memory://costs"))

    return of


def test_the_sample_is_spread_over_all_questions_and_has_one_to_warm_up(measuring: Callable[[int], Context]) -> None:
    texts = {f"q{number:03}": "" for number in range(100)}
    assert costs._sampled(measuring(3), texts) == ["q000", "q033", "q066", "q099"]
    assert costs._sampled(measuring(3), {"q1": "", "q2": ""}) == ["q1", "q2"]
    assert costs._sampled(measuring(3), {}) == []


def test_the_first_question_warms_up_and_does_not_count() -> None:
    assert costs._median([900.0, 2.0, 4.0]) == 3.0
    assert costs._median([900.0]) == 900.0
    assert costs._median([]) is None


def test_memory_given_back_before_the_end_was_in_use_all_the_same() -> None:
    """In a process of its own: memory that earlier tests are done with may be given back meanwhile."""
    program = """
import numpy as np
from rerankops.pipeline import costs
with costs._peak() as peak:
    block = np.ones(8_000_000)
    del block
print(peak())
"""
    taken = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
    if taken == "None":  # only Linux tells
        pytest.skip("this system does not tell its peak memory")
    assert 56 <= float(taken) <= 120


def test_what_all_systems_share_is_no_part_of_what_a_ranker_takes() -> None:
    cost = {"bm25_ms": 50.0, "dense_ms": 60.0, "signals_ms": 1.5, "cross_encoder_ms": None, "blend_ms": 0.25}
    assert costs.ranking_ms(cost) == 1.75
