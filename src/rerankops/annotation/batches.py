"""Batches of annotation tasks: the incumbent's top candidates of each query, with control tasks mixed in unmarked.

A control is a task whose grade is known beforehand; it measures the people who label, never the passages. Controls
need no expert: they are earlier judgments that several people agreed on (`sure_controls`), and sure negatives, a
query of the batch beside a passage drawn from the rest of the corpus. Only the grades 0 and 3 serve, because a control
counts as passed within one grade of the known one, and grades 1 and 2 would let almost every answer pass.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pyarrow as pa

from rerankops.errors import InputError, SettingsError
from rerankops.records import AnnotationTask, Record, field

SURE_GRADES = (0, 3)
"""The grades that a control may have."""
SURE_CONFIDENCE = 0.99
SURE_ANNOTATORS = 2
"""An earlier judgment is sure at this posterior, and only when at least two people gave it."""

Control = Record(
    "controls",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), "hash of the normalised text"),
            field("query_text", pa.string(), "as the annotator reads it"),
            field("stratum", pa.string(), "of the query"),
            field("passage_id", pa.string(), "which passage"),
            field("grade", pa.int8(), "known; only SURE_GRADES are used"),
        ]
    ),
    key=("query_id", "passage_id"),
)

_PAIR = ["query_id", "passage_id"]
_DRAWS = 16
"""Passages drawn for one sure negative; the first that is no candidate of the query is taken."""


def sure_controls(
    judgments: pa.Table, *, min_confidence: float = SURE_CONFIDENCE, min_annotators: int = SURE_ANNOTATORS
) -> pa.Table:
    """Earlier human judgments that can serve as controls. judgments: records.Judgment. Returns a Control table."""
    sure = pl.DataFrame(pl.from_arrow(judgments)).filter(
        pl.col("origin") == "human",
        pl.col("grade").is_in(SURE_GRADES),
        pl.col("confidence") >= min_confidence,
        pl.col("annotator_count") >= min_annotators,
    )
    return Control.conform(sure.select(Control.columns).to_arrow())


def make_batch(
    queries: pa.Table,
    candidates: pa.Table,
    passages: pa.Table,
    *,
    candidates_per_query: int,
    controls: pa.Table,
    control_share: float,
    batch_id: str,
    seed: int,
) -> pa.Table:
    """The tasks of one batch, in the order in which people should see them.

    queries: records.SelectedQuery, or Query when nothing is to be said of why they are asked. candidates: records.
    Candidate, every candidate of the queries and perhaps of others, ranked by the incumbent: the best
    `candidates_per_query` are asked, all of them are kept out of the sure negatives. passages: records.Passage.
    controls: Control table, `Control.empty()` when there is none. control_share: share of the batch's tasks that are
    controls; known grade 3 fills up to half of them, then known grade 0, then sure negatives.
    Returns records.AnnotationTask, the tasks of a query together, queries and tasks shuffled by the seed. The same
    arguments, their rows in any order, give the same table. Raises InputError when a candidate's passage is missing.
    """
    if not 0 <= control_share < 1:
        raise SettingsError(f"control_share is {control_share:g}; it must be at least 0 and below 1")
    rng = np.random.default_rng([seed, int(_digest(batch_id)[:8], 16)])
    reason = pl.col("chosen_for") if "chosen_for" in queries.column_names else pl.lit(None, dtype=pl.String)
    asked_of = pl.DataFrame(pl.from_arrow(queries)).select("query_id", "stratum", query_text="text", chosen_for=reason)
    corpus = pl.DataFrame(pl.from_arrow(passages.select(["passage_id", "title", "text"]))).rename(
        {"title": "passage_title", "text": "passage_text"}
    )
    pool = pl.DataFrame(pl.from_arrow(candidates.select([*_PAIR, "rank"]))).join(asked_of, on="query_id", how="semi")
    asked = (
        pool.sort("query_id", "rank", "passage_id")
        .group_by("query_id", maintain_order=True)
        .head(candidates_per_query)
        .join(asked_of, on="query_id")
        .with_columns(control_grade=pl.lit(None, dtype=pl.Int8))
        .select(*_PAIR, "query_text", "stratum", "control_grade", "chosen_for")
    )
    wanted = _control_count(asked.height, control_share)
    known = _known(controls, asked, corpus, wanted, rng)
    negatives = _sure_negatives(
        asked_of, pl.concat([pool.select(_PAIR), known.select(_PAIR)]), corpus, asked, wanted - known.height, rng
    )
    return AnnotationTask.conform(_laid_out(pl.concat([asked, known, negatives]), corpus, batch_id, rng).to_arrow())


def _control_count(asked: int, share: float) -> int:
    """Controls that make `share` of the whole batch, at least one where any is wanted."""
    if not asked or not share:
        return 0
    return max(1, round(asked * share / (1 - share)))


def _known(
    controls: pa.Table, asked: pl.DataFrame, corpus: pl.DataFrame, wanted: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Controls with a known grade: 3 for up to half of those wanted, then 0. One that is asked anyway is none."""
    usable = (
        pl.DataFrame(pl.from_arrow(Control.conform(controls)))
        .filter(pl.col("grade").is_in(SURE_GRADES))
        .join(corpus, on="passage_id", how="semi")
        .join(asked, on=_PAIR, how="anti")
        .sort(_PAIR)
        .rename({"grade": "control_grade"})
        .with_columns(chosen_for=pl.lit(None, dtype=pl.String))
        .select(asked.columns)
    )
    shuffled = usable.with_columns(_order=pl.Series(rng.random(usable.height))).sort("_order").drop("_order")
    positives = shuffled.filter(pl.col("control_grade") == max(SURE_GRADES)).head((wanted + 1) // 2)
    negatives = shuffled.filter(pl.col("control_grade") == min(SURE_GRADES)).head(wanted - positives.height)
    return pl.concat([positives, negatives])


def _sure_negatives(
    queries: pl.DataFrame,
    taken: pl.DataFrame,
    corpus: pl.DataFrame,
    asked: pl.DataFrame,
    wanted: int,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Queries of the batch beside random passages that are none of their candidates; fewer when the corpus is small.

    taken: pairs that must not be drawn.
    """
    if wanted <= 0:
        return asked.clear()
    hosts = queries.join(asked, on="query_id", how="semi").sort("query_id")
    slots = np.repeat(np.arange(wanted), _DRAWS)
    hosted_by = rng.permutation(hosts.height)[slots % hosts.height]
    drawn = rng.integers(corpus.height, size=slots.size)
    return (
        hosts[hosted_by]
        .with_columns(
            passage_id=corpus["passage_id"].sort().gather(drawn),
            control_grade=pl.lit(min(SURE_GRADES), dtype=pl.Int8),
            chosen_for=pl.lit(None, dtype=pl.String),
            _slot=pl.Series(slots),
        )
        .join(taken, on=_PAIR, how="anti", maintain_order="left")
        .unique(_PAIR, keep="first", maintain_order=True)
        .unique("_slot", keep="first", maintain_order=True)
        .select(asked.columns)
    )


def _laid_out(tasks: pl.DataFrame, corpus: pl.DataFrame, batch_id: str, rng: np.random.Generator) -> pl.DataFrame:
    """Tasks with their texts and ids, shuffled, those of one query together."""
    full = tasks.sort(_PAIR).join(corpus, on="passage_id", how="left", maintain_order="left")
    missing = full.filter(pl.col("passage_text").is_null())
    if missing.height:
        raise InputError(
            f"{missing.height} candidate(s) name a passage that is not in the corpus, the first is "
            f"{missing['passage_id'][0]!r} of query {missing['query_id'][0]!r}; "
            "take candidates and passages from the same version of the corpus"
        )
    query_ids = full.select(pl.col("query_id").unique(maintain_order=True))
    query_order = query_ids.with_columns(_query_order=pl.Series(rng.permutation(query_ids.height)))
    return (
        full.join(query_order, on="query_id", maintain_order="left")
        .with_columns(
            batch_id=pl.lit(batch_id),
            task_id=pl.Series(
                [_digest(batch_id, *pair)[:24] for pair in full.select(_PAIR).iter_rows()], dtype=pl.String
            ),
            _task_order=pl.Series(rng.random(full.height)),
        )
        .sort("_query_order", "_task_order")
        .select(AnnotationTask.columns)
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
