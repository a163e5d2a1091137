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

from rerankops.annotation.selection import POOL, RANDOM
from rerankops.config import QuerySettings
from rerankops.errors import SettingsError
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD, INDEX
from rerankops.pipeline.gold_sets import protected_questions
from rerankops.pipeline.index import open_index, refuse_other_encoder
from rerankops.pipeline.set_aside import forget_mended, keep, set_aside_before
from rerankops.privacy import Redactor
from rerankops.queries.distilling import distil
from rerankops.queries.logs import open_log
from rerankops.queries.normalise import identify, near_to
from rerankops.queries.sampling import stratified_pool
from rerankops.reading import Aside, Place, Unusable
from rerankops.records import Candidate, Query, QueryEvent, SelectedQuery
from rerankops.workspace import Address, table_hash

QUERY_LOG = "query_log"
"""What the log is called among the sources of what was set aside."""
IN_DOUBT = "personal_data"
"""What texts are called there that may hold personal data which cannot be told."""
_EXCERPT = 2000
SAMPLES = "samples"
"""References, one a batch that is out: its queries."""
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

    What cannot be read is set aside (`set-aside/query_log`) with its reason and stops nothing: once it was mended, in
    files, the next incremental pull takes it whenever it was issued; in a server, a window does.

    Raises what the log raises (see queries.logs), ArtefactDamaged when events dealt with cannot be read, and InputError
    when more than quality.max_unusable_share of the rows, or of the files, cannot be read.
    """
    settings, started = context.settings, time.monotonic()
    begin, end = _moment("since", since), _moment("until", until)
    incremental = begin is None
    pulls = _pulls(context) if incremental else []
    mark = max((pull.mark for pull in pulls), default=None)
    if mark is not None:
        begin = _back(mark, settings.query_log.lateness_hours)
    known = _known(context, pulls, begin)
    aside, again = Aside(), set_aside_before(context, QUERY_LOG) if incremental and begin is not None else None
    source = open_log(settings.query_log, settings.reading, os.environ, context.elasticsearch)
    pages, dropped, doubtful = [], 0, Aside()
    for page in source.read(begin, end, aside=aside, again=again):
        if again and begin is not None and pc.min(page["issued_at"]).as_py() < begin:
            known, again = _known(context, pulls, None), None  # mended rows may be older than any known so far
        fresh = page.filter(pa.array([event_id not in known for event_id in page["event_id"].to_pylist()]))
        dropped += page.num_rows - fresh.num_rows
        if fresh.num_rows:
            pages.append(_redacted(fresh, settings.queries, doubtful))
    keep(context, QUERY_LOG, aside, complete=incremental and settings.query_log.source == "files")
    if doubtful.count:
        keep(context, IN_DOUBT, doubtful, complete=False)
    aside.check(
        settings.quality.max_unusable_share,
        what=f"query log {settings.query_log.location}",
        setting="quality.max_unusable_share",
    )
    if not pages:
        log.info("pull_events: no %s in the window", "new events" if dropped else "events")
        return None
    # The earliest of what is logged twice, and one order whatever the log's: the same events are the same bytes.
    table = pl.concat(pages).sort("issued_at", "event_id", maintain_order=True)
    table = table.unique("event_id", keep="first", maintain_order=True)
    counts: dict[str, float] = {
        "events": table.height,
        "redactions": int(table["redactions"].sum()),
        "unusable": table["query_id"].null_count(),
    }
    counts |= {name: number for name, number in aside.counts().items() if number}
    if doubtful.count:
        counts["in_doubt"] = doubtful.count
    if incremental:
        counts |= {"known": dropped, "late": table.filter(pl.col("issued_at") <= mark).height if mark else 0}
    seconds = time.monotonic() - started
    log.info("pull_events: %d rows in %.1f s, %s", table.height, seconds, counts)
    return context.workspace.publish(
        QueryEvent,
        table.to_arrow().combine_chunks(),
        step="pull_events",
        settings={"redaction": Redactor(settings.queries).identity, "sha256": table_hash(table.to_arrow())},
        counts=counts,
        seconds=seconds,
    )


@step
def distil_queries(context: Context, events: Address) -> Address:
    """Events to distinct queries: unusable texts dropped, near-duplicates merged, strata assigned.

    Queries that equal or nearly equal a gold question are left out here, so that none is ever labelled or trained on.
    """
    settings = context.settings.queries
    gold = context.workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions")

    def make() -> tuple[pa.Table, dict[str, float]]:
        frame = pl.DataFrame(pl.from_arrow(context.workspace.read(events, QueryEvent)))
        kept, counts = distil(frame, gold_texts(context, gold), settings)
        return kept.to_arrow(), counts

    return context.table(Query, make, step="distil_queries", inputs=[events, gold], settings=settings)


@step
def sample_queries(context: Context, queries: Address) -> Address | None:
    """The pool that a batch is chosen from, records.SelectedQuery: a share for each stratum, frequent queries more
    often, those of earlier batches left out. None when none are left.

    In it is the batch's random share, with the probability of each query that was drawn; see stratified_pool.
    The address leaves earlier batches out on purpose: on the same queries, the pool that was drawn first stands.
    """
    settings, selection = context.settings.queries, context.settings.annotation.selection
    at_random = int(selection.budget_tasks * selection.shares.random + 1e-9)
    sizes = {
        "pool": selection.pool_queries,
        "random": at_random // context.settings.annotation.candidates_per_query,
        "seed": context.settings.training.seed,
    }

    def make() -> tuple[pa.Table, dict[str, float]]:
        frame = pl.DataFrame(pl.from_arrow(context.workspace.read(queries, Query)))
        asked = _asked_before(context, settings, frame)
        fresh = frame.filter(~pl.col("query_id").is_in(list(asked)))
        pool = stratified_pool(
            fresh,
            {stratum.name: stratum.share for stratum in settings.strata},
            size=sizes["pool"],
            random=sizes["random"],
            seed=[sizes["seed"], int(queries.split("/")[1][:8], 16)],  # draws of different pulls are independent
        )
        counts: dict[str, float] = {"asked_before": frame.height - fresh.height, "sampled": pool.height}
        counts |= {f"sampled_{name}": number for name, number in sorted(pool.group_by("stratum").len().iter_rows())}
        drawn = pl.col("inclusion_probability").is_not_null()
        said = pool.with_columns(chosen_for=pl.when(drawn).then(pl.lit(RANDOM)).otherwise(pl.lit(POOL)))
        return said.select(SelectedQuery.columns).to_arrow(), counts

    address = context.table(SelectedQuery, make, step="sample_queries", inputs=[queries], settings=[settings, sizes])
    if not context.workspace.manifest(address).rows:
        log.info("sample_queries: everything was asked before")
        _deal_with(context, address)
        return None
    return address


def mark_asked(context: Context, selected: Address) -> None:
    """Remembers that a batch is out: its queries are not drawn again, and the next pull starts after its events.

    Those of the pool that were not chosen may be drawn again as soon as a pull brings them again.
    """
    context.workspace.point(f"{SAMPLES}/{selected.split('/')[1]}", selected)
    _deal_with(context, selected)


def asked_queries(context: Context) -> pl.DataFrame:
    """The queries of all batches that are out, each once: columns of records.Query."""
    earlier = [context.workspace.require(name, "") for name in context.workspace.refs(SAMPLES)]
    tables = [pl.DataFrame(pl.from_arrow(read_queries(context, address))) for address in earlier]
    return pl.concat([pl.DataFrame(pl.from_arrow(Query.empty())), *tables]).unique("query_id").sort("query_id")


def read_queries(context: Context, address: Address) -> pa.Table:
    """records.Query at an address, or the same columns of a records.SelectedQuery."""
    record = SelectedQuery if address.split("/")[0] == SelectedQuery.name else Query
    return context.workspace.read(address, record).select(Query.columns)


@step
def retrieve_candidates(context: Context, queries: Address, index: Address | None = None) -> Address:
    """records.Candidate of every query: BM25 and HNSW legs, fused by reciprocal rank. index: None is the one served."""
    index = index or context.workspace.require(INDEX, "run refresh_corpus_index first; there is no index to search")
    retrieval = context.settings.retrieval

    def make() -> tuple[pa.Table, dict[str, float]]:
        table = read_queries(context, queries)
        found = search(context, index, table["query_id"].to_pylist(), table["text"].to_pylist())
        return found, {"queries": table.num_rows, "candidates": found.num_rows}

    return context.table(Candidate, make, step="retrieve_candidates", inputs=[queries, index], settings=retrieval)


def search(context: Context, index: Address, query_ids: list[str], texts: list[str]) -> pa.Table:
    """Candidates of any texts on an index of the workspace. Raises InputError when the encoder of the settings is not
    the one that it was built with."""
    from rerankops.retrieval.encoder import Encoder
    from rerankops.retrieval.search import candidates

    refuse_other_encoder(context, index)
    vectors = Encoder(context.settings.encoder).encode_queries(texts).vectors
    with open_index(context, index) as retriever:
        return candidates(retriever, query_ids, texts, vectors, context.settings.retrieval)


def gold_texts(context: Context, gold: Address) -> pl.DataFrame:
    """Columns id and normal of the gold questions, those of a frozen set that are no longer asked among them."""
    questions = protected_questions(context.workspace, gold)
    normal = identify(questions["text"], context.settings.queries)["normal"]
    return questions.select(id="question_id").with_columns(normal=normal)


def pulled_events(context: Context, days: float | None = None) -> tuple[list[Address], datetime | None]:
    """The pulls dealt with, in order of their addresses, and where the last `days` before the newest event begin.

    An event may be in several pulls. Those that end before that moment are left out. days: None is all, from None on.
    """
    pulls = _pulls(context)
    begin = _back(max(pull.mark for pull in pulls), days * 24) if pulls and days is not None else None
    return sorted({pull.events for pull in pulls if begin is None or pull.latest >= begin}), begin


def _asked_before(context: Context, settings: QuerySettings, frame: pl.DataFrame) -> set[str]:
    known = asked_queries(context).select(id="query_id", normal="text")
    if not known.height:
        return set()
    queries = frame.select(id="query_id", normal="text")
    return near_to(queries, known, threshold=settings.near_duplicate_threshold, synonyms=settings.synonyms)


def _redacted(page: pa.Table, settings: QuerySettings, doubtful: Aside) -> pl.DataFrame:
    """records.QueryEvent of a page of raw events. doubtful: takes what may hold personal data that cannot be told:
    its event stays, for its clicks, with the text masked, and becomes no query."""
    redactor, frame = Redactor(settings), pl.DataFrame(pl.from_arrow(page))
    redacted = redactor.redact(frame["text"])
    identified = identify(redacted["text"], settings)
    doubtful.read += frame.height
    for event_id, text, doubt in zip(frame["event_id"], redacted["text"], redacted["doubt"], strict=True):
        if doubt is not None:
            doubtful.put(Unusable(Place("", item=f"event {event_id}"), doubt, doubt, text[:_EXCERPT]))
    return frame.with_columns(
        text=redacted["text"],
        redactions=redacted["redactions"],
        query_id=pl.when(redacted["doubt"].is_null()).then(identified["query_id"]),
        # a log may put anything where a name of a log, a segment or a ranker belongs
        **{name: redactor.column(frame[name]) for name in ("source", "user_group", "ranker")},
    ).select(QueryEvent.columns)


def _known(context: Context, pulls: list[_Pull], begin: datetime | None) -> set[str]:
    """Ids of the events dealt with that the log shows again when it is read from `begin` on."""
    known: set[str] = set()
    for pull in pulls:
        if begin is None or pull.latest >= begin:
            events = pl.DataFrame(pl.from_arrow(context.workspace.read(pull.events, QueryEvent)))
            again = pl.col("issued_at") >= begin if begin else pl.lit(True)
            known.update(events.filter(again)["event_id"].to_list())
    return known


def _deal_with(context: Context, selected: Address) -> None:
    """Remembers the pull that a pool, or what was chosen from it, comes from: the next one leaves its events out."""
    workspace, pulls = context.workspace, _pulls(context)
    manifest = workspace.manifest(selected)
    while manifest.step != "distil_queries":
        manifest = workspace.manifest(manifest.inputs[0])
    this = _pull(context, manifest.inputs[0])
    named = set(workspace.refs(PULLS))
    for pull in (*pulls, this):
        if pull.name not in named:
            workspace.point(pull.name, pull.events)
    forget_mended(context, QUERY_LOG)
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
