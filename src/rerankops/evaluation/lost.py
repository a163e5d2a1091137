"""Handles gold questions about passages that left the corpus: no system can rank these passages, so none is expected
to."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from rerankops.errors import InputError
from rerankops.records import GoldQuestion


def without_lost(gold: pa.Table, corpus: pa.Table, *, at_most: float) -> tuple[pa.Table, dict[str, int]]:
    """Removes relevant passages that the corpus no longer contains from the gold questions. Returns the questions, and
    how many passages and whole questions were lost.

    gold: records.GoldQuestion. corpus: passage_id, …. A question that lost all its relevant passages has no ranking
    metrics, like one whose relevant passages were never known; its accuracy is measured as before.
    Raises InputError when more than the share `at_most` of the questions with relevant passages lost all of them.
    """
    relevant = pl.col("relevant_passage_ids")
    frame = pl.DataFrame(pl.from_arrow(gold)).with_row_index("_row")
    rows = frame.select("_row", "relevant_passage_ids", grades="relevant_grades")
    graded = rows.filter(pl.col("grades").is_not_null()).explode("relevant_passage_ids", "grades")
    ungraded = rows.filter(pl.col("grades").is_null()).explode("relevant_passage_ids")
    there = pl.DataFrame(corpus.select(["passage_id"]))["passage_id"].implode()
    kept = (
        pl.concat([graded, ungraded.with_columns(grades=pl.lit(None, pl.Int8))])
        .filter(pl.col("relevant_passage_ids").is_in(there))
        .group_by("_row", maintain_order=True)
        .agg("relevant_passage_ids", "grades")
    )
    named = int(frame.select(relevant.list.len().sum()).item() or 0)
    passages = named - int(kept.select(relevant.list.len().sum()).item() or 0)
    asked = frame.filter(relevant.list.len() > 0)
    questions = asked.height - kept.height
    if asked.height and questions / asked.height > at_most:
        example = asked.join(kept, on="_row", how="anti")["question_id"][0]
        raise InputError(
            f"{questions} of {asked.height} gold questions lost all their relevant passages, {example} among them: the "
            f"corpus does not hold them; at most the share {at_most} is expected (quality.max_lost_gold_share). Are "
            "gold questions and corpus of the same version? Was the corpus cut into other passages, or given other "
            "ids? Then name the questions' passages anew"
        )
    if not passages:
        return gold, {"lost_passages": 0, "lost_questions": 0}
    none = frame.select("_row").join(kept, on="_row", how="left", maintain_order="left")
    left = frame.with_columns(
        relevant_passage_ids=none["relevant_passage_ids"].fill_null([]),
        relevant_grades=pl.when(pl.col("relevant_grades").is_null()).then(None).otherwise(none["grades"].fill_null([])),
    )
    table = GoldQuestion.conform(left.select(GoldQuestion.columns).to_arrow())
    return table, {"lost_passages": passages, "lost_questions": questions}
