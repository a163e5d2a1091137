"""Annotations as numbers: what agreement, adjudication and scorecards count over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.errors import InputError
from rerankops.records import GRADES

Ints = NDArray[np.int64]
ADJUDICATION = "adjudication"
"""What tasks of an adjudication batch are chosen for (records.AnnotationTask)."""

_PAIR = ["query_id", "passage_id"]
_NO_CONTROL = -1


@dataclass(frozen=True)
class Answers:
    """Who gave what which grade: one element an answer, sorted by item, then annotator, each pair of these once.

    item, annotator: positions in `items` and `annotators`. grade: 0..n_grades-1.
    items: query_id, passage_id, query_text, stratum, control_grade, sorted; a pair that was also a control is another
    item as such. annotators: sorted.
    settled: item, grade, people (adjudicators who were asked) and share (of them who gave that grade); their answers
    are none of the above.
    """

    item: Ints
    annotator: Ints
    grade: Ints
    items: pl.DataFrame
    annotators: list[str]
    settled: pl.DataFrame
    n_grades: int

    @property
    def control(self) -> NDArray[np.bool_]:
        """Of each item, whether its grade was known beforehand."""
        return self.items["control_grade"].is_not_null().to_numpy()

    def votes(self) -> Ints:
        """How many gave each grade, (items, grades)."""
        return tally(self.item, self.grade, len(self.items), self.n_grades)


def tally(row: Ints, column: Ints, rows: int, columns: int) -> Ints:
    """How often each pair of numbers occurs, (rows, columns)."""
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns)


def gather(
    annotations: pa.Table,
    tasks: pa.Table,
    *,
    adjudicators: Collection[str] = (),
    n_grades: int = len(GRADES),
    delivered: NDArray[np.int64] | None = None,
) -> Answers:
    """The answers of all deliveries together; of an annotator who graded a pair twice, the newer one.

    annotations: records.Annotation, validated, of one or several deliveries; keys may repeat between deliveries.
    tasks: records.AnnotationTask of every batch they belong to. adjudicators: whose answers in an adjudication batch
    settle a pair; empty: everyone's. delivered: a number a row that grows with the moment of its delivery; of two
    answers with the same time the one that was delivered later is taken for its correction. The same rows in any order
    give the same answers.
    Raises InputError when a task is unknown or a grade outside 0..n_grades-1.
    """
    asked, items = _items(tasks)
    given = pl.DataFrame(pl.from_arrow(annotations.select(["task_id", "annotator_id", "grade", "annotated_at"])))
    order = np.zeros(given.height, dtype=np.int64) if delivered is None else delivered
    given = given.with_columns(delivered=order).join(asked, on="task_id", how="left", maintain_order="left")
    _refuse(given, n_grades)
    names = given["annotator_id"].unique().sort()
    settles = pl.col("adjudication") & (pl.col("annotator_id").is_in(list(adjudicators)) if adjudicators else True)
    coded = given.select(
        "item",
        annotator=pl.col("annotator_id").cast(pl.Enum(names)).to_physical().cast(pl.Int64),
        grade=pl.col("grade").cast(pl.Int64),
        at=pl.col("annotated_at").to_physical(),
        delivered="delivered",
        settles=settles,
    )
    experts = _newest(coded.filter("settles"), len(names))
    crowd = _newest(coded.filter(~pl.col("settles")), len(names))
    used = np.zeros(len(items), dtype=bool)
    used[crowd["item"].to_numpy()] = True
    used[experts["item"].to_numpy()] = True
    place = np.cumsum(used) - 1
    present = np.unique(crowd["annotator"].to_numpy())
    who = np.zeros(len(names), dtype=np.int64)
    who[present] = np.arange(present.size)
    return Answers(
        item=place[crowd["item"].to_numpy()],
        annotator=who[crowd["annotator"].to_numpy()],
        grade=crowd["grade"].to_numpy(),
        items=items.filter(pl.Series(used, dtype=pl.Boolean)),
        annotators=names.gather(present).to_list(),
        settled=_settled(experts.with_columns(item=pl.Series(place[experts["item"].to_numpy()], dtype=pl.Int64))),
        n_grades=n_grades,
    )


def _items(tasks: pa.Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Each task's item and whether it is for adjudication, and the items."""
    columns = ["task_id", *_PAIR, "query_text", "stratum", "control_grade", "chosen_for"]
    known = pl.col("control_grade").fill_null(_NO_CONTROL)
    table = pl.DataFrame(pl.from_arrow(tasks.select(columns))).unique("task_id", keep="first", maintain_order=True)
    table = table.sort(*_PAIR, known, "task_id")
    begins = pl.any_horizontal(pl.col(_PAIR) != pl.col(_PAIR).shift(), known != known.shift()).fill_null(value=True)
    table = table.with_columns(_begins=begins)
    asked = table.select(
        "task_id",
        item=pl.col("_begins").cast(pl.Int64).cum_sum() - 1,
        adjudication=pl.col("chosen_for").eq_missing(ADJUDICATION),
    )
    return asked, table.filter("_begins").select(*_PAIR, "query_text", "stratum", "control_grade")


def _refuse(given: pl.DataFrame, n_grades: int) -> None:
    problems = {
        "an unknown task": pl.col("item").is_null(),
        f"a grade outside 0..{n_grades - 1}": ~pl.col("grade").is_between(0, n_grades - 1),
    }
    for words, broken in problems.items():
        rows = given.filter(broken).sort("task_id", "annotator_id")
        if rows.height:
            raise InputError(
                f"{rows.height} annotation(s) with {words}, the first is grade {rows['grade'][0]} of task "
                f"{rows['task_id'][0]!r} by annotator {rows['annotator_id'][0]!r}; validate before adjudicating"
            )


def _newest(coded: pl.DataFrame, annotators: int) -> pl.DataFrame:
    """Sorted by item and annotator, the newest answer of each; at the same moment, the one delivered last, then the
    higher grade."""
    key = coded["item"].to_numpy() * annotators + coded["annotator"].to_numpy()
    order = np.lexsort((coded["grade"].to_numpy(), coded["delivered"].to_numpy(), coded["at"].to_numpy(), key))
    last = np.append(np.diff(key[order]) > 0, True)[: order.size]
    newest: pl.DataFrame = coded[order[last]]
    return newest


def _settled(experts: pl.DataFrame) -> pl.DataFrame:
    """The grade that most adjudicators gave; between equals, the newer one."""
    return (
        experts.group_by("item", "grade")
        .agg(count=pl.len(), at=pl.col("at").max())
        .with_columns(people=pl.col("count").sum().over("item").cast(pl.Int64))
        .with_columns(share=pl.col("count") / pl.col("people"))
        .sort("item", "count", "at", "grade")
        .unique("item", keep="last", maintain_order=True)
        .select("item", "grade", "people", "share")
    )
