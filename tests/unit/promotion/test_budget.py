"""The budget of looks at one gold set: what each may spend, and which questions no report shows."""

from __future__ import annotations

import numpy as np
import pytest

from rerankops.promotion import budget


def test_each_look_spends_half_of_what_is_left_and_all_of_them_at_most_alpha() -> None:
    levels: list[float] = []
    for _ in range(12):
        levels.append(budget.level(budget.spent((level, 1.0) for level in levels), 0.05))
    assert levels[:4] == pytest.approx([0.025, 0.0125, 0.00625, 0.003125])
    assert sum(levels) < 0.05


def test_an_earlier_look_counts_by_the_questions_that_today_rests_on() -> None:
    assert budget.spent([(0.025, 1.0), (0.0125, 0.5)]) == pytest.approx(0.03125)
    assert budget.level(budget.spent([(0.025, 0.0)]), 0.05) == pytest.approx(0.025)


def test_nothing_is_left_to_spend_when_more_was_spent_than_there_is_now() -> None:
    assert budget.level(0.06, 0.05) == 0.0


def test_every_tree_of_looks_costs_at_most_alpha() -> None:
    """Whichever looks are at contenders that are no better: the worst tree, by trying both kinds at every look."""

    def worst(spent: float, depth: int) -> float:
        if depth == 0:
            return 0.0
        level = budget.level(spent, 0.05)
        later = worst(spent + level, depth - 1)
        return max(level + later, 2 * later)

    assert worst(0.0, 12) <= 0.05


@pytest.mark.parametrize(("looks", "wanted"), [(3, 0.0125), (3, 0.02), (5, 0.0125), (8, 0.003)])
def test_new_questions_buy_the_level_that_they_are_said_to_buy(looks: int, wanted: float) -> None:
    level, n = 0.05 / 2**looks, 400
    more = budget.new_questions(level, wanted, n, 0.05)
    assert more is not None
    used = 0.05 - 2 * level
    assert budget.level(budget.spent([(used, n / (n + more))]), 0.05) >= wanted
    assert budget.level(budget.spent([(used, n / (n + more - 2))]), 0.05) < wanted


def test_no_number_of_questions_buys_more_than_half_of_alpha() -> None:
    assert budget.new_questions(0.0125, 0.025, 400, 0.05) is None
    assert budget.new_questions(0.0125, 0.01, 400, 0.05) == 0


def test_a_question_stays_where_it_is_when_others_come_and_go() -> None:
    questions = [f"q{i}" for i in range(4000)]
    kept = dict(zip(questions, budget.reserve(questions, 0.7, 17).tolist(), strict=True))
    assert np.mean(list(kept.values())) == pytest.approx(0.7, abs=0.03)
    others = [*questions[1000:2000][::-1], "new"]
    assert all(kept.get(q, v) == v for q, v in zip(others, budget.reserve(others, 0.7, 17).tolist(), strict=True))
    assert not budget.reserve(questions, 0.0, 17).any()
    assert budget.reserve(questions, 1.0, 17).all()
