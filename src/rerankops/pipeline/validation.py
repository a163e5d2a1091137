"""The step at the door: what came back is accepted or quarantined (ingest_annotations)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from rerankops.pipeline.channels import received, verdict_ref
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.queries import gold_texts
from rerankops.queries.normalise import near_to
from rerankops.records import Annotation, AnnotationTask
from rerankops.workspace import Address

ACCEPTED = "annotations"
"""References: the annotations accepted last of each stream."""


@step
def validate_delivery(context: Context, delivery: Address) -> dict[str, Any]:
    """Great Expectations decides: accepted annotations are published, a broken delivery is kept whole in quarantine.

    Returns outcome (accept or quarantine), the address of the verdict, and the link to its Data Docs.
    """
    from rerankops.annotation import expectations, quarantine

    workspace, settings = context.workspace, context.settings
    delivered = received(context, delivery)
    batch = workspace.ref(f"batches/{delivered.batch_id}")
    tasks = workspace.read(batch, AnnotationTask) if batch else AnnotationTask.empty()
    gold = workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions")
    asked = pl.DataFrame({"id": tasks["query_id"].to_pylist(), "normal": tasks["query_text"].to_pylist()})
    asked = asked.cast({"id": pl.String, "normal": pl.String}).unique("id")
    leaks = near_to(asked, gold_texts(context, gold), threshold=settings.queries.gold_distance_threshold)
    inputs = [delivery, gold, *([batch] if batch else [])]

    def build(folder: Path) -> Mapping[str, float]:
        now = datetime.now(UTC)  # only to refuse grades from the future
        result = expectations.validate(
            delivered, tasks, leaks, settings.annotation, data_docs=folder / "data_docs", now=now
        )
        findings = [asdict(finding) for finding in result.findings]
        (folder / "findings.json").write_text(json.dumps(findings, ensure_ascii=False, indent=1), encoding="utf-8")
        for finding in result.findings:
            log.warning("%s: %s", finding.severity, finding.words)
        if result.annotations is None:
            quarantine.write(folder, delivered, result, when=now)
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
            workspace.point(f"{ACCEPTED}/{delivered.stream}", annotations)
        else:
            log.warning("%s is quarantined: read %s", delivered.source, folder / "reasons.md")
    outcome = "accept" if accepted else "quarantine"
    workspace.point(verdict_ref(delivery), verdict)
    return {"outcome": outcome, "verdict": verdict, "source": delivered.source}
