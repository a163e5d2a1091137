"""Steps through the door: a batch goes out to people, what they gave comes back (annotation.channel says where)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rerankops.annotation.channel import Channel, Delivery, FileChannel, read
from rerankops.annotation.deliveries import AHEAD
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.queries import mark_asked
from rerankops.records import AnnotationTask
from rerankops.workspace import Address

STREAMS = "streams"
"""References: the last stored delivery of each stream."""
DECISIONS = "quarantine"
"""References: the decision that stands on each quarantined delivery that somebody looked at."""


@step
def send_batch(context: Context, batch: Address) -> str:
    """Hands the batch to people through the channel; sending it again changes nothing. Returns where it went."""
    tasks = context.workspace.read(batch, AnnotationTask)
    place = channel(context).send(tasks["batch_id"][0].as_py(), tasks)
    mark_asked(context, context.workspace.manifest(batch).inputs[0])
    return place


@step
def pull_deliveries(context: Context, batch: str | None = None) -> list[Address]:
    """Stores every new delivery as it came and returns the addresses of those that wait for validation, in order.

    batch: only deliveries of this batch.
    """
    workspace = context.workspace

    def previous(stream: str) -> bytes | None:
        address = workspace.ref(f"{STREAMS}/{stream}")
        if address is None:
            return None
        with workspace.local_folder(address) as folder:
            return (folder / "raw.jsonl").read_bytes()

    new = 0
    pulled_from = channel(context)
    for item in pulled_from.left_out():
        log.warning("pull_deliveries: not read: %s", item)
    for delivery in pulled_from.pull(previous):
        workspace.point(f"{STREAMS}/{delivery.stream}", _store(context, delivery))
        new += 1
    waiting = []
    for name in workspace.refs(STREAMS):
        address = workspace.require(name, "")
        judged = workspace.ref(verdict_ref(address)) is not None and not was_early(context, address)
        if judged or not workspace.manifest(address).counts["complete"]:
            continue
        if batch is None or received(context, address).batch_id == batch:
            waiting.append(address)
    log.info("pull_deliveries: %d new, %d to validate", new, len(waiting))
    return waiting


def left_out(context: Context) -> list[str]:
    """What lies where annotations come back and is not read, each with why not."""
    return [str(item) for item in channel(context).left_out()]


def received(context: Context, delivery: Address) -> Delivery:
    """A stored delivery, read again."""
    with context.workspace.local_folder(delivery) as folder:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        return read(
            (folder / "raw.jsonl").read_bytes(),
            source=about["source"],
            settings=context.settings.reading,
            server=context.settings.label_studio.name,
            stream=about["stream"],
        )


def was_early(context: Context, delivery: Address) -> bool:
    """Whether a delivery was judged while some of its moments were ahead of the clock and are no more: under a slow
    clock, say. What a person decided about it stands."""
    workspace = context.workspace
    verdict = workspace.ref(verdict_ref(delivery))
    if verdict is None or workspace.ref(f"{DECISIONS}/{delivery.split('/')[1]}"):
        return False
    ahead = workspace.manifest(verdict).counts.get(AHEAD)
    return ahead is not None and ahead <= now().timestamp()


def now() -> datetime:
    """The clock by which moments are judged."""
    return datetime.now(UTC)


def verdict_ref(delivery: Address) -> str:
    """Name of the reference to what validation said of a delivery."""
    return f"verdicts/{delivery.split('/')[1]}"


def channel(context: Context) -> Channel:
    """Where the settings send batches. Raises SettingsError when that is no place."""
    settings, workspace = context.settings.annotation, context.workspace
    if settings.channel == "files":
        return FileChannel(
            settings.outbox,
            settings.inbox,
            settings.outbox_format,
            context.settings.reading,
            context.settings.label_studio.name,
        )
    from rerankops.annotation.label_studio import Connection, LabelStudioChannel

    streams = {name.split("/", 1)[1]: workspace.require(name, "") for name in workspace.refs(STREAMS)}
    return LabelStudioChannel(
        context.label_studio or Connection.configured(context.settings.label_studio),
        context.settings.label_studio,
        settings.annotators_per_task,
        waiting=[name for name, address in streams.items() if not workspace.manifest(address).counts["complete"]],
        reading=context.settings.reading,
    )


def _store(context: Context, delivery: Delivery) -> Address:
    about = {"source": delivery.source, "stream": delivery.stream}

    def keep(folder: Path) -> Mapping[str, float]:
        (folder / "raw.jsonl").write_bytes(delivery.content)
        (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        return {"bytes": len(delivery.content), "complete": float(delivery.complete)}

    identity = about | {"sha256": delivery.sha256, "complete": delivery.complete}
    return context.workspace.publish_folder("deliveries", keep, step="pull_deliveries", settings=identity)
