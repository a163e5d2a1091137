"""The loop by hand: refresh, collect, ingest, retrain, rollback, and where an artefact came from."""

from __future__ import annotations

from typing import Annotated

import typer

from rerankops.cli import models, set_aside
from rerankops.cli.output import Config, SkipBad, TextConsole, console, show, show_stages, steps

app = typer.Typer()
_WHOLE_LINES = 500
"""Columns for what must not be broken into lines, such as addresses that people search for."""


@app.command()
def refresh(
    config: Config = None,
    skip_bad: SkipBad = False,
) -> None:
    """Read corpus and gold questions, embed, index, check recall, serve (refresh_corpus_index)."""
    from rerankops.pipeline import context, flows

    here = context.load(config, overrides={"reading": {"skip_bad": skip_bad}} if skip_bad else {})
    with steps() as tell:
        index = flows.refresh(here, tell)
    show_stages(here, index)


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
        show_stages(here, batch)
        console.print(f"The batch is in {here.settings.annotation.outbox}", soft_wrap=True)
    set_aside.tell(here, "query_log", "personal_data")


@app.command()
def ingest(
    config: Config = None, batch: Annotated[str | None, typer.Option(help="Only deliveries of this batch.")] = None
) -> None:
    """Validate what came back, quarantine what fails, adjudicate the rest (ingest_annotations)."""
    from rerankops.pipeline import adjudication, channels, context, flows, quarantine

    here = context.load(config)
    with steps() as tell:
        verdicts, judgments = flows.ingest(here, tell, batch=batch)
    for words in channels.left_out(here):
        console.print(f"Not read: {words}", soft_wrap=True)
    for verdict in verdicts:
        console.print(f"{verdict['source']}: {verdict['outcome']} ({verdict['data_docs']})", soft_wrap=True)
    if any(verdict["outcome"] == "quarantine" for verdict in verdicts):
        console.print(f"Quarantine: {quarantine.page(context=here)}", soft_wrap=True)
    if judgments is None:
        console.print("Nothing was accepted yet.")
    else:
        show_stages(here, judgments)
        console.print(f"Annotators: {adjudication.scorecards(context=here)}", soft_wrap=True)


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


app.command(help="Make the previous champion champion again (rollback_reranker).")(models.rollback)


@app.command()
def lineage(address: str, config: Config = None) -> None:
    """Print where an artefact came from, back to the events. ADDRESS may also be a reference, such as judgments."""
    from rich.text import Text
    from rich.tree import Tree

    from rerankops.pipeline import context

    workspace = context.load(config).workspace
    start = address if workspace.exists(address) else workspace.ref(address) or address
    found = workspace.lineage(start)
    shown: set[str] = set()

    def add(parent: Tree, current: str) -> None:
        manifest = found[current]
        counts = ", ".join(f"{name} {value:g}" for name, value in manifest.counts.items())
        about = f" {manifest.step} · {manifest.created_at[:19]} · {counts or f'{manifest.rows} rows'}"
        if current in shown:
            parent.add(Text(f"{current} (above)", "dim"))
            return
        shown.add(current)
        branch = parent.add(Text.assemble((current, "bold"), about))
        for source in manifest.inputs:
            add(branch, source)

    tree = Tree(Text(f"lineage of {address}"))
    add(tree, start)
    TextConsole(width=_WHOLE_LINES).print(tree, soft_wrap=True)
