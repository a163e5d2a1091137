"""From several people's grades to one judgment with a confidence, to an adjudicator where people differ too much, and
from new judgments into the old."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.annotation.answers import ADJUDICATION, Answers, Ints
from rerankops.annotation.confusion import Crowd, Floats, fit
from rerankops.config.settings import AdjudicationSettings, AnnotationSettings
from rerankops.errors import RerankopsError
from rerankops.records import AnnotationTask, Judgment, Record, field

_PAIR = ["query_id", "passage_id"]


class NoAnnotations(RerankopsError):
    """There is nothing to adjudicate."""


Contested = Record(
    "contested_pairs",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), ""),
            field("passage_id", pa.string(), ""),
            field("stratum", pa.string(), "of the query"),
            field("grade", pa.int8(), "adjudicated"),
            field("confidence", pa.float64(), "of that grade"),
            field("spread", pa.int8(), "highest grade given less the lowest"),
            field("entropy", pa.float64(), "of the posterior over grades, bits"),
        ]
    ),
    key=("query_id", "passage_id"),
)


@dataclass(frozen=True)
class Adjudication:
    """answers: what it rests on. crowd: its fit. grade, confidence: of each of the items, controls among them."""

    answers: Answers
    crowd: Crowd
    grade: Ints
    confidence: Floats

    def judgments(self) -> pa.Table:
        """records.Judgment of every item that is no control, sorted by its key; origin human."""
        people = self.answers.votes().sum(axis=1)
        settled = self.answers.settled
        people[settled["item"].to_numpy()] += settled["people"].to_numpy()
        table = self.answers.items.with_columns(
            grade=pl.Series(self.grade, dtype=pl.Int8),
            confidence=pl.Series(self.confidence),
            annotator_count=pl.Series(people, dtype=pl.Int32),
            origin=pl.lit("human"),
        )
        return Judgment.conform(table.filter(pl.col("control_grade").is_null()).select(Judgment.columns).to_arrow())

    def contested(self, settings: AdjudicationSettings) -> pa.Table:
        """Contested: what an adjudicator should see and has not settled, the least certain first.

        The confidence is below `contested_confidence`, or the grades are `contested_spread` apart and the posterior's
        entropy is above `contested_entropy`.
        """
        votes = self.answers.votes()
        n_grades = self.answers.n_grades
        given = votes > 0
        spread = np.where(given.any(axis=1), n_grades - 1 - given[:, ::-1].argmax(axis=1) - given.argmax(axis=1), 0)
        posterior = self.crowd.posterior
        bits = np.log2(posterior, out=np.zeros_like(posterior), where=posterior > 0)
        entropy = -(posterior * bits).sum(axis=1)
        apart = (spread >= settings.contested_spread) & (entropy > settings.contested_entropy)
        chosen = ((self.confidence < settings.contested_confidence) | apart) & ~self.answers.control
        chosen[self.answers.settled["item"].to_numpy()] = False
        table = self.answers.items.with_columns(
            grade=pl.Series(self.grade, dtype=pl.Int8),
            confidence=pl.Series(self.confidence),
            spread=pl.Series(spread, dtype=pl.Int8),
            entropy=pl.Series(entropy),
        ).filter(pl.Series(chosen, dtype=pl.Boolean))
        order = table.sort(pl.col("entropy").round(9), *_PAIR, descending=[True, False, False])
        return Contested.conform(order.select(Contested.columns).to_arrow())


def adjudicate(answers: Answers, settings: AdjudicationSettings) -> Adjudication:
    """Most probable grade of each item and how probable it is.

    dawid_skene: confusion.fit; the confidence is the posterior probability of the grade. majority: the grade most gave,
    between equals the one nearest the median, then the lower; the confidence is its share of the votes. mean: rounded,
    halves down; the confidence is 1 - the mean distance of the grades from it, over the longest distance. What an
    adjudicator settled is their grade, with `adjudicator_confidence` times the share of adjudicators who gave it.
    The same pair labelled in two batches is one judgment. With nobody to compare with, an annotator is believed, and
    the confidence says little.

    Raises NoAnnotations when no item but controls has a grade.
    """
    if answers.control.all():
        raise NoAnnotations(
            f"no task but controls has a grade, among {answers.grade.size} annotation(s); "
            "wait for annotations to come back"
        )
    known, settled = _known(answers, settings.adjudicator_confidence)
    crowd = fit(answers, known, iterations=settings.iterations, prior_answers=settings.prior_answers)
    rows = np.arange(len(answers.items))
    if settings.method == "dawid_skene":
        grade = crowd.posterior.argmax(axis=1)
        confidence = crowd.posterior[rows, grade]
    else:
        grade, confidence = (_majority if settings.method == "majority" else _mean)(answers.votes())
    at = answers.settled["item"].to_numpy()
    grade[at], confidence[at] = answers.settled["grade"].to_numpy(), settled
    return Adjudication(answers, crowd, grade, np.clip(confidence, 0.0, 1.0))


def merge(old: pa.Table, new: pa.Table) -> pa.Table:
    """Old judgments with the new ones put over them: of the same key, the new one stays. Both records.Judgment."""
    before, after = pl.DataFrame(pl.from_arrow(old)), pl.DataFrame(pl.from_arrow(new))
    kept = before.join(after, on=list(Judgment.key), how="anti")
    return Judgment.conform(pl.concat([kept, after]).sort(Judgment.key).to_arrow())


def adjudication_tasks(contested: pa.Table, tasks: pa.Table, *, batch_id: str, at_most: int) -> pa.Table:
    """The tasks of an adjudication batch, those of one query together; empty when nothing is contested.

    contested: Contested, what is to be asked first at the top. tasks: records.AnnotationTask in which the pairs were
    asked; texts come from the first by task id. The same arguments, tasks in any order, give the same table.
    """
    wanted = pl.DataFrame(pl.from_arrow(contested.slice(0, at_most).select(_PAIR)))
    texts = (
        pl.DataFrame(pl.from_arrow(tasks))
        .join(wanted, on=_PAIR, how="semi")
        .sort("task_id")
        .unique(_PAIR, keep="first", maintain_order=True)
        .sort(_PAIR)
    )
    ids = [_task_id(batch_id, *pair) for pair in texts.select(_PAIR).iter_rows()]
    table = texts.with_columns(
        batch_id=pl.lit(batch_id),
        task_id=pl.Series(ids, dtype=pl.String),
        control_grade=pl.lit(None, dtype=pl.Int8),
        chosen_for=pl.lit(ADJUDICATION),
    )
    return AnnotationTask.conform(table.select(AnnotationTask.columns).to_arrow())


def is_for_adjudication(tasks: pa.Table) -> bool:
    """Whether a batch goes to adjudicators, one person a task, no controls. tasks: its records.AnnotationTask."""
    return bool(tasks.num_rows) and set(tasks["chosen_for"].to_pylist()) == {ADJUDICATION}


def asked_of_adjudicators(settings: AnnotationSettings) -> AnnotationSettings:
    """What an adjudication batch is sent and validated by: one person a task, and any grades, because contested pairs
    are no sample of all pairs."""
    return settings.model_copy(
        update={"annotators_per_task": 1, "positive_share": (0.0, 1.0), "grade_drift": (1.0, 1.0)}
    )


def _task_id(batch_id: str, query_id: str, passage_id: str) -> str:
    return hashlib.sha256("\x1f".join([batch_id, query_id, passage_id]).encode()).hexdigest()[:24]


def _known(answers: Answers, adjudicator_confidence: float) -> tuple[Floats, Floats]:
    """Distributions over grades of controls and settled items, NaN of others; and confidences of the settled ones."""
    n_grades = answers.n_grades
    known = np.full((len(answers.items), n_grades), np.nan)
    control = answers.control
    known[control] = np.eye(n_grades)[answers.items["control_grade"].drop_nulls().to_numpy()]
    at, grade = answers.settled["item"].to_numpy(), answers.settled["grade"].to_numpy()
    sure = adjudicator_confidence * answers.settled["share"].to_numpy()
    known[at] = ((1 - sure) / (n_grades - 1))[:, None]
    known[at, grade] = sure
    return known, sure


def _majority(votes: Ints) -> tuple[Ints, Floats]:
    people = votes.sum(axis=1)
    median = (votes.cumsum(axis=1) * 2 >= people[:, None]).argmax(axis=1)
    n_grades = votes.shape[1]
    nearness = n_grades - np.abs(np.arange(n_grades) - median[:, None])
    grade = (votes * (n_grades + 1) + nearness).argmax(axis=1)
    return grade, votes[np.arange(len(votes)), grade] / np.maximum(people, 1)


def _mean(votes: Ints) -> tuple[Ints, Floats]:
    people = np.maximum(votes.sum(axis=1), 1)
    grades: NDArray[np.int64] = np.arange(votes.shape[1])
    grade = np.ceil((votes @ grades) / people - 0.5).astype(np.int64).clip(0)
    distance = (votes * np.abs(grades - grade[:, None])).sum(axis=1) / people
    return grade, 1 - distance / (votes.shape[1] - 1)
