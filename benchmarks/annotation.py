"""A delivery of annotations from the inbox to published judgments: seconds and memory, against the libraries alone.

    python benchmarks/annotation.py [--sizes 10000 100000 1000000] [--folder DIR]

stage: what `rerankops ingest` does with one delivery in JSON lines, step by step: pull (stored as it came), validate
(all suites, Data Docs, comparison with 100 gold questions), adjudicate (agreement overall, per stratum and pair;
confusion matrices; judgments, scorecards and their page), published into a workspace on disk.
libraries: Great Expectations with 11 expectations and crowd-kit's DawidSkene(n_iter=20) on the same rows, which lie
ready in memory as pandas.DataFrame, tasks and people as numbers; nothing is read or written.

Each part runs in a process of its own; its peak resident memory is the process's. Imports (given apart) are not part of
the seconds of either. Three people a task, six passages a query, 5 % controls, the five error profiles of the
demonstration in equal parts (20 % careless). Results go to benchmarks/results/annotation.{json,md}; the last line is
the headline: seconds of the stage over those of the libraries, at the largest size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

SIZES = (10_000, 100_000, 1_000_000)
RESULTS = Path(__file__).resolve().parent / "results"
PER_TASK, PER_QUERY, CONTROLS, GOLD = 3, 6, 0.05, 100
ANSWERS_EACH = 20_000
"""Of one person at the largest size; never fewer than ten people."""
FREQUENCIES = (0.5, 0.2, 0.15, 0.15)
HANZI = np.array([chr(code) for code in range(0x4E00, 0x4E00 + 2500)])
BATCH = "benchmark"


def make(folder: Path, size: int) -> None:
    """A workspace with gold questions and one batch, and the delivery of it in the inbox."""
    from rerankops.demo.annotators import ANNOTATORS
    from rerankops.pipeline.corpus import GOLD as GOLD_REFERENCE
    from rerankops.records import AnnotationTask, GoldQuestion

    rng = np.random.default_rng(size)
    tasks = size // PER_TASK
    query = np.arange(tasks) // PER_QUERY
    truth = rng.choice(4, size=tasks, p=FREQUENCIES)
    control = rng.random(tasks) < CONTROLS
    truth[control] = rng.choice([0, 3], size=control.sum())
    queries = _texts(rng, int(query[-1]) + 1, 12)
    strata = np.array(["numeric", "procedure", "summary"])[rng.integers(3, size=len(queries))]
    table = pl.DataFrame(
        {
            "batch_id": pl.repeat(BATCH, tasks, eager=True),
            "task_id": pl.Series(np.char.add("task-", np.char.zfill(np.arange(tasks).astype(str), 19))),
            "query_id": pl.Series(np.char.add("query-", query.astype(str))),
            "passage_id": pl.Series(np.char.add("passage-", rng.permutation(tasks).astype(str))),
            "query_text": pl.Series(queries).gather(query),
            "passage_title": pl.Series(_texts(rng, 1000, 10)).gather(rng.integers(1000, size=tasks)),
            "passage_text": pl.Series(_texts(rng, 5000, 120)).gather(rng.integers(5000, size=tasks)),
            "stratum": pl.Series(strata).gather(query),
            "control_grade": pl.Series(np.where(control, truth, -1), dtype=pl.Int8),
            "chosen_for": pl.repeat("random", tasks, eager=True),
        }
    ).with_columns(control_grade=pl.when(pl.col("control_grade") >= 0).then("control_grade"))
    here = _context(folder)
    batch = here.workspace.publish(AnnotationTask, AnnotationTask.conform(table.to_arrow()), step="make_batch")
    here.workspace.point(f"batches/{BATCH}", batch)
    gold = GoldQuestion.table(
        {
            "question_id": f"gold-{n}",
            "text": text,
            "accepted_answers": ["x"],
            "stratum": "numeric",
            "relevant_passage_ids": [],
            "relevant_grades": None,
        }
        for n, text in enumerate(_texts(rng, GOLD, 12))
    )
    here.workspace.point(GOLD_REFERENCE, here.workspace.publish(GoldQuestion, gold, step="load_gold"))

    people = max(10, size // ANSWERS_EACH)
    confusion = np.array([annotator.confusion for annotator in ANNOTATORS])
    pace = np.array([annotator.seconds for annotator in ANNOTATORS])
    who = np.argsort(rng.random((tasks, people)), axis=1)[:, :PER_TASK]
    chances = confusion[who % len(ANNOTATORS), truth[:, None]]
    grade = (chances.cumsum(axis=2) > rng.random((tasks, PER_TASK, 1))).argmax(axis=2).ravel()
    who = who.ravel()
    seconds = pace[who % len(ANNOTATORS)] * np.exp(rng.normal(0, 0.45, who.size))
    order = np.argsort(who * 2.0 + rng.random(who.size), kind="stable")
    spent = seconds[order].cumsum()
    begins = np.searchsorted(who[order], np.arange(people))
    at = np.empty(who.size)
    at[order] = spent - (spent - seconds[order])[begins][who[order]]
    now = datetime.now(UTC)
    began = now - timedelta(seconds=float(at.max()) + 3600)
    delivery = pl.DataFrame(
        {
            "batch_id": pl.repeat(BATCH, who.size, eager=True),
            "task_id": table["task_id"].gather(np.repeat(np.arange(tasks), PER_TASK)),
            "annotator_id": pl.Series([f"person-{n:03}" for n in range(people)]).gather(who),
            "grade": grade,
            "annotated_at": pl.Series((at * 1e6).astype(np.int64)).cast(pl.Duration("us")) + began,
            "lead_seconds": np.round(seconds, 2),
        }
    ).with_columns(pl.col("annotated_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
    (folder / "inbox").mkdir()
    delivery.write_ndjson(folder / "inbox" / f"{BATCH}.jsonl")
    delivery.write_parquet(folder / "delivery.parquet")
    np.save(folder / "truth.npy", truth)


def _texts(rng: np.random.Generator, n: int, characters: int) -> list[str]:
    return ["".join(row) for row in HANZI[rng.integers(HANZI.size, size=(n, characters))]]


def _context(folder: Path) -> Any:
    from rerankops import config
    from rerankops.pipeline.context import Context
    from rerankops.workspace import Workspace

    settings = config.load(
        environ={},
        overrides={
            "workspace": {"root": str(folder / "workspace")},
            "annotation": {"outbox": str(folder / "outbox"), "inbox": str(folder / "inbox")},
        },
    )
    return Context(settings, Workspace(settings.workspace.root))


def stage(folder: Path) -> dict[str, Any]:
    """The steps of ingest_annotations, timed; raises when the delivery did not become judgments."""
    began = time.perf_counter()
    import great_expectations  # noqa: F401 - seconds of importing are told apart
    import scipy.sparse  # noqa: F401

    from rerankops.annotation import expectations, quarantine  # noqa: F401
    from rerankops.pipeline import adjudication, channels, validation
    from rerankops.records import Judgment

    here = _context(folder)
    imports = time.perf_counter() - began
    steps: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = step()
        steps[name] = time.perf_counter() - begin
        return result

    [delivery] = timed("pull", lambda: channels.pull_deliveries(context=here))
    verdict = timed("validate", lambda: validation.validate_delivery(delivery, context=here))
    judgments = timed("adjudicate", lambda: adjudication.adjudicate(context=here))
    page = timed("scorecards", lambda: adjudication.scorecards(context=here))
    if verdict["outcome"] != "accept" or judgments is None or not page.is_file():
        raise RuntimeError(f"the delivery was not accepted whole: {verdict}")
    table = here.workspace.read(judgments, Judgment)
    return {
        "seconds": sum(steps.values()),
        "steps": steps,
        "imports": imports,
        "judgments": table.num_rows,
        "accuracy": _accuracy(folder, table),
        "counts": here.workspace.manifest(judgments).counts,
    }


def _accuracy(folder: Path, judgments: pa.Table) -> float:
    from rerankops.records import AnnotationTask

    here = _context(folder)
    batch = here.workspace.read(here.workspace.require(f"batches/{BATCH}", ""), AnnotationTask)
    truth = pl.DataFrame(pl.from_arrow(batch.select(["query_id", "passage_id"]))).with_columns(
        truth=pl.Series(np.load(folder / "truth.npy"))
    )
    both = pl.DataFrame(pl.from_arrow(judgments)).join(truth, on=["query_id", "passage_id"], how="left")
    return float(both.select((pl.col("grade") == pl.col("truth")).mean()).item())


def libraries(folder: Path) -> dict[str, Any]:
    """Great Expectations and crowd-kit on rows in memory."""
    import warnings

    began = time.perf_counter()
    import great_expectations as gx
    from crowdkit.aggregation import DawidSkene

    imports = time.perf_counter() - began
    warnings.simplefilter("ignore")
    rows = pl.read_parquet(folder / "delivery.parquet")
    frame = rows.to_pandas()
    answers = rows.select(
        task=pl.col("task_id").rank("dense"), worker=pl.col("annotator_id").rank("dense"), label="grade"
    ).to_pandas()
    checks = gx.expectations
    expected = [
        *(checks.ExpectColumnValuesToNotBeNull(column=name) for name in rows.columns[:5]),
        checks.ExpectColumnValuesToBeInSet(column="grade", value_set=[0, 1, 2, 3]),
        checks.ExpectCompoundColumnsToBeUnique(column_list=["task_id", "annotator_id"]),
        checks.ExpectColumnValuesToMatchRegex(column="task_id", regex="^task-[0-9]+$"),
        checks.ExpectColumnValuesToMatchRegex(column="annotated_at", regex=r"^\d{4}-\d{2}-\d{2}T"),
        checks.ExpectColumnMeanToBeBetween(column="grade", min_value=0.1, max_value=2.9),
        checks.ExpectColumnValuesToBeBetween(column="lead_seconds", min_value=0),
    ]
    steps = {}
    begin = time.perf_counter()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    result = batch.validate(gx.ExpectationSuite(name="rows", expectations=expected))
    if not result.success:
        raise RuntimeError(f"the libraries' suite failed: {result.describe()}")
    steps["great expectations"] = time.perf_counter() - begin
    begin = time.perf_counter()
    DawidSkene(n_iter=20).fit_predict_proba(answers)
    steps["crowd-kit"] = time.perf_counter() - begin
    return {"seconds": sum(steps.values()), "steps": steps, "imports": imports}


def alone(part: str, folder: Path, size: int) -> dict[str, Any]:
    """A part in a process of its own: what it says, and the peak of its resident memory, bytes."""
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder), "--sizes", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{part} at {size} failed:\n{done.stderr[-4000:]}")
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def markdown(document: dict[str, Any]) -> str:
    lines = [
        "# A delivery of annotations, from the inbox to published judgments",
        "",
        f"{document['date']}, {document['machine']}. `python benchmarks/annotation.py`. Seconds without imports "
        "(the stage's take "
        f"{document['rows'][-1]['stage']['imports']:.0f} s); each part in a process of its own.",
        "",
        "| annotations | pull | validate | adjudicate | scorecards | stage | µs a row | GiB | libraries | ratio |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in document["rows"]:
        stage, base = row["stage"], row["libraries"]
        steps = " | ".join(f"{stage['steps'][name]:.2f}" for name in ("pull", "validate", "adjudicate", "scorecards"))
        lines.append(
            f"| {row['size']:,} | {steps} | {stage['seconds']:.2f} | {stage['seconds'] / row['size'] * 1e6:.1f} | "
            f"{stage['peak_bytes'] / 2**30:.2f} | {base['seconds']:.2f} | {stage['seconds'] / base['seconds']:.2f} |"
        )
    lines += [
        "",
        "The libraries: "
        + "; ".join(
            f"{row['size']:,} rows: "
            + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in row["libraries"]["steps"].items())
            + f", {row['libraries']['peak_bytes'] / 2**30:.2f} GiB"
            for row in document["rows"]
        )
        + ".",
        "",
        "Accuracy of the judgments: "
        + ", ".join(f"{row['stage']['accuracy']:.3f} at {row['size']:,}" for row in document["rows"])
        + ".",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="annotations")
    parser.add_argument("--folder", type=Path, help="for scratch files; default: a temporary one")
    parser.add_argument("--part", choices=["make", "stage", "libraries"], help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="write no results")
    chosen = parser.parse_args()
    if chosen.part:
        parts = {"make": lambda folder: make(folder, chosen.sizes[0]), "stage": stage, "libraries": libraries}
        document = parts[chosen.part](chosen.folder) or {}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(document | {"peak_bytes": peak}))
        return
    rows = []
    for size in chosen.sizes:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
            folder = Path(scratch)
            alone("make", folder, size)
            row = {"size": size, "libraries": alone("libraries", folder, size), "stage": alone("stage", folder, size)}
        rows.append(row)
        steps = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["stage"]["steps"].items())
        print(
            f"{size:>9,} annotations: stage {row['stage']['seconds']:.2f} s ({steps}), "
            f"{row['stage']['peak_bytes'] / 2**30:.2f} GiB; libraries {row['libraries']['seconds']:.2f} s",
            flush=True,
        )
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rows": rows,
    }
    if not chosen.dry:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "annotation.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "annotation.md").write_text(markdown(document), encoding="utf-8")
    last = rows[-1]
    ratio = last["stage"]["seconds"] / last["libraries"]["seconds"]
    print(
        f"{last['size']:,} annotations: {last['stage']['seconds']:.1f} s and {last['stage']['peak_bytes'] / 2**30:.2f} "
        f"GiB; {ratio:.2f} times the two libraries alone ({last['libraries']['seconds']:.1f} s)"
    )


if __name__ == "__main__":
    main()
