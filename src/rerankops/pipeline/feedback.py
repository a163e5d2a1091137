"""Steps of derive_feedback: what users did with the passages they were shown, as judgments and preferences.

Both follow from the events of every pull dealt with, the gold questions and people's judgments; the same of these give
the same addresses. Users are never asked to judge a gold question: its events, and those of its near-duplicates, are
left out before anything is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rerankops.config import FeedbackSettings
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.judgments import SOURCES, take_in
from rerankops.pipeline.queries import gold_texts, pulled_events
from rerankops.queries.normalise import identify, near_to, stratum_of
from rerankops.records import RELEVANT_GRADE, Judgment, Preference, QueryEvent
from rerankops.workspace import Address

PREFERENCES = "preferences"
"""Reference: the preferences derived last."""
SOURCE = "feedback"
"""What these judgments are to `judgments`, and their origin."""


@step
def estimate_propensities(context: Context) -> Address | None:
    """How likely passages at each rank are to be examined (annotation.feedback.propensity), or why that is unknown.

    A document: the estimates, which of them is used (null: clicks are not), the reason in words, and since when events
    count. None when no events were dealt with yet.
    """
    settings = context.settings.feedback
    gold = context.workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions")
    pulls, since = pulled_events(context, settings.window_days)
    if not pulls:
        log.info("estimate_propensities: no events were dealt with yet")
        return None
    begin = since.isoformat() if since else None

    def make() -> tuple[Mapping[str, Any], Mapping[str, float]]:
        from rerankops.annotation.feedback import estimate, impressions

        usable = _usable(context, pulls, gold, since)
        shown = impressions(usable.events, max_rank=settings.max_rank)
        found = estimate(shown, settings, seed=context.settings.training.seed)
        (log.warning if found.used is None else log.info)("estimate_propensities: %s", found.words)
        counts = {"impressions": shown.height, "clicks": int(shown["clicked"].sum()), "used": float(bool(found.used))}
        return found.to_dict() | {"since": begin}, {**usable.counts, **counts}

    return context.document(
        "propensities", make, step="estimate_propensities", inputs=[*pulls, gold], settings=_deciding(context, begin)
    )


@step
def derive_feedback(context: Context, propensities: Address) -> Address | None:
    """Judgments of origin feedback, taken in beside those of people, and preferences, pointed at by `preferences`.

    Returns the judgments of all sources together, None when users said nothing usable, and never did. A passage gets a
    judgment when it is relevant, or is not, with min_certainty. Grade and confidence are the most probable grade and
    its probability, where the rates that belong to the grades were measured on people's judgments; where they were
    not, clicks tell sides but not grades: RELEVANT_GRADE or 0, with the probability of the side.
    """
    workspace, settings = context.workspace, context.settings.feedback
    *pulls, gold = workspace.manifest(propensities).inputs
    people = workspace.ref(f"{SOURCES}/human")
    inputs = [propensities, *pulls, gold, *([people] if people else [])]
    document = workspace.read_document(propensities)
    since = document.pop("since")
    made: dict[str, tuple[pa.Table, Mapping[str, float]]] = {}

    def make(record: str) -> tuple[pa.Table, Mapping[str, float]]:
        if not made:
            usable = _usable(context, pulls, gold, datetime.fromisoformat(since) if since else None)
            human = workspace.read(people, Judgment) if people else Judgment.empty()
            made.update(_derived(usable, human, document, settings))
        return made[record]

    deciding = _deciding(context, since)
    preferred = context.table(
        Preference, lambda: make(Preference.name), step="derive_feedback", inputs=inputs, settings=deciding
    )
    judged = context.table(
        Judgment, lambda: make(Judgment.name), step="derive_feedback", inputs=inputs, settings=deciding
    )
    if workspace.manifest(preferred).rows or workspace.ref(PREFERENCES):
        workspace.point(PREFERENCES, preferred)
    if not workspace.manifest(judged).rows and workspace.ref(f"{SOURCES}/{SOURCE}") is None:
        log.info("derive_feedback: nothing that users did is a judgment")
        return None
    return take_in(context, SOURCE, judged)


@dataclass(frozen=True)
class _Usable:
    """Events that may be learnt from. events: records.QueryEvent. queries: query_id, query_text, stratum."""

    events: pa.Table
    queries: pl.DataFrame
    counts: Mapping[str, float]


def _usable(context: Context, pulls: list[Address], gold: Address, since: datetime | None) -> _Usable:
    """Distinct events since then with a usable query that is not near a gold question."""
    settings = context.settings.queries
    parts = [pl.DataFrame(pl.from_arrow(context.workspace.read(address, QueryEvent))) for address in pulls]
    recent = pl.concat(parts).filter(pl.col("issued_at") >= since if since else pl.lit(True))
    events = recent.unique("event_id", keep="first", maintain_order=True).filter(pl.col("query_id").is_not_null())
    asked = events.select("query_id", "text").unique("query_id", keep="first", maintain_order=True)
    asked = asked.select("query_id", query_text=identify(asked["text"], settings)["normal"])
    leaks = near_to(
        asked.select(id="query_id", normal="query_text"),
        gold_texts(context, gold),
        threshold=settings.gold_distance_threshold,
        synonyms=settings.synonyms,
    )
    near_gold = pl.col("query_id").is_in(pl.Series(sorted(leaks), dtype=pl.String).implode())
    kept = events.filter(~near_gold)
    counts: dict[str, float] = {
        "events": kept.height,
        "queries": asked.height - len(leaks),
        "near_gold_events": events.height - kept.height,
        "near_gold_queries": len(leaks),
    }
    queries = asked.filter(~near_gold).with_columns(stratum=stratum_of(pl.col("query_text"), settings.strata))
    return _Usable(kept.to_arrow(), queries, counts)


def _derived(
    usable: _Usable, people: pa.Table, document: Mapping[str, Any], settings: FeedbackSettings
) -> dict[str, tuple[pa.Table, Mapping[str, float]]]:
    """The tables Judgment and Preference, by name, each with what was counted."""
    from rerankops.annotation import feedback

    weights = {each.group: each.weight for each in settings.group_weights}
    propensity = feedback.Propensities.from_dict(document).values(floor=settings.min_propensity)
    events, counts = _frequent(usable.events, settings.max_queries), dict(usable.counts)
    shown = feedback.examinable(feedback.impressions(events, max_rank=settings.max_rank), propensity)
    trials = pl.concat([feedback.click_trials(shown, weights), feedback.reaction_trials(events, settings, weights)])
    rates = feedback.measured_rates(
        feedback.click_trials(_of_queries(usable.events, people, propensity, settings), weights),
        people,
        propensity,
        settings,
    )
    graded, shares = feedback.graded(trials, propensity, rates, settings)
    if not rates.measured and graded.height:
        log.warning(
            "derive_feedback: feedback.click_rates are a guess, people judged %s of the passages of grades 0 to 3 that "
            "users saw and feedback.min_anchors is %d; clicks tell relevant from irrelevant, no finer",
            list(rates.anchors),
            settings.min_anchors,
        )
    relevant = pl.col("relevant") >= 0.5
    side = pl.when(relevant).then("relevant").otherwise(1 - pl.col("relevant"))
    judged = graded.filter(side >= settings.min_certainty)
    if not rates.measured:
        judged = judged.with_columns(
            confidence=side, grade=pl.when(relevant).then(RELEVANT_GRADE).otherwise(0).cast(pl.Int8)
        )
    preferred = feedback.preferences(shown, feedback.corrections(events), settings, weights)
    judged_counts = counts | {
        "clicks_used": float(bool(propensity)),
        "rates_measured": float(rates.measured),
        "passages": graded.height,
        "uncertain": graded.height - judged.height,
        "judgments": judged.height,
    }
    judged_counts |= {f"rate_{grade}": round(mean, 3) for grade, mean in enumerate(rates.means)}
    judged_counts |= {f"share_{grade}": round(share, 3) for grade, share in shares.items()}
    of_groups = preferred.height - preferred["user_group"].null_count()
    return {
        Judgment.name: (_judgments(judged, usable.queries), judged_counts),
        Preference.name: (
            _preferences(preferred, usable.queries),
            counts | {"preferences": preferred.height - of_groups, "preferences_of_groups": of_groups},
        ),
    }


def _of_queries(
    events: pa.Table, judged: pa.Table, propensity: list[float | None], settings: FeedbackSettings
) -> pl.DataFrame:
    """Examinable impressions of the queries that people judged, whether they are frequent or not."""
    from rerankops.annotation import feedback

    asked = events.filter(pc.is_in(events["query_id"], judged["query_id"].combine_chunks()))
    return feedback.examinable(feedback.impressions(asked, max_rank=settings.max_rank), propensity)


def _frequent(events: pa.Table, most: int | None) -> pa.Table:
    """The events of the queries that have the most."""
    if most is None:
        return events
    frame = pl.DataFrame(pl.from_arrow(events))
    chosen = frame.group_by("query_id").len().sort(["len", "query_id"], descending=[True, False]).head(most)
    return frame.join(chosen, on="query_id", how="semi", maintain_order="left").to_arrow()


def _judgments(graded: pl.DataFrame, queries: pl.DataFrame) -> pa.Table:
    rows = graded.join(queries, on="query_id").with_columns(
        annotator_count=pl.lit(0, pl.Int32), origin=pl.lit(SOURCE), confidence=pl.col("confidence").clip(0, 1)
    )
    return Judgment.conform(rows.select(Judgment.columns).sort(Judgment.key).to_arrow())


def _preferences(found: pl.DataFrame, queries: pl.DataFrame) -> pa.Table:
    named = found.rename({"better": "better_passage_id", "worse": "worse_passage_id"})
    rows = named.join(queries, on="query_id", maintain_order="left").with_columns(origin=pl.lit(SOURCE))
    return Preference.conform(rows.select(Preference.columns).to_arrow())


def _deciding(context: Context, since: str | None) -> list[Any]:
    settings = context.settings
    return [settings.feedback, settings.queries, settings.training.seed, since]
