"""What the gate can tell with the gold questions there are, before anything is trained (`rerankops gate power`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rerankops.errors import SettingsError
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.evaluation import read_outcomes
from rerankops.pipeline.looks import looks
from rerankops.promotion.power import Effect, Population, assumed, detectable_gain, sample_size, simulate, stopped_loss
from rerankops.records import GoldQuestion

GAINS = (0.01, 0.02, 0.03, 0.05)
"""Gains for which the number of questions is worked out."""


@dataclass(frozen=True)
class Power:
    """What the simulated decisions say of a gold set.

    basis: where the population comes from, in words. strata: questions of each. false_promotions: share of the
    contenders no better that were promoted. gain: what is noticed with a chance of .8, None: not even 25 points.
    losses: the loss in each stratum that is stopped with that chance. needed: gain to number of questions.
    """

    basis: str
    strata: dict[str, int]
    false_promotions: float
    gain: float | None
    losses: dict[str, float | None]
    needed: dict[float, int | None]


def power(
    context: Context, *, right: float | None, discordant: float | None, runs: int, tell: Callable[[str], None]
) -> Power:
    """right, discordant: assumptions to use in place of the newest evaluation, both or neither.
    Raises SettingsError when there is neither an evaluation nor an assumption."""
    population, basis = _population(context, right, discordant)
    asked, seed = context.settings.promotion, context.settings.evaluation.seed
    names, counts = np.unique(population.strata, return_counts=True)
    tell("contenders that are no better")
    none = float(simulate(population, asked, Effect(), runs=runs, seed=seed).mean())
    tell("the smallest gain that is noticed")
    gain = detectable_gain(population, asked, runs=runs, seed=seed)
    losses: dict[str, float | None] = {}
    for name, count in zip(names.tolist(), counts.tolist(), strict=True):
        if gain is not None and count >= asked.min_stratum_questions:
            tell(f"the smallest loss in {name} that is stopped")
            losses[name] = stopped_loss(population, asked, name, gain=gain, runs=runs, seed=seed)
    needed = {}
    for effect in GAINS:
        tell(f"questions that notice {100 * effect:g} points")
        needed[effect] = sample_size(population, asked, effect, runs=runs, seed=seed)
    return Power(basis, dict(zip(names.tolist(), counts.tolist(), strict=True)), none, gain, losses, needed)


def _population(context: Context, right: float | None, discordant: float | None) -> tuple[Population, str]:
    workspace, metric = context.workspace, context.settings.promotion.primary_metric
    gold = workspace.read(
        workspace.require(GOLD, "run refresh_corpus_index first; there are no gold questions"), GoldQuestion
    )
    if (right is None) != (discordant is None):
        raise SettingsError("--right and --discordant are assumed together; give both or neither")
    if right is not None and discordant is not None:
        strata = np.asarray(gold["stratum"].to_pylist())
        try:
            made = assumed(metric, strata, right=right, discordant=discordant, seed=context.settings.evaluation.seed)
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

    values = aligned(read_outcomes(context, newest), gold, metric)
    against = "champion" if "champion" in values.values else "retrieval_only"
    one, other = (np.asarray(values.values[name], dtype=np.float64) for name in ("challenger", against))
    known = ~(np.isnan(one) | np.isnan(other))
    population = Population(metric, one[known], other[known], np.asarray(values.strata)[known])
    return population, f"measured: challenger and {against} of {newest}"
