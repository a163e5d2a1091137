"""Steps around people: a batch goes out (collect_annotation_batch), grades come back and become judgments
(ingest_annotations)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rerankops.annotation.batches import Control, make_batch, sure_controls
from rerankops.annotation.channel import Delivery, FileChannel, read
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.incumbent import incumbent_order
from rerankops.pipeline.queries import gold_texts, mark_asked
from rerankops.queries.normalise import near_to
from rerankops.records import Annotation, AnnotationTask, Candidate, Judgment, Passage, Query
from rerankops.workspace import Address

JUDGMENTS = "judgments"
"""Reference: all judgments there are."""


@step
def make_annotation_batch(context: Context, queries: Address, candidates: Address) -> Address:
    """The tasks of a batch: the incumbent's first candidates of each query, control tasks mixed in.

    The address leaves the incumbent and earlier judgments (a source of controls) out on purpose: on the same sample,
    the batch that was made first is the one that people have, and it stands.
    """
    workspace, settings = context.workspace, context.settings
    index = workspace.manifest(candidates).inputs[1]
    corpus = workspace.manifest(index).inputs[0]
    inputs = [queries, candidates]
    chosen = settings.annotation.model_dump(include={"candidates_per_query", "control_share"})
    chosen["seed"] = settings.training.seed
    batch_id = workspace.address("batches", step="batch_id", inputs=inputs, settings=chosen).split("/")[1][:16]

    def make() -> tuple[pa.Table, dict[str, float]]:
        sampled = workspace.read(queries, Query)
        texts = dict(zip(sampled["query_id"].to_pylist(), sampled["text"].to_pylist(), strict=True))
        ordered = incumbent_order(context, index, workspace.read(candidates, Candidate), texts)
        judged = workspace.ref(JUDGMENTS)
        tasks = make_batch(
            sampled,
            ordered,
            workspace.read(corpus, Passage),
            candidates_per_query=settings.annotation.candidates_per_query,
            controls=sure_controls(workspace.read(judged, Judgment)) if judged else Control.empty(),
            control_share=settings.annotation.control_share,
            batch_id=batch_id,
            seed=settings.training.seed,
        )
        controls = tasks.num_rows - tasks["control_grade"].null_count
        return tasks, {"tasks": tasks.num_rows, "controls": controls}

    address = context.table(AnnotationTask, make, step="make_annotation_batch", inputs=inputs, settings=chosen)
    workspace.point(f"batches/{batch_id}", address)
    return address


@step
def send_batch(context: Context, batch: Address) -> str:
    """Hands the batch to people through the channel; sending it again changes nothing. Returns where it went."""
    tasks = context.workspace.read(batch, AnnotationTask)
    place = _channel(context).send(tasks["batch_id"][0].as_py(), tasks)
    mark_asked(context, context.workspace.manifest(batch).inputs[0])
    return place


@step
def pull_deliveries(context: Context, batch: str | None = None) -> list[Address]:
    """Stores every delivery of the inbox as it came and returns the addresses of those not yet validated, in order.

    batch: only deliveries of this batch.
    """
    stored = []
    for delivery in _channel(context).pull():
        if batch and delivery.batch_id != batch:
            continue

        def keep(folder: Path, delivery: Delivery = delivery) -> Mapping[str, float]:
            (folder / "raw.jsonl").write_bytes(delivery.content)
            (folder / "source.txt").write_text(delivery.source)
            return {"bytes": len(delivery.content)}

        identity = {"sha256": delivery.sha256, "source": delivery.source}
        address = context.workspace.publish_folder("deliveries", keep, step="pull_deliveries", settings=identity)
        if context.workspace.ref(_verdict(address)) is None:
            stored.append(address)
    log.info("pull_deliveries: %d new", len(stored))
    return stored


@step
def validate_delivery(context: Context, delivery: Address) -> dict[str, Any]:
    """Great Expectations decides: accepted annotations are published, a broken delivery is kept whole in quarantine.

    Returns outcome (accept or quarantine), the address of the verdict, and the link to its Data Docs.
    """
    from rerankops.annotation import expectations, quarantine

    workspace, settings = context.workspace, context.settings
    with workspace.local_folder(delivery) as folder:
        received = read((folder / "raw.jsonl").read_bytes(), source=(folder / "source.txt").read_text())
    batch = workspace.ref(f"batches/{received.batch_id}")
    tasks = workspace.read(batch, AnnotationTask) if batch else AnnotationTask.empty()
    gold = workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions")
    asked = pl.DataFrame({"id": tasks["query_id"].to_pylist(), "normal": tasks["query_text"].to_pylist()})
    asked = asked.cast({"id": pl.String, "normal": pl.String}).unique("id")
    leaks = near_to(asked, gold_texts(context, gold), threshold=settings.queries.gold_distance_threshold)
    inputs = [delivery, gold, *([batch] if batch else [])]

    def build(folder: Path) -> Mapping[str, float]:
        now = datetime.now(UTC)  # only to refuse grades from the future
        result = expectations.validate(
            received, tasks, leaks, settings.annotation, data_docs=folder / "data_docs", now=now
        )
        findings = [asdict(finding) for finding in result.findings]
        (folder / "findings.json").write_text(json.dumps(findings, ensure_ascii=False, indent=1), encoding="utf-8")
        for finding in result.findings:
            log.warning("%s: %s", finding.severity, finding.words)
        if result.annotations is None:
            quarantine.write(folder, received, result, when=now)
        else:
            pq.write_table(result.annotations, folder / "annotations.parquet")
        return {"accepted": float(result.outcome == "accept"), **result.metrics}

    verdict = workspace.publish_folder(
        "verdicts", build, step="validate_delivery", inputs=inputs, settings=settings.annotation
    )
    accepted = bool(workspace.manifest(verdict).counts["accepted"])
    with workspace.local_folder(verdict) as folder:
        if accepted:
            annotations = context.table(
                Annotation,
                lambda: (pq.read_table(folder / "annotations.parquet"), {}),
                step="validate_delivery",
                inputs=[verdict],
            )
            workspace.point(f"annotations/{received.batch_id}-{delivery.split('/')[1][:8]}", annotations)
        else:
            log.warning("%s is quarantined: read %s", received.source, folder / "reasons.md")
    outcome = "accept" if accepted else "quarantine"
    workspace.point(_verdict(delivery), verdict)
    return {"outcome": outcome, "verdict": verdict, "source": received.source}


@step
def adjudicate(context: Context) -> Address | None:
    """Judgments from every accepted delivery (Dawid and Skene, 1979), pointed at by `judgments`.

    None when nothing was accepted yet. The same deliveries give the same address, whatever their order.
    """
    workspace, settings = context.workspace, context.settings
    names = workspace.refs("annotations")
    if not names:
        log.info("adjudicate: nothing accepted yet")
        return None
    accepted = sorted(workspace.require(name, "") for name in names)
    answered = {f"batches/{name.removeprefix('annotations/').rsplit('-', 1)[0]}" for name in names}
    batches = sorted(workspace.require(name, "collect the batch first") for name in answered)

    def make() -> tuple[pa.Table, dict[str, float]]:
        from rerankops.annotation.adjudication import dawid_skene
        from rerankops.annotation.agreement import agreement

        annotations = pa.concat_tables([workspace.read(address, Annotation) for address in accepted])
        newest = (
            pl.DataFrame(pl.from_arrow(annotations))
            .sort("annotated_at", "task_id", "annotator_id")
            .unique(["task_id", "annotator_id"], keep="last", maintain_order=True)
            .to_arrow()
        )
        annotations = Annotation.conform(newest)
        tasks = pa.concat_tables([workspace.read(address, AnnotationTask) for address in batches])
        judgments = dawid_skene(annotations, tasks, iterations=settings.annotation.dawid_skene_iterations)
        counts: dict[str, float] = {"annotations": annotations.num_rows, "judgments": judgments.num_rows}
        grades = judgments["grade"].to_pylist()
        counts |= {f"grade_{grade}": grades.count(grade) for grade in sorted(set(grades))}
        controls = set(tasks.filter(pc.is_valid(tasks["control_grade"]))["task_id"].to_pylist())
        asked = pl.DataFrame(pl.from_arrow(annotations)).filter(~pl.col("task_id").is_in(list(controls)))
        measured = agreement(asked.to_arrow())
        counts |= {"alpha": round(measured.alpha, 3)} if measured.alpha is not None else {}
        counts |= {"kappa": round(measured.kappa, 3)} if measured.kappa is not None else {}
        return judgments, counts

    address = context.table(
        Judgment,
        make,
        step="adjudicate",
        inputs=[*accepted, *batches],
        settings={"dawid_skene_iterations": settings.annotation.dawid_skene_iterations},
    )
    workspace.point(JUDGMENTS, address)
    return address


def _channel(context: Context) -> FileChannel:
    return FileChannel(context.settings.annotation.outbox, context.settings.annotation.inbox)


def _verdict(delivery: Address) -> str:
    return f"verdicts/{delivery.split('/')[1]}"
