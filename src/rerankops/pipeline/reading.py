"""The reader and the judge that the settings name, with their clients, and what became of asking them.

What a language model said is kept by its content (pipeline.answers). An evaluation that lacks verdicts because a server
was away or the budget spent is therefore not published: run again, it goes on where it stopped and pays for nothing
twice. Verdicts that no other run would bring (an answer cut, filtered or not in the form) are published as missing, and
the gate weighs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops.config import Settings
from rerankops.errors import ServerUnavailable, SettingsError
from rerankops.evaluation import judge as judging
from rerankops.evaluation import readers
from rerankops.llm import Budget, Client
from rerankops.pipeline.answers import StoredAnswers
from rerankops.pipeline.context import Context
from rerankops.pipeline.gold_sets import entries
from rerankops.records import GoldEntry, GoldQuestion
from rerankops.workspace import Address


@dataclass(frozen=True)
class Reading:
    """One run's reader and judge. budget: what both spend; None when no language model is asked."""

    reader: readers.Remembered
    judge: judging.Remembered
    budget: Budget | None

    def problems(self) -> dict[str, dict[str, int]]:
        """Missing answers and verdicts by kind of reason, for people: {"reader": {"cut": 2}, "judge": {}}."""
        return {name: dict(one.counts) for name, one in self._problems().items()}

    def examples(self) -> dict[str, dict[str, dict[str, str]]]:
        """One of each kind of `problems`, for people: {"reader": {"cut": {"reason": …, "reply": …}}, "judge": {}}."""
        return {name: one.examples for name, one in self._problems().items()}

    def require_finished(self, tolerated: float) -> None:
        """Raises what `unfinished` raises when more than this share of readings waits for another run."""
        unfinished(self.reader.problems + self.judge.problems, asked=self.reader.read, tolerated=tolerated)

    def _problems(self) -> dict[str, readers.Problems]:
        return {"reader": self.reader.problems, "judge": self.judge.problems}


@contextmanager
def reading(context: Context) -> Iterator[Reading]:
    """The reader and the judge of the settings, each answer of theirs had once.

    Raises SettingsError, ModelUnavailable when they cannot be had.
    """
    settings = context.settings
    asks = "llm" in (settings.reader.kind, settings.judge.kind)
    budget = Budget(settings.llm.request_budget, settings.llm.token_budget) if asks else None
    cache = StoredAnswers(context.workspace)
    with ExitStack() as stack:
        reader = judge = None
        if settings.reader.kind == "llm":
            reader = stack.enter_context(Client(settings.llm, cache=cache, budget=budget))
        if settings.judge.kind == "llm":
            asked = judging.asked_of(settings.judge, settings.llm)
            judge = stack.enter_context(Client(asked, cache=cache, budget=budget))
        yield Reading(
            readers.Remembered(readers.configured(settings.reader, reader)),
            judging.Remembered(judging.configured(settings.judge, judge)),
            budget,
        )


def identity(settings: Settings) -> dict[str, Any]:
    """What changes an answer or a verdict, for the address of what is made of them."""
    return {
        "reader": readers.identity(settings.reader, settings.llm),
        "judge": judging.identity(settings.judge, settings.llm),
    }


def unfinished(problems: readers.Problems, *, asked: int, tolerated: float = 0.0) -> None:
    """Raises ServerUnavailable when a server was away, SettingsError when the budget was spent, for more than the
    tolerated share of what was asked. problems: by kind of reason; other kinds are no matter of running again."""
    waiting = sum(problems.counts[kind] for kind in readers.TRANSIENT)
    if waiting <= tolerated * asked:
        return
    share = f"{waiting} of {asked} questions have no verdict"
    if problems.counts["unavailable"]:
        raise ServerUnavailable(f"{share}: {problems.examples['unavailable']['reason']}; what was answered is kept")
    raise SettingsError(
        f"{share}: {problems.examples['budget']['reason']}; run again, or raise llm.request_budget or "
        "llm.token_budget: what was answered is kept and not paid for again"
    )


def unanswerable_questions(context: Context, gold: Address) -> pa.Table:
    """records.GoldQuestion of what people marked unanswerable in the frozen set behind `gold`, retired ones left out;
    no rows when gold comes from a file, which cannot mark any."""
    for source in context.workspace.manifest(gold).inputs:
        if source.split("/")[0] == GoldEntry.name:
            frozen = entries(context.workspace, source)
            kept = frozen.filter(pl.col("unanswerable"), pl.col("retired_version").is_null())
            return GoldQuestion.conform(kept.select(GoldQuestion.columns).to_arrow())
    return GoldQuestion.empty()
