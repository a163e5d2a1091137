"""Judgments: grades, confidences and origins are what training may rely on, and no gold question is among them."""

from __future__ import annotations

from collections.abc import Set

import polars as pl
import pyarrow as pa

from rerankops.annotation.suites._checks import (
    UNSTRATIFIED,
    WARNING,
    Suite,
    View,
    between,
    filled,
    in_set,
    named,
    never,
    share,
    totals,
    unique,
)
from rerankops.config.settings import AnnotationSettings, QuerySettings
from rerankops.records import GRADES, ORIGINS, RELEVANT_GRADE

CONTRADICTION = 2
"""Grades by which two origins must differ on a pair before it is reported."""


def suite(judgments: pa.Table, near_gold: Set[str], annotation: AnnotationSettings, queries: QuerySettings) -> Suite:
    """judgments: records.Judgment. near_gold: ids of judged queries that equal or nearly equal a gold question."""
    frame = _rows(judgments, near_gold, queries)
    by_query = _queries(frame)
    positive = frame["grade"] >= RELEVANT_GRADE
    measured = {
        "judgments": float(frame.height),
        "queries": float(by_query.height),
        "positive_share": share(positive),
        "queries_without_positive": float((by_query["positives"] == 0).sum()),
        "contradictions": float(frame["contradiction"].drop_nulls().n_unique()),
    }
    low, high = annotation.positive_share
    strata = [stratum.name for stratum in queries.strata]
    correct = "correct the source of these judgments and take it in again"
    rows = [
        unique(
            "judgments unique",
            ["query_id", "passage_id", "origin"],
            "an origin judges a pair once",
            "{where} is judged more than once by {origin}",
            correct,
        ),
        in_set(
            "grades known",
            "grade",
            GRADES,
            f"every grade is one of {', '.join(map(str, GRADES))}",
            "{where} has grade {grade}",
            correct,
        ),
        never(
            "confidence a probability",
            "confidence_fault",
            "every confidence is between 0 and 1",
            "{where} has confidence {confidence_fault}",
            correct,
        ),
        in_set(
            "origins known",
            "origin",
            ORIGINS,
            f"every origin is one of {', '.join(ORIGINS)}",
            "{where} has origin {origin}",
            correct,
        ),
        filled("texts given", "given_text", "every query has its text", "{where} has an empty query text", correct),
        never(
            "no gold",
            "query_near_gold",
            "no judged query is a gold question or a near-duplicate of one",
            "{where} ({query_text}) is a gold question or nearly one",
            "remove its judgments; gold is never trained on",
        ),
        never(
            "strata configured",
            "unknown_stratum",
            f"every stratum is one of {', '.join(strata)}",
            "{where} is of stratum {unknown_stratum}",
            "add it to queries.strata, or correct the source of these judgments",
            severity=WARNING,
        ),
        never(
            "origins agree",
            "contradiction",
            f"no two origins differ by {CONTRADICTION} grades or more on a pair",
            "{where} has {contradiction}",
            "training takes the most trusted origin; have such pairs looked at by people",
            severity=WARNING,
        ),
    ]
    each = [
        between(
            "one text a query",
            "texts",
            "a query has one text",
            "{where} has {texts} texts, such as {query_text}",
            "training takes the first; take these judgments in again with the query's own id",
            high=1,
            rows=True,
            severity=WARNING,
        ),
        between(
            "a positive a query",
            "positives",
            f"every query has a passage of grade {RELEVANT_GRADE} or more",
            "{where} ({query_text}) has none among {judged} judged passages",
            "nothing is learnt from such a query; label more of its candidates, or look whether the corpus answers it",
            low=1,
            rows=True,
            severity=WARNING,
        ),
    ]
    whole = [
        between(
            "judgments there", "judgments", "there is a judgment", "the table is empty", "run ingest_annotations", low=1
        ),
        between(
            "positive share",
            "positive_share",
            f"between {low:.1%} and {high:.1%} of the grades are {RELEVANT_GRADE} or more",
            f"{{positive_share:.1%}} of {{judgments:.0f}} grades are {RELEVANT_GRADE} or more, between {low:.1%} and "
            f"{high:.1%} are expected (annotation.positive_share)",
            "look at a sample by hand",
            low=low,
            high=high,
            severity=WARNING,
        ),
    ]
    views = [View("judgments", frame, rows), View("queries", by_query, each), totals(measured, whole)]
    return Suite("judgments", views, measured)


def _rows(judgments: pa.Table, near_gold: Set[str], queries: QuerySettings) -> pl.DataFrame:
    """The judgments with a column for each fault, null where there is none."""
    pair = ["query_id", "passage_id"]
    frame = pl.DataFrame(pl.from_arrow(judgments))
    apart = (
        frame.group_by(pair)
        .agg(
            spread=pl.col("grade").max() - pl.col("grade").min(),
            lowest=pl.format("{} by {}", pl.col("grade").min(), pl.col("origin").sort_by("grade", "origin").first()),
            highest=pl.format("{} by {}", pl.col("grade").max(), pl.col("origin").sort_by("grade", "origin").last()),
        )
        .filter(pl.col("spread") >= CONTRADICTION)
        .select(*pair, contradiction=pl.format("grade {} and {}", "lowest", "highest"))
    )
    confidence = pl.col("confidence")
    sound = confidence.is_finite() & confidence.is_between(0, 1)
    gold = pl.Series(sorted(near_gold), dtype=pl.String)
    known = [stratum.name for stratum in queries.strata]
    return frame.join(apart, on=pair, how="left", maintain_order="left").with_columns(
        named("passage", "passage_id", query="query_id"),
        given_text=pl.when(pl.col("query_text").str.strip_chars() != "").then("query_text"),
        confidence_fault=pl.when(~sound).then(confidence.cast(pl.String)),
        query_near_gold=pl.when(pl.col("query_id").is_in(gold.implode())).then("query_id"),
        unknown_stratum=pl.when(~pl.col("stratum").is_in([*known, UNSTRATIFIED])).then("stratum"),
    )


def _queries(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.group_by("query_id", maintain_order=True)
        .agg(
            pl.col("query_text").first(),
            judged=pl.col("passage_id").n_unique(),
            positives=(pl.col("grade") >= RELEVANT_GRADE).sum().cast(pl.Int64),
            texts=pl.col("query_text").n_unique().cast(pl.Int64),
        )
        .with_columns(named("query", "query_id"))
    )
