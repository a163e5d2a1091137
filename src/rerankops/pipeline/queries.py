"""Steps of collect_annotation_batch, first half: from the production log to sampled queries and their candidates."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rerankops.config import QuerySettings
from rerankops.errors import SettingsError
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD, INDEX
from rerankops.pipeline.index import open_index
from rerankops.queries.logs import open_log
from rerankops.queries.normalise import clusters, identify, near_to, similar_pairs, stratum_of
from rerankops.queries.privacy import redact
from rerankops.queries.sampling import stratified_sample
from rerankops.records import Candidate, GoldQuestion, Query, QueryEvent
from rerankops.workspace import Address

EVENTS = "events"
"""Reference: the newest events dealt with."""
PULLS = "pulls"
"""References, one a pull dealt with: `pulls/MARK-LATEST-DIGEST`. The times stand in the name, so that the next pull
opens no table but those that hold events it will see again."""


class _Pull(NamedTuple):
    """A pull dealt with. mark: where the next may start, but for late events; latest: the time of its last event."""

    mark: datetime
    latest: datetime
    events: Address

    @property
    def name(self) -> str:
        return f"{PULLS}/{_stamp(self.mark)}-{_stamp(self.latest)}-{self.events.split('/')[1]}"


@step
def pull_events(context: Context, since: str | None = None, until: str | None = None) -> Address | None:
    """Events of the query log, in order of their time. None when there are none.

    Personal data are removed page by page as they come: no other text is kept, in memory or in the workspace.

    since, until: ISO 8601. With since: all events with since <= issued_at < until, known or not; of an unchanged log
    the same window gives the same address. Without: those that are new, that is from `query_log.lateness_hours` before
    the newest event dealt with, less all dealt with. A pull is dealt with when the batch made of it is out, or when it
    held nothing to ask. As long as an event keeps its id and its time, then

    - none is in two such pulls, and a pull that failed or was killed counts for nothing: the next reads the same again;
    - each that is in the log at most lateness_hours after it was issued is in one, also among many of one microsecond,
      and also when an event with a date in the future came before it;
    - later ones, and what lies before a window that was pulled by hand, are pulled by a window of their own.

    Raises what the log raises (see queries.logs), and ArtefactDamaged when events dealt with cannot be read.
    """
    settings, started = context.settings, time.monotonic()
    begin, end = _moment("since", since), _moment("until", until)
    incremental = begin is None
    pulls = _pulls(context) if incremental else []
    mark = max((pull.mark for pull in pulls), default=None)
    if mark is not None:
        begin = _back(mark, settings.query_log.lateness_hours)
    known = _known(context, pulls, begin)
    pages, dropped = [], 0
    for page in open_log(settings.query_log, os.environ, context.elasticsearch).read(begin, end):
        fresh = page.filter(pa.array([event_id not in known for event_id in page["event_id"].to_pylist()]))
        dropped += page.num_rows - fresh.num_rows
        if fresh.num_rows:
            pages.append(_redacted(fresh, settings.queries))
    if not pages:
        log.info("pull_events: no %s in the window", "new events" if dropped else "events")
        return None
    # The earliest of what is logged twice, and one order whatever the log's: the same events are the same bytes.
    table = pl.concat(pages).sort("issued_at", "event_id", maintain_order=True)
    table = table.unique("event_id", keep="first", maintain_order=True)
    counts = {
        "events": table.height,
        "redactions": int(table["redactions"].sum()),
        "unusable": table["query_id"].null_count(),
    }
    if incremental:
        counts |= {"known": dropped, "late": table.filter(pl.col("issued_at") <= mark).height if mark else 0}
    seconds = time.monotonic() - started
    log.info("pull_events: %d rows in %.1f s, %s", table.height, seconds, counts)
    return context.workspace.publish(
        QueryEvent, table.to_arrow().combine_chunks(), step="pull_events", counts=counts, seconds=seconds
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
        _deal_with(context, queries)
        return None
    return address


def mark_asked(context: Context, sample: Address) -> None:
    """Remembers that a sample is out: its queries are not drawn again, and the next pull starts after its events."""
    context.workspace.point(f"samples/{sample.split('/')[1]}", sample)
    _deal_with(context, context.workspace.manifest(sample).inputs[0])


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
    from rerankops.retrieval.encoder import Encoder
    from rerankops.retrieval.search import candidates

    vectors = Encoder(context.settings.encoder).encode_queries(texts).vectors
    with open_index(context, index) as retriever:
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


def _redacted(page: pa.Table, settings: QuerySettings) -> pl.DataFrame:
    """records.QueryEvent of a page of raw events."""
    redacted = redact(pl.Series(page["text"].to_pylist(), dtype=pl.String), region=settings.phone_region)
    identified = identify(redacted["text"], settings)
    return (
        pl.DataFrame(pl.from_arrow(page))
        .with_columns(text=redacted["text"], redactions=redacted["redactions"], query_id=identified["query_id"])
        .select(QueryEvent.columns)
    )


def _known(context: Context, pulls: list[_Pull], begin: datetime | None) -> set[str]:
    """Ids of the events dealt with that the log shows again when it is read from `begin` on."""
    known: set[str] = set()
    for pull in pulls:
        if begin is None or pull.latest >= begin:
            events = pl.DataFrame(pl.from_arrow(context.workspace.read(pull.events, QueryEvent)))
            again = pl.col("issued_at") >= begin if begin else pl.lit(True)
            known.update(events.filter(again)["event_id"].to_list())
    return known


def _deal_with(context: Context, queries: Address) -> None:
    """Remembers the pull that `queries` were distilled from: the next one leaves its events out."""
    workspace, pulls = context.workspace, _pulls(context)
    this = _pull(context, workspace.manifest(queries).inputs[0])
    named = set(workspace.refs(PULLS))
    for pull in (*pulls, this):
        if pull.name not in named:
            workspace.point(pull.name, pull.events)
    if all(this[:2] >= pull[:2] for pull in pulls):
        workspace.point(EVENTS, this.events)


def _pulls(context: Context) -> list[_Pull]:
    """The pulls dealt with, from the names of their references."""
    pulls = []
    for name in context.workspace.refs(PULLS):
        mark, latest, digest = name.split("/")[1].split("-")
        pulls.append(_Pull(_read_stamp(mark), _read_stamp(latest), f"{QueryEvent.name}/{digest}"))
    newest = context.workspace.ref(EVENTS)
    if newest and newest not in {pull.events for pull in pulls}:  # a workspace from before there were such references
        pulls.append(_pull(context, newest))
    return pulls


def _pull(context: Context, events: Address) -> _Pull:
    manifest = context.workspace.manifest(events)
    latest: datetime = pc.max(context.workspace.read(events, QueryEvent)["issued_at"]).as_py().astimezone(UTC)
    # What was logged after the reading began may have been missed: neither an event of that time nor one with a date in
    # the future may hide it. The manifest was written when all was read, redacted (its seconds) and packed (a minute).
    began = datetime.fromisoformat(manifest.created_at) - timedelta(minutes=1, seconds=manifest.seconds)
    return _Pull(min(latest, began), latest, events)


def _stamp(moment: datetime) -> str:
    return re.sub("[-:]", "", moment.replace(tzinfo=None).isoformat(timespec="microseconds"))


def _read_stamp(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC)


def _back(moment: datetime, hours: float) -> datetime | None:
    """None when that is before all time."""
    try:
        return moment - timedelta(hours=hours)
    except OverflowError:
        return None


def _moment(name: str, value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise SettingsError(f"{name} is {value!r}, expected an ISO 8601 time such as 2026-09-01T00:00:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
