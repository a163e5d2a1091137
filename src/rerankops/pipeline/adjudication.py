"""The step from several people's grades to judgments (ingest_annotations)."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.judgments import take_in
from rerankops.pipeline.validation import ACCEPTED
from rerankops.records import Annotation, AnnotationTask, Judgment
from rerankops.workspace import Address


@step
def adjudicate(context: Context) -> Address | None:
    """Judgments from every accepted delivery (Dawid and Skene, 1979), merged into `judgments`.

    None when nothing was accepted yet. The same deliveries give the same address, whatever their order.
    """
    workspace, settings = context.workspace, context.settings
    accepted = sorted(workspace.require(name, "") for name in workspace.refs(ACCEPTED))
    if not accepted:
        log.info("adjudicate: nothing accepted yet")
        return None
    behind = {source for address in accepted for source in workspace.lineage(address)}
    batches = sorted(address for address in behind if workspace.manifest(address).kind == AnnotationTask.name)

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
    return take_in(context, "human", address)
