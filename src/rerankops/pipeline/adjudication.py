"""Steps from several people's grades to judgments, scorecards, and what adjudicators are asked (ingest_annotations)."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from rerankops.annotation.adjudication import Adjudication, Contested, adjudication_tasks, asked_of_adjudicators
from rerankops.annotation.adjudication import adjudicate as adjudicate_answers
from rerankops.annotation.answers import gather
from rerankops.annotation.scorecards import Report, render, report
from rerankops.pipeline.channels import channel
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.judgments import take_in
from rerankops.pipeline.validation import ACCEPTED, ASIDE
from rerankops.records import Annotation, AnnotationTask, Judgment, Scorecard
from rerankops.workspace import Address, Manifest

ADJUDICATION_BATCHES = "adjudication"
"""References: the batch that each outcome of adjudication led to."""
PAGE = "scorecards.html"
_PAIR = ["query_id", "passage_id"]
_CARDS, _CONTESTED, _AGREEMENT = "scorecards.parquet", "contested.parquet", "agreement.json"


@dataclass(frozen=True)
class _Outcome:
    """judgments: of people. scorecards: the folder beside them, with what is contested."""

    judgments: Address
    scorecards: Address


@step
def adjudicate(context: Context) -> Address | None:
    """Judgments from every accepted delivery (adjudication.method), merged into `judgments`; scorecards beside them.

    None when nothing was accepted yet. The same deliveries give the same address, whatever their order.
    """
    outcome = _adjudicate(context)
    if outcome is None:
        return None
    log.info("annotators: %s", context.workspace.place(outcome.scorecards, PAGE))
    return take_in(context, "human", outcome.judgments)


@step
def scorecards(context: Context) -> UPath | None:
    """The page about annotators, made when it is not there yet. None when nothing was accepted yet.

    Beside it lie scorecards.parquet (records.Scorecard), agreement.json and contested.parquet.
    """
    outcome = _adjudicate(context)
    return UPath(context.workspace.place(outcome.scorecards, PAGE)) if outcome else None


def scorecard_table(context: Context) -> pa.Table:
    """records.Scorecard of everything accepted so far; empty when nothing was."""
    outcome = _adjudicate(context)
    if outcome is None:
        return Scorecard.empty()
    with context.workspace.local_folder(outcome.scorecards) as folder:
        return Scorecard.conform(pq.read_table(folder / _CARDS))


@step
def make_adjudication_batch(context: Context) -> Address | None:
    """The tasks of a batch for adjudicators: contested pairs, the least certain first, at most `batch_size`.

    None when nothing is contested that is not already with an adjudicator: a batch is waited for until a delivery of it
    is accepted; what that leaves unanswered may be asked again, what it answers is settled. One outcome of adjudication
    leads to one batch: called again, it returns the same.
    """
    outcome = _adjudicate(context)
    if outcome is None:
        return None
    workspace, settings = context.workspace, context.settings.adjudication
    mark = f"{ADJUDICATION_BATCHES}/{outcome.scorecards.split('/')[1]}"
    made = workspace.ref(mark)
    if made is not None:
        return made
    with workspace.local_folder(outcome.scorecards) as folder:
        contested = Contested.conform(pq.read_table(folder / _CONTESTED))
    _, batches = _accepted(context)
    waiting = sorted({workspace.require(name, "") for name in workspace.refs(ADJUDICATION_BATCHES)} - set(batches))
    asked = [AnnotationTask.empty(), *(workspace.read(address, AnnotationTask) for address in waiting)]
    contested = contested.join(pa.concat_tables(asked).select(_PAIR), keys=_PAIR, join_type="left anti")
    contested = contested.sort_by([("entropy", "descending"), *((name, "ascending") for name in _PAIR)])
    if not contested.num_rows:
        log.info("make_adjudication_batch: nothing contested that is not with an adjudicator")
        return None
    inputs = [outcome.scorecards, *waiting]
    chosen = {"batch_size": settings.batch_size}
    batch_id = workspace.address("batches", step="adjudication_batch_id", inputs=inputs, settings=chosen).split("/")[1]
    batch_id = f"adjudication-{batch_id[:16]}"

    def make() -> tuple[pa.Table, dict[str, float]]:
        asked = pa.concat_tables([workspace.read(address, AnnotationTask) for address in batches])
        tasks = adjudication_tasks(contested, asked, batch_id=batch_id, at_most=settings.batch_size)
        return tasks, {"tasks": tasks.num_rows, "contested": contested.num_rows, "adjudication": 1}

    address = context.table(AnnotationTask, make, step="make_adjudication_batch", inputs=inputs, settings=chosen)
    workspace.point(f"batches/{batch_id}", address)
    workspace.point(mark, address)
    return address


@step
def send_adjudication_batch(context: Context, batch: Address) -> str:
    """Hands a batch to adjudicators through the channel, one person a task; sending it again changes nothing.
    Returns where it went."""
    settings = context.settings
    annotation = asked_of_adjudicators(settings.annotation)
    asking = replace(context, settings=settings.model_copy(update={"annotation": annotation}))
    tasks = context.workspace.read(batch, AnnotationTask)
    return channel(asking).send(tasks["batch_id"][0].as_py(), tasks)


def _adjudicate(context: Context) -> _Outcome | None:
    workspace, settings = context.workspace, context.settings.adjudication
    accepted, batches = _accepted(context)
    if not accepted:
        log.info("adjudicate: nothing accepted yet")
        return None

    @functools.cache
    def work() -> tuple[Adjudication, Report]:
        parts = [workspace.read(address, Annotation) for address in accepted]
        annotations = pa.concat_tables(parts)
        order = np.argsort(np.argsort([_delivered(context, address) for address in accepted], kind="stable"))
        delivered = np.repeat(order, [part.num_rows for part in parts])
        tasks = pa.concat_tables([workspace.read(address, AnnotationTask) for address in batches])
        found = adjudicate_answers(
            gather(annotations, tasks, adjudicators=settings.adjudicators, delivered=delivered), settings
        )
        return found, report(found, annotations, settings, set_aside=_set_aside(context, accepted))

    def make() -> tuple[pa.Table, dict[str, float]]:
        found, cards = work()
        return found.judgments(), _counts(found, cards)

    def build(folder: Path) -> Mapping[str, float]:
        found, cards = work()
        pq.write_table(cards.cards, folder / _CARDS)
        pq.write_table(found.contested(settings), folder / _CONTESTED)
        measured = {"overall": asdict(cards.overall), "strata": {n: asdict(of) for n, of in cards.strata.items()}}
        (folder / _AGREEMENT).write_text(json.dumps(measured, ensure_ascii=False, indent=1), encoding="utf-8")
        (folder / PAGE).write_text(render(cards, title="Annotators"), encoding="utf-8")
        return {
            "annotators": len(cards.annotators),
            "careless": cards.careless,
            "contested": cards.contested,
            "settled": cards.settled,
        }

    chosen = settings.model_dump(mode="json", exclude={"batch_size"})
    inputs = [*accepted, *batches]
    judgments = context.table(Judgment, make, step="adjudicate", inputs=inputs, settings=chosen)
    beside = workspace.publish_folder("scorecards", build, step="scorecards", inputs=inputs, settings=chosen)
    return _Outcome(judgments, beside)


def _accepted(context: Context) -> tuple[list[Address], list[Address]]:
    """Accepted annotations, and the batches that they answer."""
    workspace = context.workspace
    accepted = sorted({workspace.require(name, "") for name in workspace.refs(ACCEPTED)})
    behind = _behind(context, accepted)
    return accepted, sorted(address for address, manifest in behind.items() if manifest.kind == AnnotationTask.name)


def _delivered(context: Context, accepted: Address) -> str:
    """When the delivery came that accepted annotations are of, ISO 8601."""
    behind = _behind(context, [accepted])
    came = [manifest.created_at for manifest in behind.values() if manifest.kind == "deliveries"]
    return max(came, default=behind[accepted].created_at)


def _behind(context: Context, addresses: Sequence[Address]) -> dict[Address, Manifest]:
    """What artefacts were made from, as far back as batches; what these were made from does not matter here."""
    found: dict[Address, Manifest] = {}
    waiting = list(addresses)
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = context.workspace.manifest(current)
            if found[current].kind != AnnotationTask.name:
                waiting.extend(found[current].inputs)
    return found


def _set_aside(context: Context, accepted: Sequence[Address]) -> Counter[str]:
    """How many answers of each annotator the verdicts behind accepted annotations set aside."""
    counted: Counter[str] = Counter()
    for address, manifest in _behind(context, accepted).items():
        if manifest.kind == "verdicts" and ASIDE in manifest.files:
            with context.workspace.local_folder(address) as folder:
                names = pq.read_table(folder / ASIDE, columns=["annotator_id"])["annotator_id"]
            counted.update(name for name in names.to_pylist() if name is not None)
    return counted


def _counts(found: Adjudication, cards: Report) -> dict[str, float]:
    counts: dict[str, float] = {
        "annotations": int(found.answers.grade.size),
        "judgments": sum(cards.grades),
        "contested": cards.contested,
        "settled": cards.settled,
        "careless": cards.careless,
    }
    counts |= {f"grade_{grade}": count for grade, count in enumerate(cards.grades) if count}
    counts |= {"alpha": round(cards.overall.alpha, 3)} if cards.overall.alpha is not None else {}
    counts |= {"kappa": round(cards.overall.kappa, 3)} if cards.overall.kappa is not None else {}
    return counts
