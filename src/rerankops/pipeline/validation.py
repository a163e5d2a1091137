"""The step at the door: what came back is accepted, accepted in part or quarantined (ingest_annotations)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rerankops.annotation.adjudication import asked_of_adjudicators, is_for_adjudication
from rerankops.errors import InputError
from rerankops.pipeline import channels
from rerankops.pipeline.channels import received, verdict_ref
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.queries import gold_texts
from rerankops.queries.normalise import near_to
from rerankops.records import RECORDS, Annotation, AnnotationTask, Query, SelectedQuery
from rerankops.workspace import Address

ACCEPTED = "annotations"
"""References: the annotations accepted last of each stream."""
SETTINGS = {
    "annotators_per_task",
    "min_control_accuracy",
    "min_completeness",
    "min_completeness_left",
    "min_query_completeness",
    "max_set_aside_share",
    "min_median_seconds",
    "positive_share",
    "grade_drift",
}
"""Those of `annotation` that a verdict depends on."""
MEANING = {"encoding", "time_zone", "date_order"}
"""Those of `reading`."""
ANNOTATIONS, READABLE, ASIDE, COUNTS = (
    f"{name}.parquet" for name in ("annotations", "readable", "set_aside", "grade_counts")
)
"""Files of a verdict: what was accepted (whole or in part), or, in quarantine, what a person may release of it; the
lines set aside with reasons; grades by stratum, which later deliveries are compared with."""


@step
def validate_delivery(context: Context, delivery: Address) -> dict[str, Any]:
    """Great Expectations decides: what is accepted is published, what is set aside is listed with reasons, and a
    delivery that is wrong as a whole is kept in quarantine.

    What was accepted before (for drift) is no part of the verdict's address: a delivery is judged once, by what was
    known when it came; the verdict says by what. Returns outcome (accept, accept_in_part or quarantine), verdict (its
    address), source, set_aside (lines), reasons, and data_docs, where its pages can be opened.
    """
    from rerankops.annotation import expectations, quarantine

    workspace, settings = context.workspace, context.settings
    delivered = received(context, delivery)
    batch = workspace.ref(f"batches/{delivered.batch_id}")
    tasks = workspace.read(batch, AnnotationTask) if batch else AnnotationTask.empty()
    gold = workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions")
    asked = pl.DataFrame({"id": tasks["query_id"].to_pylist(), "normal": tasks["query_text"].to_pylist()})
    asked = asked.cast({"id": pl.String, "normal": pl.String}).unique("id")
    queries = settings.queries
    leaks = near_to(
        asked, gold_texts(context, gold), threshold=queries.gold_distance_threshold, synonyms=queries.synonyms
    )
    inputs = [delivery, gold, *([batch] if batch else [])]
    contested = is_for_adjudication(tasks)
    asked_for = asked_of_adjudicators(settings.annotation) if contested else settings.annotation

    def build(folder: Path) -> Mapping[str, float]:
        now = channels.now()  # only to refuse grades from the future
        came = datetime.fromisoformat(workspace.manifest(delivery).created_at)  # pages of one delivery are the same
        history = {} if contested else _history(context, delivered.stream, batch)
        result = expectations.validate(
            delivered,
            tasks,
            leaks,
            asked_for,
            data_docs=folder / "data_docs",
            now=now,
            received_at=came,
            sent_at=_asked_at(context, batch) if batch else None,
            history=pa.concat_tables(history.values()) if history else None,
        )
        about = {
            "outcome": result.outcome,
            "reasons": list(result.reasons),
            "metrics": result.metrics,
            "compared_with": sorted(history),
            "adjudication": contested,
        }
        _write(folder / "validation.json", about)
        _write(folder / "findings.json", [asdict(finding) for finding in result.findings])
        pq.write_table(result.set_aside, folder / ASIDE)
        pq.write_table(result.grade_counts, folder / COUNTS)
        for finding in result.findings:
            log.warning("%s: %s", finding.severity, finding.words)
        if result.annotations is None:
            pq.write_table(result.readable, folder / READABLE)
            quarantine.write(folder, delivered, result, when=came)
        else:
            pq.write_table(result.annotations, folder / ANNOTATIONS)
        accepted = {"accepted": float(result.annotations is not None), "in_part": float(result.outcome == _IN_PART)}
        return accepted | result.metrics

    read_with = settings.reading.model_dump(include=MEANING)
    used = asked_for.model_dump(include=SETTINGS) | read_with | _seen_before(context, delivery)
    verdict = workspace.publish_folder("verdicts", build, step="validate_delivery", inputs=inputs, settings=used)
    with workspace.local_folder(verdict) as folder:
        about = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
        if about["outcome"] != _REFUSED:
            annotations = context.table(
                Annotation,
                lambda: (pq.read_table(folder / ANNOTATIONS), {}),
                step="validate_delivery",
                inputs=[verdict],
            )
            workspace.point(f"{ACCEPTED}/{delivered.stream}", annotations)
    workspace.point(verdict_ref(delivery), verdict)
    place = workspace.place(verdict)
    set_aside = int(about["metrics"]["set_aside"])
    if about["outcome"] == _REFUSED:
        log.warning("%s is quarantined: read %s/%s", delivered.source, place, quarantine.READABLE)
    elif set_aside:
        log.warning("%s is accepted but for %d lines: read %s/%s", delivered.source, set_aside, place, ASIDE)
    return {
        "outcome": about["outcome"],
        "verdict": verdict,
        "source": delivered.source,
        "set_aside": set_aside,
        "reasons": about["reasons"],
        "data_docs": f"{place}/data_docs/index.html",
    }


def _seen_before(context: Context, delivery: Address) -> dict[str, Address]:
    """What makes a second look at an early delivery another verdict: the one before it."""
    verdict = context.workspace.ref(verdict_ref(delivery))
    if verdict is None:
        return {}
    if channels.was_early(context, delivery):
        return {_AGAIN: verdict}
    settings = context.workspace.manifest(verdict).settings
    return {_AGAIN: settings[_AGAIN]} if _AGAIN in settings else {}


_AGAIN = "looked_at_again_after"
_IN_PART, _REFUSED = "accept_in_part", "quarantine"


def salvage(context: Context, delivery: Address) -> pa.Table:
    """records.Annotation: what can be used of a quarantined delivery, for a person who overrules the verdict.

    Every line that names a known task, an annotator, a grade and a time in range and contradicts no other, whoever
    gave it: people who were to be set aside are in it. Gold questions never are. Raises InputError when the delivery
    was not quarantined or nothing of it can be used.
    """
    workspace = context.workspace
    source = workspace.manifest(delivery).settings["source"]
    verdict = workspace.ref(verdict_ref(delivery))
    if verdict is None:
        raise InputError(f"{source} was not validated yet; run ingest_annotations first")
    if READABLE not in workspace.manifest(verdict).files:
        raise InputError(f"{source} is not in quarantine; there is nothing to release")
    with workspace.local_folder(verdict) as folder:
        readable = Annotation.conform(pq.read_table(folder / READABLE))
    if not readable.num_rows:
        raise InputError(f"no line of {source} can be used as it is; correct it and deliver it again")
    return readable


def _history(context: Context, stream: str, batch: Address | None) -> dict[Address, pa.Table]:
    """Grades by stratum of what stands accepted of other streams and batches, by verdict."""
    workspace = context.workspace
    found = {}
    for name in workspace.refs(ACCEPTED):
        if name.split("/", 1)[1] == stream:
            continue
        for address, manifest in workspace.lineage(workspace.require(name, "")).items():
            if manifest.step != "validate_delivery" or COUNTS not in manifest.files:
                continue
            if batch not in manifest.inputs:
                with workspace.local_folder(address) as folder:
                    about = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
                    if not about["adjudication"]:  # contested pairs are no sample of grades
                        found[address] = pq.read_table(folder / COUNTS)
            break
    return found


def _asked_at(context: Context, batch: Address) -> datetime | None:
    """The newest event behind the batch's queries, before which nobody can have graded them; None for a batch that
    was not made from a query log."""
    moments = []
    for address, manifest in context.workspace.lineage(batch).items():
        if manifest.kind in {Query.name, SelectedQuery.name}:
            moments.append(pc.max(context.workspace.read(address, RECORDS[manifest.kind])["last_seen"]).as_py())
    return max((moment for moment in moments if moment is not None), default=None)


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
