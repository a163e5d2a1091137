"""What the gate can tell with the gold questions there are, before anything is trained (`rerankops gate power`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rerankops.errors import SettingsError
from rerankops.evaluation.readers import may_refuse
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.evaluation import read_outcomes
from rerankops.pipeline.looks import looks
from rerankops.promotion.power import (
    Effect,
    Look,
    Noticed,
    Population,
    assumed,
    detectable_gain,
    noticed_losses,
    sample_size,
    simulate,
)
from rerankops.records import GoldQuestion

GAINS = (0.01, 0.02, 0.03, 0.05)
"""Gains for which the number of questions is worked out."""
LOOKS = 4
"""The first so many looks are told."""


@dataclass(frozen=True)
class Gain:
    """What one look notices with a chance of .8. number: of the look, from 1. level: what it spends. questions: that it
    rests on. gain: in the first metric, further: in each other one; None: not even 25 points."""

    number: int
    level: float
    questions: int
    gain: float | None
    further: dict[str, float | None]


@dataclass(frozen=True)
class Power:
    """What the gate says of a gold set, by simulating its decisions where it has no formula. Strata that it cannot tell
    about count as accepted.

    basis: where the population comes from, in words. metrics: those that are known of it. false_promotions: share of
    the contenders no better that were promoted at the first look. looks: the first ones. strata: the loss in each that
    is noticed with a chance of .8. needed: gain to number of questions, at the first look.
    """

    basis: str
    metrics: tuple[str, ...]
    false_promotions: float
    looks: tuple[Gain, ...]
    strata: dict[str, Noticed]
    needed: dict[float, int | None]


def power(
    context: Context, *, right: float | None, discordant: float | None, runs: int, tell: Callable[[str], None]
) -> Power:
    """right, discordant: assumptions to use in place of the newest evaluation, both or neither.
    Raises SettingsError when there is neither an evaluation nor an assumption."""
    population, basis = _population(context, right, discordant)
    asked, seed = context.settings.promotion, context.settings.evaluation.seed
    first, *others = population.values
    tell("contenders that are no better")
    none = float(simulate(population, asked, Effect(), runs=runs, seed=seed).mean())
    told = []
    for number in range(1, LOOKS + 1):
        tell(f"the smallest gain that look {number} notices")
        questions = population.n if number == 1 else round(population.n * asked.reserve_share)
        look = Look(questions, asked.alpha / 2**number)
        gains = {
            metric: detectable_gain(population, asked, metric=metric, runs=runs, seed=seed, look=look)
            for metric in (first, *others)
        }
        told.append(Gain(number, look.level or 0.0, questions, gains.pop(first), gains))
    needed = {}
    for effect in GAINS:
        tell(f"questions that notice {100 * effect:g} points")
        needed[effect] = sample_size(population, asked, effect, runs=runs, seed=seed)
    noticed = noticed_losses(population, asked, refusals=may_refuse(context.settings.reader))
    return Power(basis, (first, *others), none, tuple(told), noticed, needed)


def _population(context: Context, right: float | None, discordant: float | None) -> tuple[Population, str]:
    workspace, metrics = context.workspace, context.settings.promotion.metrics
    gold = workspace.read(
        workspace.require(GOLD, "run refresh_corpus_index first; there are no gold questions"), GoldQuestion
    )
    if (right is None) != (discordant is None):
        raise SettingsError("--right and --discordant are assumed together; give both or neither")
    if right is not None and discordant is not None:
        strata = np.asarray(gold["stratum"].to_pylist())
        seed = context.settings.evaluation.seed
        try:
            made = assumed(metrics[0], strata, right=right, discordant=discordant, seed=seed)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        return made, f"assumed: right on {right:.0%}, disagreeing on {discordant:.0%}"
    finished = [look.evaluation for look in looks(context) if workspace.exists(look.evaluation)]
    if not finished:
        raise SettingsError(
            "no evaluation was made yet, so nothing is known of how systems differ on these questions; give --right "
            "and --discordant, for example 0.8 and 0.1"
        )
    newest = finished[-1]
    from rerankops.evaluation.ladder import aligned

    values = aligned(read_outcomes(context, newest), gold, metrics)
    against = "champion" if "champion" in values.values[metrics[0]] else "retrieval_only"
    pairs = {metric: (found["challenger"], found[against]) for metric, found in values.values.items()}
    known = ~np.any([np.isnan(values) for values in pairs[metrics[0]]], axis=0)
    cut = {metric: (one[known], other[known]) for metric, (one, other) in pairs.items()}
    whole = {metric: pair for metric, pair in cut.items() if not any(np.isnan(values).any() for values in pair)}
    return Population(whole, np.asarray(values.strata)[known]), f"measured: challenger and {against} of {newest}"
