"""Steps of collect_annotation_batch, first half: from the production log to sampled queries and their candidates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa

from rerankops.errors import SettingsError
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD, INDEX
from rerankops.queries.normalise import clusters, identify, near_to, similar_pairs, stratum_of
from rerankops.queries.privacy import redact
from rerankops.queries.sampling import stratified_sample
from rerankops.queries.sources import read_events
from rerankops.records import Candidate, GoldQuestion, Query, QueryEvent
from rerankops.workspace import Address

EVENTS = "events"
"""Reference: the newest events dealt with; their latest time is where the next pull without a window starts. It moves
when the batch made of them is out, so that a run that fails before that loses none."""


@step
def pull_events(context: Context, since: str | None = None, until: str | None = None) -> Address | None:
    """Events with since <= issued_at < until, personal data removed before anything is stored.

    since, until: ISO 8601; without since, everything after the newest event dealt with. None when there is nothing.
    """
    settings = context.settings
    events = read_events(
        settings.sources.query_log or "",
        since=_moment("since", since) or _watermark(context),
        until=_moment("until", until),
    )
    if not events.num_rows:
        log.info("pull_events: no events in the window")
        return None
    redacted = redact(pl.Series(events["text"].to_pylist(), dtype=pl.String), region=settings.queries.phone_region)
    identified = identify(redacted["text"], settings.queries)
    table = pl.DataFrame(pl.from_arrow(events)).with_columns(
        text=redacted["text"], redactions=redacted["redactions"], query_id=identified["query_id"]
    )
    counts = {
        "events": table.height,
        "redactions": int(redacted["redactions"].sum()),
        "unusable": identified["query_id"].null_count(),
    }
    return context.workspace.publish(
        QueryEvent, table.select(QueryEvent.columns).to_arrow(), step="pull_events", counts=counts
    )


@step
def distil_queries(context: Context, events: Address) -> Address:
    """Events to distinct queries: unusable texts dropped, near-duplicates merged, strata assigned.

    Queries that equal or nearly equal a gold question are left out here, so that none is ever labelled or trained on.
    """
    settings = context.settings.queries
    gold = context.workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions")

    def make() -> tuple[pa.Table, dict[str, float]]:
        frame = pl.DataFrame(pl.from_arrow(context.workspace.read(events, QueryEvent))).drop_nulls("query_id")
        identified = identify(frame["text"], settings)
        wordings = (
            frame.with_columns(normal=identified["normal"])
            .group_by("query_id", "normal")
            .agg(
                frequency=pl.len().cast(pl.Int64),
                first_seen=pl.col("issued_at").min(),
                last_seen=pl.col("issued_at").max(),
            )
            .sort("query_id")
        )
        known = wordings.select(id="query_id", normal="normal")
        leaks = near_to(known, gold_texts(context, gold), threshold=settings.gold_distance_threshold)
        pairs = similar_pairs(known, known, threshold=settings.near_duplicate_threshold)
        component = clusters(wordings["query_id"].to_list(), pairs)
        merged = (
            wordings.with_columns(
                cluster=pl.col("query_id").replace_strict(component, return_dtype=pl.Int64),
                leak=pl.col("query_id").is_in(list(leaks)),
            )
            .sort(["cluster", "frequency", "normal"], descending=[False, True, False])
            .group_by("cluster", maintain_order=True)
            .agg(
                pl.col("query_id", "normal").first(),
                pl.col("frequency").sum(),
                pl.col("first_seen").min(),
                pl.col("last_seen").max(),
                pl.col("leak").any(),
            )
        )
        kept = merged.filter(~pl.col("leak")).with_columns(
            text=pl.col("normal"), stratum=stratum_of(pl.col("normal"), settings.strata)
        )
        counts: dict[str, float] = {
            "events": frame.height,
            "queries": kept.height,
            "near_duplicates": wordings.height - merged.height,
            "near_gold": merged.height - kept.height,
        }
        return kept.select(Query.columns).sort("query_id").to_arrow(), counts

    return context.table(Query, make, step="distil_queries", inputs=[events, gold], settings=settings)


@step
def sample_queries(context: Context, queries: Address) -> Address | None:
    """The queries of a batch: a share for each stratum, those of earlier batches left out. None when none are left.

    The address leaves earlier batches out on purpose: on the same queries, the sample that was drawn first stands.
    """
    settings = context.settings.queries

    def make() -> tuple[pa.Table, dict[str, float]]:
        frame = pl.DataFrame(pl.from_arrow(context.workspace.read(queries, Query)))
        asked = _asked_before(context, settings.near_duplicate_threshold, frame)
        fresh = frame.filter(~pl.col("query_id").is_in(list(asked)))
        shares = {stratum.name: stratum.share for stratum in settings.strata}
        sample = stratified_sample(fresh, shares, size=settings.sample_size, seed=context.settings.training.seed)
        counts: dict[str, float] = {"asked_before": frame.height - fresh.height, "sampled": sample.height}
        counts |= {f"sampled_{name}": number for name, number in sorted(sample.group_by("stratum").len().iter_rows())}
        return sample.select(Query.columns).to_arrow(), counts

    address = context.table(
        Query, make, step="sample_queries", inputs=[queries], settings=[settings, context.settings.training.seed]
    )
    if not context.workspace.manifest(address).rows:
        log.info("sample_queries: everything was asked before")
        _move_watermark(context, queries)
        return None
    return address


def mark_asked(context: Context, sample: Address) -> None:
    """Remembers that a sample is out: its queries are not drawn again, and the next pull starts after its events."""
    context.workspace.point(f"samples/{sample.split('/')[1]}", sample)
    _move_watermark(context, context.workspace.manifest(sample).inputs[0])


@step
def retrieve_candidates(context: Context, queries: Address, index: Address | None = None) -> Address:
    """records.Candidate of every query: BM25 and HNSW legs, fused by reciprocal rank. index: None is the one served."""
    index = index or context.workspace.require(INDEX, "run refresh_corpus_index first; there is no index to search")
    retrieval = context.settings.retrieval

    def make() -> tuple[pa.Table, dict[str, float]]:
        table = context.workspace.read(queries, Query)
        found = search(context, index, table["query_id"].to_pylist(), table["text"].to_pylist())
        return found, {"queries": table.num_rows, "candidates": found.num_rows}

    return context.table(Candidate, make, step="retrieve_candidates", inputs=[queries, index], settings=retrieval)


def search(context: Context, index: Address, query_ids: list[str], texts: list[str]) -> pa.Table:
    """Candidates of any texts on an index of the workspace."""
    from rerankops.retrieval.embedded import EmbeddedRetriever
    from rerankops.retrieval.encoder import Encoder
    from rerankops.retrieval.search import candidates

    vectors = Encoder(context.settings.encoder).encode_queries(texts).vectors
    with context.workspace.local_folder(index) as folder:
        retriever = EmbeddedRetriever(folder, context.settings.retrieval)
        return candidates(retriever, query_ids, texts, vectors, context.settings.retrieval)


def gold_texts(context: Context, gold: Address) -> pl.DataFrame:
    """Columns id and normal of the gold questions."""
    questions = context.workspace.read(gold, GoldQuestion)
    normal = identify(pl.Series(questions["text"].to_pylist(), dtype=pl.String), context.settings.queries)["normal"]
    return pl.DataFrame({"id": questions["question_id"].to_pylist(), "normal": normal})


def _asked_before(context: Context, threshold: float, frame: pl.DataFrame) -> set[str]:
    earlier = [context.workspace.ref(name) for name in context.workspace.refs("samples")]
    tables = [pl.DataFrame(pl.from_arrow(context.workspace.read(address, Query))) for address in earlier if address]
    if not tables:
        return set()
    known = pl.concat(tables).unique("query_id").select(id="query_id", normal="text")
    return near_to(frame.select(id="query_id", normal="text"), known, threshold=threshold)


def _move_watermark(context: Context, queries: Address) -> None:
    """To the events that `queries` were distilled from, unless newer ones were dealt with before."""
    workspace = context.workspace
    events = workspace.manifest(queries).inputs[0]
    watermark = _watermark(context)
    if watermark is None or _latest(workspace.read(events, QueryEvent)) >= watermark:
        workspace.point(EVENTS, events)


def _watermark(context: Context) -> datetime | None:
    """The first moment after the newest event dealt with."""
    address = context.workspace.ref(EVENTS)
    if address is None:
        return None
    return _latest(context.workspace.read(address, QueryEvent)) + timedelta(microseconds=1)


def _latest(events: pa.Table) -> datetime:
    latest: datetime = max(events["issued_at"].to_pylist())
    return latest


def _moment(name: str, value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise SettingsError(f"{name} is {value!r}, expected an ISO 8601 time such as 2026-09-01T00:00:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
