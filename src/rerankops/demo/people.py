"""The simulated people of the demo: they read a batch from the outbox and put their grades into the inbox.

What they say is drawn from the world's hidden truth through their error profiles (annotators.py), and everything they
produce is marked: annotator ids start with `sim-`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from rerankops.demo.annotators import annotate
from rerankops.demo.world import World, grades
from rerankops.records import AnnotationTask

FIRST_DAY = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)


def label(world: World, tasks: pa.Table, events: pa.Table, *, annotators_per_task: int, seed: int) -> pa.Table:
    """records.Annotation for every task of a batch.

    tasks: records.AnnotationTask. events: records.QueryEvent that the batch's queries came from; they say which of the
    world's intents stands behind a query (the most frequent one, where several users meant different things).
    """
    intents = (
        pl.DataFrame(pl.from_arrow(events))
        .select("event_id", "query_id")
        .join(pl.DataFrame(pl.from_arrow(world.intents)).select("event_id", "intent_id"), on="event_id")
        .drop_nulls()
        .group_by("query_id", "intent_id")
        .len()
        .sort(["query_id", "len", "intent_id"], descending=[False, True, False])
        .unique("query_id", keep="first", maintain_order=True)
    )
    meant = (
        pl.DataFrame(pl.from_arrow(tasks))
        .join(intents.select("query_id", "intent_id"), on="query_id", how="left", maintain_order="left")
        .select("intent_id", "passage_id")
    )
    known = meant["intent_id"].is_not_null().to_numpy()
    truth = np.zeros(meant.height, dtype=np.int64)  # what nobody meant, nothing answers
    asked = meant.filter(pl.Series(known))
    truth[known] = grades(world, asked["intent_id"].to_list(), asked["passage_id"].to_list())
    return annotate(
        AnnotationTask.conform(tasks), truth, annotators_per_task=annotators_per_task, started_at=FIRST_DAY, seed=seed
    )


def deliver(annotations: pa.Table, inbox: Path, *, interrupted: bool) -> list[Path]:
    """Puts the annotations of a batch into the inbox as its people would; each file appears whole.

    interrupted: beforehand, an upload that broke off arrives too: a third of the lines, the last one cut in two.
    """
    inbox.mkdir(parents=True, exist_ok=True)
    batch_id = annotations["batch_id"][0].as_py()
    frame = pl.DataFrame(pl.from_arrow(annotations)).with_columns(
        pl.col("annotated_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    whole = frame.write_ndjson().encode()
    files = {f"{batch_id}.jsonl": whole}
    if interrupted:
        files[f"{batch_id}-interrupted-upload.jsonl"] = whole[: len(whole) // 3]
    for name, data in files.items():
        temporary = inbox / f".{name}"
        temporary.write_bytes(data)
        temporary.replace(inbox / name)
    return [inbox / name for name in files]
