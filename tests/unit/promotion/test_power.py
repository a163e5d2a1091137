"""Power: the population's arithmetic exactly, the gate's odds by a few hundred decisions with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower
from test_gate import Asked

from rerankops.promotion.power import (
    Effect,
    Look,
    Population,
    _changed,
    assumed,
    decisions,
    detectable_gain,
    noticed_losses,
    sample_size,
    simulate,
)

STRATA = np.asarray(["numeric"] * 240 + ["procedure"] * 200 + ["summary"] * 160)
POPULATION = assumed("accuracy", STRATA, right=0.7, discordant=0.1, seed=3)


def test_an_assumed_population_is_as_right_and_as_discordant_as_assumed() -> None:
    large = assumed("accuracy", np.repeat(STRATA, 200), right=0.7, discordant=0.1, seed=3)
    assert large.values["accuracy"][0].mean() == pytest.approx(0.7, abs=0.005)
    assert large.values["accuracy"][1].mean() == pytest.approx(0.7, abs=0.005)
    assert np.mean(large.values["accuracy"][0] != large.values["accuracy"][1]) == pytest.approx(0.1, abs=0.005)


def test_systems_that_cannot_disagree_so_much_are_refused() -> None:
    with pytest.raises(ValueError, match=r"can disagree on 0\.2 of them at most, not on 0\.4"):
        assumed("accuracy", STRATA, right=0.9, discordant=0.4, seed=1)


def test_values_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="both systems need a value"):
        Population({"accuracy": (np.ones(3), np.ones(4))}, np.asarray(["a"] * 3))


@pytest.mark.parametrize("values", [np.repeat([0.0, 1.0], 5000), np.tile([0.0, 0.25, 0.5, 1.0], 2500)])
def test_an_effect_is_the_expected_difference_whatever_the_metric(values: np.ndarray) -> None:
    strata = np.asarray(["a", "b"] * 5000)
    rng = np.random.default_rng(0)
    gained = (
        np.mean([_changed(values, strata, Effect(0.04), rng.random(values.size)).mean() for _ in range(50)])
        - values.mean()
    )
    assert gained == pytest.approx(0.04, abs=0.002)
    mixed = [_changed(values, strata, Effect(0.04, {"a": 0.1}), rng.random(values.size)) for _ in range(50)]
    assert np.mean([m.mean() for m in mixed]) - values.mean() == pytest.approx(0.04, abs=0.002)
    harmed = strata == "a"
    assert np.mean([m[harmed].mean() for m in mixed]) - values[harmed].mean() == pytest.approx(-0.1, abs=0.003)


def test_no_effect_changes_nothing() -> None:
    values = POPULATION.values["accuracy"][0]
    assert np.array_equal(_changed(values, STRATA, Effect(), np.random.default_rng(0).random(values.size)), values)


def test_contenders_that_are_no_better_are_promoted_at_most_as_often_as_alpha() -> None:
    # 32 of 400 is what a gate of exactly .05 would exceed less than once in two hundred times
    assert simulate(POPULATION, Asked(), Effect(), runs=400, seed=1).sum() <= 32


def test_the_same_seed_gives_the_same_decisions() -> None:
    once, twice = (simulate(POPULATION, Asked(), Effect(0.03), runs=50, seed=5) for _ in range(2))
    assert np.array_equal(once, twice)
    assert 0 < once.sum() < 50


def test_a_gain_that_is_said_to_be_noticed_is_noticed_with_other_seeds() -> None:
    gain = detectable_gain(POPULATION, Asked(), runs=200, seed=11)
    assert gain is not None
    assert 0.02 <= gain <= 0.08
    # 200 of a true share of .8 fall below 145 less than once in two hundred times
    assert simulate(POPULATION, Asked(), Effect(gain), runs=200, seed=12).sum() >= 145


def test_a_loss_that_is_said_to_be_noticed_is_noticed() -> None:
    """Closed form against simulation, in every stratum: 150 of a true .8 fall below 106 less than once in two hundred
    times, and the teeth of a discrete test take it up to .87."""
    for number, (name, found) in enumerate(noticed_losses(POPULATION, Asked()).items()):
        assert found.loss is not None
        made = decisions(POPULATION, Asked(), Effect(0.03, {name: found.loss}), runs=150, seed=40 + number)
        worse = sum(
            rule.verdict == "failed" for one in made for rule in one.rules if rule.name == f"challenger: stratum {name}"
        )
        assert 106 <= worse <= 143


def test_the_questions_that_notice_what_must_be_noticed_are_as_many_as_said() -> None:
    found = noticed_losses(POPULATION, Asked(max_unnoticed_stratum_loss=0.05))["summary"]
    assert found.loss is not None
    assert found.loss > 0.05
    assert found.needed is not None
    larger = Population({"accuracy": POPULATION.values["accuracy"]}, STRATA)
    times = found.needed / found.questions
    grown = assumed("accuracy", np.repeat(larger.strata, int(np.ceil(times))), right=0.7, discordant=0.1, seed=3)
    assert noticed_losses(grown, Asked())["summary"].loss == pytest.approx(0.05, abs=0.008)


def test_an_equal_contender_is_refused_for_its_strata_at_most_as_often_as_said() -> None:
    made = decisions(POPULATION, Asked(), Effect(), runs=200, seed=50)
    refused = sum(any("stratum" in rule.name and rule.verdict == "failed" for rule in one.rules) for one in made)
    assert refused <= 32  # what a true share of .10 exceeds less than once in two hundred times


def test_more_questions_notice_smaller_gains() -> None:
    few = detectable_gain(POPULATION, Asked(), runs=100, seed=1, look=Look(300))
    many = detectable_gain(POPULATION, Asked(), runs=100, seed=1, look=Look(2400))
    assert few is not None
    assert many is not None
    assert many < few


def test_the_sample_size_is_enough_and_not_far_too_much() -> None:
    needed = sample_size(POPULATION, Asked(), 0.03, runs=100, seed=2)
    assert needed is not None
    assert simulate(POPULATION, Asked(), Effect(0.03), runs=200, seed=3, look=Look(needed)).mean() >= 0.75
    assert simulate(POPULATION, Asked(), Effect(0.03), runs=200, seed=3, look=Look(needed // 2)).mean() < 0.8


ONE_STRATUM = assumed("accuracy", np.asarray(["all"] * 600), right=0.7, discordant=0.1, seed=3)
SUPERIORITY = Asked(stratum_alpha=0.0)
"""Thresholds by which superiority alone decides, so that the textbook has the answer."""


def textbook(gain: float) -> float:
    """Standard deviation of one question's difference to a contender of that gain, over the gain."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(200):
        swap = rng.random(ONE_STRATUM.n) < 0.5
        one, other = ONE_STRATUM.values["accuracy"]
        contender, base = np.where(swap, one, other), np.where(swap, other, one)
        values.append(_changed(contender, ONE_STRATUM.strata, Effect(gain), rng.random(base.size)) - base)
    differences = np.concatenate(values)
    return float(differences.std() / differences.mean())


@pytest.mark.parametrize(("gain", "n"), [(0.02, 600), (0.03, 600), (0.03, 1000), (0.05, 400), (0.04, 300)])
def test_the_simulated_power_is_statsmodels(gain: float, n: int) -> None:
    """McNemar's mid-p keeps its level and comes near to it, as a z-test does."""
    expected = NormalIndPower().power(1 / textbook(gain), n, 0.025, ratio=0, alternative="larger")
    found = simulate(ONE_STRATUM, SUPERIORITY, Effect(gain), runs=400, seed=21, look=Look(n)).mean()
    assert expected - 0.14 < found < expected + 0.06


@pytest.mark.parametrize("gain", [0.03, 0.05])
def test_the_sample_size_is_statsmodels(gain: float) -> None:
    """Somewhat more: the test is exact, and the simulation has to be sure of its share."""
    expected = NormalIndPower().solve_power(1 / textbook(gain), alpha=0.025, power=0.8, ratio=0, alternative="larger")
    found = sample_size(ONE_STRATUM, SUPERIORITY, gain, runs=300, seed=22)
    assert found is not None
    assert expected < found < 1.6 * expected
