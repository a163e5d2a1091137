"""Steps towards people: which queries are asked, and the batch of tasks they make (collect_annotation_batch); and what
a batch's random share says of live quality once people have answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rerankops.annotation.batches import Control, make_batch, sure_controls
from rerankops.annotation.selection import Neighbours, choose, live_quality
from rerankops.errors import InputError
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.incumbent import incumbent_ranking
from rerankops.pipeline.judgments import JUDGMENTS
from rerankops.pipeline.queries import asked_queries, read_queries
from rerankops.records import AnnotationTask, Candidate, Judgment, Passage, RankedCandidate, SelectedQuery
from rerankops.workspace import Address


@step
def select_queries(context: Context, pool: Address, candidates: Address) -> Address:
    """records.SelectedQuery: which queries of the pool are asked, and why; see annotation.selection.choose.

    The address leaves the incumbent and earlier batches out on purpose, as that of the pool does.
    """
    workspace, settings = context.workspace, context.settings
    strata = {stratum.name: stratum.share for stratum in settings.queries.strata}
    per_query = settings.annotation.candidates_per_query
    ranking = _ranking(context, candidates)

    def make() -> tuple[pa.Table, dict[str, float]]:
        from rerankops.retrieval.encoder import Encoder

        table, asked = workspace.read(pool, SelectedQuery), asked_queries(context)["text"].to_list()
        vectors = Encoder(settings.encoder).encode_queries([*table["text"].to_pylist(), *asked]).vectors
        choice = choose(
            table,
            workspace.read(candidates, Candidate),
            workspace.read(ranking, RankedCandidate),
            Neighbours(np.asarray(vectors[: table.num_rows]), np.asarray(vectors[table.num_rows :]), asked),
            settings.annotation.selection,
            strata=strata,
            candidates_per_query=per_query,
            temperature=1.0 if workspace.manifest(ranking).counts["champion"] else None,
        )
        reasons = Counter(choice.selected["chosen_for"].to_pylist())
        counts: dict[str, float] = {"selected": choice.selected.num_rows, "passed_over": choice.near_duplicates}
        return choice.selected, counts | {f"selected_for_{name}": count for name, count in sorted(reasons.items())}

    return context.table(
        SelectedQuery,
        make,
        step="select_queries",
        inputs=[pool, candidates, ranking],
        settings=[settings.annotation.selection, strata, per_query, settings.encoder.identity()],
    )


@step
def make_annotation_batch(context: Context, queries: Address, candidates: Address) -> Address:
    """The tasks of a batch: the incumbent's first candidates of each selected query, control tasks mixed in.

    candidates: of the whole pool. The address leaves the incumbent and earlier judgments (a source of controls) out on
    purpose: on the same queries, the batch that was made first is the one that people have, and it stands.
    """
    workspace, settings = context.workspace, context.settings
    index = workspace.manifest(candidates).inputs[1]
    corpus = workspace.manifest(index).inputs[0]
    inputs = [queries, candidates]
    chosen = settings.annotation.model_dump(include={"candidates_per_query", "control_share"})
    chosen["seed"] = settings.training.seed
    batch_id = workspace.address("batches", step="batch_id", inputs=inputs, settings=chosen).split("/")[1][:16]

    def make() -> tuple[pa.Table, dict[str, float]]:
        ranked = pl.DataFrame(pl.from_arrow(workspace.read(_ranking(context, candidates), RankedCandidate)))
        found = pl.DataFrame(pl.from_arrow(workspace.read(candidates, Candidate)))
        ordered = found.drop("rank").join(ranked.drop("score"), on=["query_id", "passage_id"])
        judged = workspace.ref(JUDGMENTS)
        tasks = make_batch(
            workspace.read(queries, SelectedQuery),
            Candidate.conform(ordered.select(Candidate.columns).to_arrow()),
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
def measure_live_quality(context: Context, batch: Address) -> Address:
    """A document of how often the incumbent of a batch put a relevant passage first for live queries, of all that were
    asked and of each stratum, by event and by query; from the batch's random share and the judgments there are now.

    {"champion": version or null, "events": [row, …], "queries": [row, …]}, a row as annotation.selection.LiveQuality
    with `effective` null where it is infinite. Raises InputError when the batch has no labelled random share.
    """
    workspace = context.workspace
    selected, candidates = workspace.manifest(batch).inputs
    if selected.split("/")[0] != SelectedQuery.name:
        raise InputError(f"batch {batch} was made before batches had a random share with known probabilities")
    judged = workspace.require(JUDGMENTS, "run ingest_annotations first; nothing is judged yet")
    ranking = _ranking(context, candidates)

    def make() -> tuple[dict[str, Any], dict[str, float]]:
        ranked = workspace.read(ranking, RankedCandidate)
        first = ranked.filter(pc.equal(ranked["rank"], 1))
        table, judgments = workspace.read(selected, SelectedQuery), workspace.read(judged, Judgment)
        events, queries = (live_quality(table, first, judgments, of=of) for of in ("events", "queries"))
        document = {
            "champion": int(workspace.manifest(ranking).counts["champion"]) or None,
            "events": [_plain(row) for row in events],
            "queries": [_plain(row) for row in queries],
        }
        return document, {"live_quality": round(events[0].share, 4), "labelled": events[0].queries}

    return context.document(
        "live_quality", make, step="measure_live_quality", inputs=[batch, selected, ranking, judged]
    )


def _ranking(context: Context, candidates: Address) -> Address:
    """records.RankedCandidate of candidates by the incumbent; who that was when it was first asked stands."""
    workspace = context.workspace
    queries, index = workspace.manifest(candidates).inputs

    def make() -> tuple[pa.Table, dict[str, float]]:
        asked = read_queries(context, queries)
        texts = dict(zip(asked["query_id"].to_pylist(), asked["text"].to_pylist(), strict=True))
        incumbent = incumbent_ranking(context, index, workspace.read(candidates, Candidate), texts)
        return incumbent.rows, {"champion": incumbent.version or 0}

    return context.table(RankedCandidate, make, step="rank_by_incumbent", inputs=[candidates])


def _plain(row: Any) -> dict[str, Any]:
    values = asdict(row)
    return values | {"effective": values["effective"] if np.isfinite(values["effective"]) else None}
