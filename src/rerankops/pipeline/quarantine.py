"""The quarantine: what is in it, the page about it, and what people decide (review_quarantine).

A decision is an artefact beside the verdict, so that lineage tells who released a row, when and why; the reference
`quarantine/DELIVERY` names the one that stands. Decisions are never overwritten: the opposite one names the one that it
overrules. Nothing stored is ever removed.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import polars as pl
import pyarrow as pa

from rerankops.annotation import quarantine as dossiers
from rerankops.annotation.quarantine_page import STATUSES, Entry, Status, render
from rerankops.errors import ArtefactMissing, InputError, RerankopsError
from rerankops.pipeline.channels import DECISIONS, STREAMS, verdict_ref
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.validation import ACCEPTED, salvage
from rerankops.privacy import Redactor
from rerankops.records import Annotation, AnnotationTask
from rerankops.workspace import Address, Manifest

Decision = Literal["release", "reject"]
_STATUS: dict[str, Status] = {"release": "released", "reject": "rejected"}
_VERDICTS = verdict_ref("deliveries/any").split("/")[0]
_SHORT = 8
_WHICH = re.compile(r"(?:(deliveries|verdicts)/)?([0-9a-f]{4,32})")
_LONGEST = {"who": 100, "reason": 500}


class DecisionRefused(RerankopsError):
    """A decision on a quarantined delivery cannot stand: the opposite one does, or the delivery was superseded."""


@dataclass(frozen=True)
class _Verdict:
    """A delivery that was judged, and what stands on it."""

    delivery: Address
    verdict: Manifest
    came: str
    source: str
    stream: str
    decision: Address | None

    @property
    def digest(self) -> str:
        return self.delivery.split("/")[1]

    @property
    def quarantined(self) -> bool:
        return dossiers.RECORD in self.verdict.files

    @property
    def batch(self) -> Address | None:
        """The tasks it answers, when its batch is known."""
        return next((a for a in self.verdict.inputs if a.split("/")[0] == AnnotationTask.name), None)


@step
def quarantined(context: Context) -> list[Entry]:
    """Everything that was ever quarantined, what waits for people first, then the newest first."""
    judged = _judged(context)
    short = _short_names([one.digest for one in judged])
    entries = []
    for one in judged:
        if one.quarantined:
            later = _superseded_by(context, one, judged)
            entries.append(_entry(context, one, short, later))
    entries.sort(key=lambda entry: entry.when, reverse=True)
    return sorted(entries, key=lambda entry: STATUSES.index(entry.status))


@step
def find(context: Context, which: str) -> Entry:
    """The quarantined delivery that `which` names: the address of a delivery or a verdict, or the beginning of one's
    digest, four characters or more.

    Raises InputError when it is no such name or fits several, ArtefactMissing when it fits none.
    """
    named = _WHICH.fullmatch(which.strip().lower())
    if named is None:
        raise InputError(
            f"{which!r} names no delivery; give four or more of the characters that `rerankops quarantine list` shows"
        )
    kind, start = named.groups()
    found = [
        entry
        for entry in quarantined(context=context)
        for address in (entry.delivery, entry.verdict)
        if address.split("/")[1].startswith(start) and kind in (None, address.split("/")[0])
    ]
    distinct = {entry.delivery: entry for entry in found}
    if len(distinct) > 1:
        fitting = ", ".join(f"{entry.short} ({entry.source})" for entry in distinct.values())
        raise InputError(f"{which!r} fits {len(distinct)} quarantined deliveries: {fitting}; give more characters")
    if not distinct:
        accepted = [
            one for one in _judged(context) if one.digest.startswith(start) or _digest(one.verdict).startswith(start)
        ]
        if accepted:
            raise ArtefactMissing(f"{which!r} ({accepted[0].source}) was accepted; there is nothing to decide")
        raise ArtefactMissing(f"no quarantined delivery is {which!r}; `rerankops quarantine list --all` shows them")
    return next(iter(distinct.values()))


@step
def review_delivery(
    context: Context, delivery: str, decision: str, who: str, reason: str, overrule: bool = False
) -> dict[str, Any]:
    """Releases the usable rows of a quarantined delivery to the next adjudication, or closes it.

    delivery: as for `find`. who, reason: kept with the decision. The same decision again changes nothing: who decided
    first stands. overrule: also against the opposite decision, or although a later delivery took this one's place.

    A rejection that overrules a release takes its rows back: what the stream held before counts again.

    Returns delivery, decision, changed, record (the decision's address), and annotations: the address of what the
    stream holds now, None when the decision left that as it was. Raises DecisionRefused, and what `find` raises.
    """
    if decision not in _STATUS:
        raise InputError(f"decision is {decision!r}, expected one of {', '.join(_STATUS)}")
    who, reason = _words("who", who), Redactor(context.settings.queries).text(_words("reason", reason))
    entry = find(delivery, context=context)
    one = next(one for one in _judged(context) if one.delivery == entry.delivery)
    if one.decision is not None:
        standing = context.workspace.read_document(one.decision)
        if standing["decision"] == decision:
            return _result(entry, decision, one.decision, _apply(context, one, one.decision), changed=False)
        if not overrule:
            raise DecisionRefused(
                f"{entry.source} ({entry.short}) was {_STATUS[standing['decision']]} by {standing['who']} on "
                f"{standing['decided_at'][:10]} ({standing['reason']}); to {decision} it all the same, overrule that"
            )
    elif decision == "release" and entry.superseded_by and not overrule:
        raise DecisionRefused(
            f"{entry.source} ({entry.short}) was superseded by {entry.superseded_by}, which took its place; "
            "to release it all the same, overrule that"
        )
    if decision == "release" and not _usable(context, one).num_rows:
        raise DecisionRefused(f"{entry.source} ({entry.short}) holds no usable row; reject it, or have it done again")

    def record() -> tuple[Mapping[str, Any], Mapping[str, float]]:
        return {
            "decision": decision,
            "who": who,
            "reason": reason,
            "decided_at": datetime.now(UTC).isoformat(),
            "delivery": one.delivery,
            "verdict": one.verdict.address,
            "replaced": context.workspace.ref(f"{ACCEPTED}/{one.stream}"),
            "overruled": one.decision,
        }, {"released": float(decision == "release")}

    decided = context.document(
        "quarantine_decisions",
        record,
        step="review_delivery",
        inputs=[one.verdict.address, *([one.decision] if one.decision else [])],
        settings={"decision": decision, "who": who, "reason": reason},
    )
    # The decision first: should what follows be cut short, the same command completes it.
    context.workspace.point(f"{DECISIONS}/{one.digest}", decided)
    return _result(entry, decision, decided, _apply(context, one, decided), changed=True)


@step
def page(context: Context) -> Path:
    """Writes the page of everything that was quarantined and returns where it is; it links artefacts, and is none."""
    target = context.local("quarantine", "index.html")
    target.parent.mkdir(parents=True, exist_ok=True)
    entries = quarantined(context=context)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(render(entries, written=datetime.now(UTC)), encoding="utf-8")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


@step
def tell_quarantined(context: Context, verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Brings the page up to date when one of these verdicts is quarantine, says where it is, and hands them on."""
    if any(verdict["outcome"] == "quarantine" for verdict in verdicts):
        log.warning("what is in quarantine, and what to do: %s", page(context=context))
    return verdicts


@step
def links(context: Context, verdict: Address) -> dict[str, str]:
    """Where reasons, Data Docs and the raw file of a quarantined delivery can be opened: name to path or URI."""
    return {name: context.workspace.place(verdict, file) for name, file in _files(context, verdict).items()}


def _files(context: Context, verdict: Address) -> dict[str, str]:
    stored = context.workspace.manifest(verdict).files
    raw = next((name for name in stored if name.startswith("raw.")), "")
    named = {"reasons": dossiers.READABLE, "Data Docs": "data_docs/index.html", "raw file": raw}
    return {name: file for name, file in named.items() if file in stored}


def _link(context: Context, address: Address, file: str) -> str:
    """As the page links it: relative on a local workspace, so that both can be moved or served together."""
    if not context.workspace.is_local:
        return context.workspace.place(address, file)
    target = context.workspace.place(address, file)
    return quote(Path(os.path.relpath(target, context.local("quarantine"))).as_posix())


# -- what a decision does -------------------------------------------------------------------------------------------


def _apply(context: Context, one: _Verdict, decided: Address) -> Address | None:
    """Makes the stream hold what the decision says, unless something newer took its place. Can be done again.

    Returns what the stream holds because of the decision, None when it was left as it was.
    """
    workspace = context.workspace
    document, name = workspace.read_document(decided), f"{ACCEPTED}/{one.stream}"
    before = document["replaced"]
    if document["decision"] == "release":
        wanted = context.table(
            Annotation, lambda: (_usable(context, one), {}), step="release_delivery", inputs=[decided]
        )
    else:
        overruled = document["overruled"]
        released = _released(context, overruled) if overruled else None
        if released is None or before != released:
            return None
        # What counted before the release counts again. References cannot be taken away, so nothing is an empty table.
        wanted = workspace.read_document(overruled)["replaced"] or context.table(
            Annotation, lambda: (Annotation.empty(), {}), step="withdraw_delivery", inputs=[decided]
        )
    now = workspace.ref(name)
    if now not in (before, wanted):
        log.warning("%s: %s holds newer annotations, which stay", one.source, name)
        return None
    workspace.point(name, wanted)
    return wanted


def _released(context: Context, decided: Address) -> Address | None:
    """The annotations that a decision released."""
    released = context.workspace.address(
        Annotation.name, step="release_delivery", inputs=[decided], settings={}, version=Annotation.version
    )
    return released if context.workspace.exists(released) else None


def _usable(context: Context, one: _Verdict) -> pa.Table:
    """records.Annotation: what can be used of it (validation.salvage), less what is near a gold question by now."""
    from rerankops.pipeline.queries import gold_texts
    from rerankops.queries.normalise import near_to, normalised

    workspace = context.workspace
    usable = salvage(context, one.delivery)
    if one.batch is None:
        return Annotation.empty()
    tasks = pl.DataFrame(pl.from_arrow(workspace.read(one.batch, AnnotationTask)))
    asked = tasks.unique("query_id").select(id="query_id", normal=normalised(pl.col("query_text")))
    gold = gold_texts(context, workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions"))
    settings = context.settings.queries
    near = near_to(asked, gold, threshold=settings.gold_distance_threshold, synonyms=settings.synonyms)
    leaking = tasks.filter(pl.col("query_id").is_in(list(near))).select("task_id")
    kept = pl.DataFrame(pl.from_arrow(usable)).join(leaking, on="task_id", how="anti", maintain_order="left")
    return Annotation.conform(kept.to_arrow())


def _result(
    entry: Entry, decision: str, decided: Address, annotations: Address | None, *, changed: bool
) -> dict[str, Any]:
    return {
        "delivery": entry.delivery,
        "source": entry.source,
        "decision": decision,
        "changed": changed,
        "record": decided,
        "annotations": annotations,
    }


def _words(name: str, value: str) -> str:
    """What a person wrote, on one line. Raises InputError when it is empty or too long."""
    words = " ".join(value.split())
    if not words or len(words) > _LONGEST[name]:
        raise InputError(f"{name} is {len(words)} characters long, expected 1 to {_LONGEST[name]}; it is kept for good")
    return words


# -- what is in it --------------------------------------------------------------------------------------------------


def _judged(context: Context) -> list[_Verdict]:
    """Every delivery that validation has judged, in the order in which they came."""
    workspace = context.workspace
    judged = []
    for name in workspace.refs(_VERDICTS):
        digest = name.split("/")[1]
        delivery = workspace.manifest(f"deliveries/{digest}")
        judged.append(
            _Verdict(
                delivery=delivery.address,
                verdict=workspace.manifest(workspace.require(name, "")),
                came=delivery.created_at,
                source=delivery.settings["source"],
                stream=delivery.settings["stream"],
                decision=workspace.ref(f"{DECISIONS}/{digest}"),
            )
        )
    return sorted(judged, key=lambda one: (one.came, one.delivery))


def _superseded_by(context: Context, one: _Verdict, judged: list[_Verdict]) -> _Verdict | None:
    """The delivery that took its place: the newest state of its stream, or a later one of its batch that was accepted.
    One that a person released does not: it may be the other half."""
    later = [other for other in judged if (other.came, other.delivery) > (one.came, one.delivery)]
    newest = context.workspace.ref(f"{STREAMS}/{one.stream}")
    for other in reversed(later):
        if other.delivery == newest and other.stream == one.stream:
            return other
        if not other.quarantined and other.batch is not None and other.batch == one.batch:
            return other
    return None


def _entry(context: Context, one: _Verdict, short: Mapping[str, str], later: _Verdict | None) -> Entry:
    verdict = one.verdict.address
    with context.workspace.local_folder(verdict) as folder:
        dossier = json.loads((folder / dossiers.RECORD).read_text(encoding="utf-8"))
    decided = context.workspace.read_document(one.decision) if one.decision else {}
    status: Status = _STATUS[decided["decision"]] if decided else "superseded" if later else "waiting"
    return Entry(
        short=short[one.digest],
        delivery=one.delivery,
        verdict=verdict,
        batch_id=dossier["batch_id"],
        source=one.source,
        when=dossier["quarantined_at"],
        status=status,
        reasons=dossier["reasons"],
        noticed=[found["words"] for found in dossier["findings"] if found["words"] not in dossier["reasons"]],
        metrics=dossier["metrics"],
        superseded_by=short[later.digest] if later else None,
        decided_by=decided.get("who"),
        decided_at=decided.get("decided_at"),
        decided_because=decided.get("reason"),
        decision=one.decision,
        links={name: _link(context, verdict, file) for name, file in _files(context, verdict).items()},
    )


def _short_names(digests: list[str]) -> dict[str, str]:
    """Beginnings of digests, as short as can be told apart and no shorter than eight characters."""
    length = _SHORT
    while len({digest[:length] for digest in digests}) < len(set(digests)):
        length += 1
    return {digest: digest[:length] for digest in digests}


def _digest(manifest: Manifest) -> str:
    return manifest.address.split("/")[1]
