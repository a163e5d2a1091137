"""Steps towards people: which queries are asked, and the batch of tasks they make (collect_annotation_batch)."""

from __future__ import annotations

import pyarrow as pa

from rerankops.annotation.batches import Control, make_batch, sure_controls
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.incumbent import incumbent_order
from rerankops.pipeline.judgments import JUDGMENTS
from rerankops.records import AnnotationTask, Candidate, Judgment, Passage, Query
from rerankops.workspace import Address


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
