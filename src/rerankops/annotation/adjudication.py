"""From several people's grades to one judgment with a confidence, and from new judgments into the old."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from rerankops.errors import InputError, RerankopsError
from rerankops.records import GRADES, Judgment

_ITEM = ["query_id", "passage_id"]


class NoAnnotations(RerankopsError):
    """There is nothing to adjudicate."""


def dawid_skene(annotations: pa.Table, tasks: pa.Table, *, iterations: int, n_grades: int = len(GRADES)) -> pa.Table:
    """Most probable grade of each (query, passage) and its posterior probability (Dawid and Skene, 1979).

    Each annotator has a matrix of how often they say k when the truth is c; expectation maximisation finds the
    matrices and the truths together, so that a careless annotator weighs less. Control tasks are left out. The same
    pair labelled in two batches is one judgment. With one annotator it returns that annotator's grades, and the
    confidence, 1, says nothing.

    annotations: records.Annotation, validated. tasks: records.AnnotationTask of every batch they belong to.
    Returns records.Judgment, sorted by its key. Raises NoAnnotations when no task but controls has a grade,
    InputError when a task is unknown or a grade outside 0..n_grades-1.
    """
    graded = _graded(annotations, tasks, n_grades)
    if not graded.height:
        raise NoAnnotations(
            f"no task but controls has a grade, among {annotations.num_rows} annotation(s); "
            "wait for annotations to come back"
        )
    judged = graded.group_by("_item").agg(
        pl.col(*_ITEM, "query_text", "stratum").first(),
        pl.col("annotator_id").n_unique().cast(pl.Int32).alias("annotator_count"),
    )
    return Judgment.conform(
        judged.join(_posterior(graded, iterations), on="_item")
        .with_columns(origin=pl.lit("human"))
        .sort(_ITEM)
        .select(Judgment.columns)
        .to_arrow()
    )


def merge(old: pa.Table, new: pa.Table) -> pa.Table:
    """Old judgments with the new ones put over them: of the same key, the new one stays. Both records.Judgment."""
    before, after = pl.DataFrame(pl.from_arrow(old)), pl.DataFrame(pl.from_arrow(new))
    kept = before.join(after, on=list(Judgment.key), how="anti")
    return Judgment.conform(pl.concat([kept, after]).sort(Judgment.key).to_arrow())


def _graded(annotations: pa.Table, tasks: pa.Table, n_grades: int) -> pl.DataFrame:
    """Annotations of tasks that are no controls, in a stable order, with `_item`: what is judged, as a number."""
    given = pl.DataFrame(pl.from_arrow(annotations.select(["task_id", "annotator_id", "grade"])))
    about = pl.DataFrame(pl.from_arrow(tasks.select(["task_id", *_ITEM, "query_text", "stratum", "control_grade"])))
    graded = given.join(about, on="task_id", how="left").sort("task_id", "annotator_id")
    problems = {
        "an unknown task": pl.col("query_id").is_null(),
        f"a grade outside 0..{n_grades - 1}": ~pl.col("grade").is_between(0, n_grades - 1),
    }
    for words, broken in problems.items():
        rows = graded.filter(broken)
        if rows.height:
            raise InputError(
                f"{rows.height} annotation(s) with {words}, the first is grade {rows['grade'][0]} of task "
                f"{rows['task_id'][0]!r} by annotator {rows['annotator_id'][0]!r}; validate before adjudicating"
            )
    asked = graded.filter(pl.col("control_grade").is_null())
    return asked.with_columns(_item=pl.struct(_ITEM).rank("dense").cast(pl.Int64))


def _posterior(graded: pl.DataFrame, iterations: int) -> pl.DataFrame:
    """Grade and confidence of each item."""
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    answers = pd.DataFrame(
        {
            "task": graded["_item"].to_numpy(),
            "worker": graded["annotator_id"].rank("dense").to_numpy(),
            "label": graded["grade"].to_numpy(),
        }
    )
    probabilities = DawidSkene(n_iter=iterations).fit_predict_proba(answers)
    return pl.DataFrame(
        {
            "_item": probabilities.index.to_numpy(),
            "grade": probabilities.columns.to_numpy()[probabilities.to_numpy().argmax(axis=1)],
            "confidence": probabilities.to_numpy().max(axis=1).clip(0.0, 1.0),
        }
    )
