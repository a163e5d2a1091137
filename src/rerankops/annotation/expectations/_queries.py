"""Whether enough of each query's tasks came back: half a query says which passages were graded, not which are best."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from rerankops.annotation.expectations._verdict import SET_ASIDE, WARNING, Check, expectation
from rerankops.annotation.expectations._words import quoted, some
from rerankops.config.settings import AnnotationSettings


def measured(left: pl.DataFrame, asked: pl.DataFrame, settings: AnnotationSettings) -> pl.DataFrame:
    """A row for each query: tasks (controls are none), share of them that somebody graded; begun_share, the same where
    it is not 0."""
    graded = left.select(pl.col("task").unique()).with_columns(graded=True)
    begun = pl.col("graded_share") > 0
    return (
        asked.filter(pl.col("control_grade").is_null())
        .join(graded, on="task", how="left")
        .group_by("query_id", maintain_order=True)
        .agg(
            pl.col("query_text").first(),
            tasks=pl.len().cast(pl.Int64),
            graded_share=pl.col("graded").fill_null(value=False).mean(),
        )
        .with_columns(
            begun_share=pl.when(begun).then("graded_share"),
            torn=begun & (pl.col("graded_share") < settings.min_query_completeness),
        )
    )


def checks(table: pl.DataFrame, settings: AnnotationSettings, *, lines: int) -> list[Check]:
    """lines: set aside because their query is torn."""
    need = settings.min_query_completeness

    def named(broken: pl.Expr, words: str) -> Callable[[pl.DataFrame], tuple[str, str]]:
        def explain(shown: pl.DataFrame) -> tuple[str, str]:
            low = shown.filter(broken)
            some_of = [f"{quoted(text)} ({share:.0%})" for text, share in low["query_text", "graded_share"].iter_rows()]
            return f"{low.height} of {shown.height} queries", words.format(n=low.height, named=some(some_of))

        return explain

    torn, unfinished = pl.col("torn"), pl.col("graded_share") < 1
    between = "ExpectColumnValuesToBeBetween"
    return [
        Check(
            expectation(
                "query begun and finished",
                between,
                {"column": "begun_share", "min_value": need},
                f"at least {need:.0%} of the tasks of each query that was begun came back",
                SET_ASIDE,
            ),
            SET_ASIDE,
            named(
                torn,
                f"of {{n}} queries fewer than {need:.0%} of the tasks can be used: {{named}}; "
                "have the rest of them labelled and deliver the whole batch again",
            ),
            int(table["torn"].sum()),
            lines,
        ),
        Check(
            expectation(
                "query complete",
                between,
                {"column": "graded_share", "min_value": 1},
                "every task of each query came back",
                WARNING,
            ),
            WARNING,
            named(unfinished, "{n} queries lack grades of some tasks: {named}; have them labelled in a later batch"),
            int((table["graded_share"] < 1).sum()),
        ),
    ]
