"""Query events: what was pulled from the log is what it says, in order, and without personal data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa

from rerankops.annotation.suites._checks import (
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
from rerankops.config.settings import QualitySettings, QuerySettings
from rerankops.privacy import GUESSED, IDENTIFYING, redact
from rerankops.records import FEEDBACK

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""No query is older; seconds read as milliseconds, and zeros, land before it."""
CLOCK_SLACK = timedelta(hours=1)
"""How far the clock of the machine that logged may be ahead of ours."""


def suite(events: pa.Table, queries: QuerySettings, quality: QualitySettings, *, written: datetime) -> Suite:
    """events: records.QueryEvent. written: when the table was (aware); no event can be later than that."""
    frame = _rows(events, queries, written)
    text = pl.col("text").str.strip_chars().fill_null("") == ""
    measured = {
        "events": float(frame.height),
        "unusable_share": share(frame["query_id"].is_null()),
        "empty_share": share(frame.select(text).to_series()),
        "time_fault_share": share(frame["time_fault"].is_not_null()),
        "personal_data": float(frame["personal_data"].is_not_null().sum()),
    }
    clicked = "only what was shown can be opened; a log that says otherwise says nothing about positions"
    rows = [
        filled("event ids given", "id", "every event has an id", "{where} has no id", "give each event of the log one"),
        unique(
            "event ids unique",
            ["event_id"],
            "no event is there twice",
            "{where} is there more than once",
            "delete this artefact and pull again; should it come back, the log has one id for two events",
        ),
        never(
            "times in order",
            "earlier_than_before",
            "events are sorted by their time",
            "{where} of {issued_at} stands after a later one",
            "delete this artefact and pull again",
        ),
        never(
            "times plausible",
            "time_fault",
            f"no event is before {EARLIEST.year} or after the pull",
            "{where} was issued at {time_fault}",
            "correct the clock or the field of the time in query_log.fields",
            severity=WARNING,
        ),
        never(
            "free of personal data",
            "personal_data",
            "no text holds what the rules of redaction remove (docs/privacy.md)",
            "{where} still holds what reads as {personal_data} (its text is not repeated here)",
            "delete this artefact and pull again; should it come back, report which kind and how it is written",
        ),
        never(
            "free of names",
            "guessed_data",
            "no text holds what the wording calls a name, an account, an address or an order",
            "{where} still holds what reads as {guessed_data} (its text is not repeated here)",
            "look whether it is one, and report how it is written",
            severity=WARNING,
        ),
        filled(
            "source named",
            "named_source",
            "every event says which log it came from",
            "{where} has no source",
            "set query_log.fields.source, or fill it in the log",
            severity=WARNING,
        ),
        in_set(
            "feedback known",
            "feedback",
            FEEDBACK,
            f"feedback is one of {', '.join(FEEDBACK)}",
            "{where} has feedback {feedback}",
            f"map it to one of {', '.join(FEEDBACK)}",
        ),
        never(
            "clicks on what was shown",
            "clicked_unseen",
            clicked,
            "{where} opened passage {clicked_unseen}, which it was not shown",
            "look at shown_passage_ids and clicked_passage_ids in query_log.fields",
            severity=WARNING,
        ),
    ]
    whole = [
        between("events there", "events", "there is an event", "the table is empty", "pull another window", low=1),
        between(
            "texts there",
            "empty_share",
            f"at most {quality.max_empty_share:.1%} of the events have no text",
            f"{{empty_share:.1%}} of {{events:.0f}} events have no text, at most {quality.max_empty_share:.1%} "
            "are expected",
            "is query_log.fields.text the right field? Else raise quality.max_empty_share",
            high=quality.max_empty_share,
        ),
        between(
            "usable queries",
            "unusable_share",
            f"at most {quality.max_unusable_share:.1%} of the events are no usable query",
            f"{{unusable_share:.1%}} of {{events:.0f}} events are no usable query, "
            f"at most {quality.max_unusable_share:.1%} are expected",
            "is query_log.fields.text the right field? Else look at queries.min_characters and max_characters, "
            "or raise quality.max_unusable_share",
            high=quality.max_unusable_share,
        ),
        between(
            "clocks right",
            "time_fault_share",
            f"at most {quality.max_time_fault_share:.1%} of the times are impossible",
            f"{{time_fault_share:.1%}} of {{events:.0f}} events are from before {EARLIEST.year} or from the future, "
            f"at most {quality.max_time_fault_share:.1%} are expected",
            "correct the clock or query_log.fields.issued_at, or raise quality.max_time_fault_share",
            high=quality.max_time_fault_share,
        ),
    ]
    return Suite("query_events", [View("events", frame, rows), totals(measured, whole)], measured)


def _rows(events: pa.Table, queries: QuerySettings, written: datetime) -> pl.DataFrame:
    """The events with a column for each fault, null where there is none. Texts are left out: nothing shows them."""
    frame = pl.DataFrame(pl.from_arrow(events))
    moment = pl.col("issued_at")
    possible = moment.is_between(EARLIEST, written + CLOCK_SLACK)
    unseen = pl.col("clicked_passage_ids").list.set_difference("shown_passage_ids").list.drop_nulls()
    found = _leftovers(frame["text"], queries.phone_region)
    return frame.join(found, on="text", how="left", maintain_order="left").select(
        named("event", "event_id"),
        "event_id",
        "text",
        "query_id",
        "feedback",
        "personal_data",
        "guessed_data",
        id=_given("event_id"),
        named_source=_given("source"),
        issued_at=moment.cast(pl.String),
        earlier_than_before=pl.when(moment < moment.shift(1)).then(moment.cast(pl.String)),
        time_fault=pl.when(~possible).then(moment.cast(pl.String)),
        clicked_unseen=pl.when(pl.col("shown_passage_ids").list.len() > 0).then(unseen.list.first()),
    )


def _leftovers(texts: pl.Series, region: str) -> pl.DataFrame:
    """Columns text, personal_data, guessed_data of the distinct texts: the kinds that redacting again would replace."""
    distinct = texts.drop_nulls().unique(maintain_order=True)
    again = redact(distinct, region=region)["text"]
    frame = pl.DataFrame({"text": distinct, "again": again})

    def kinds(placeholders: tuple[str, ...]) -> pl.Expr:
        more = [
            pl.when(
                pl.col("again").str.count_matches(f"[{kind}]", literal=True)
                > pl.col("text").str.count_matches(f"[{kind}]", literal=True)
            ).then(pl.lit(kind))
            for kind in placeholders
        ]
        found = pl.concat_str(more, separator=", ", ignore_nulls=True)
        return pl.when(found != "").then(found)

    return frame.select("text", personal_data=kinds(IDENTIFYING), guessed_data=kinds(GUESSED))


def _given(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)
