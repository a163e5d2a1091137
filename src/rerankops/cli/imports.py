"""Existing labels by hand: `rerankops import`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from rerankops.cli.output import Config, console, steps

app = typer.Typer()


@app.command("import")
def import_labels(
    path: Annotated[Path, typer.Argument(help="The file, or the folder of a BEIR, SQuAD or QASPER set.")],
    form: Annotated[Literal["pairs", "triples", "beir", "questions", "squad", "qasper"], typer.Option("--format")],
    config: Config = None,
    name: Annotated[str | None, typer.Option(help="What to call the set; the same name replaces it.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="beir: qrels/SPLIT.tsv; questions: questions.SPLIT.jsonl; else part of a name."),
    ] = None,
    grades: Annotated[
        str, typer.Option(help="Scores to grades: auto, binary, graded, share, largest, or cut points 0.2,0.5,0.9.")
    ] = "auto",
    confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of these labels, instead of imports.confidence.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option(help="Set rows that are no labels aside instead of refusing.")] = False,
    bad_rows: Annotated[Path | None, typer.Option(help="Where to; NAME.bad.jsonl here by default.")] = None,
) -> None:
    """Take existing labels in as judgments of origin `imported`; never what comes near a gold question."""
    from rerankops.pipeline import context, imports

    here = context.load(config)
    called = name or re.sub(r"[^A-Za-z0-9_-]+", "-", path.name.split(".")[0]).strip("-") or "set"
    aside = (bad_rows or Path(f"{called}.bad.jsonl")) if skip_bad or bad_rows else None
    with steps() as tell:
        tell("import labels")
        done = imports.import_labels(
            path,
            form=form,
            name=called,
            split=split,
            grades=grades,
            confidence=confidence,
            bad_file=aside,
            context=here,
        )
    counts = ", ".join(f"{key.replace('_', ' ')} {value:,g}" for key, value in done.counts.items())
    console.print(
        f"imported-{done.name}: {counts}\nGrades: {done.rule}. All judgments: {done.judgments}", soft_wrap=True
    )
    if done.bad_file:
        console.print(f"{done.bad} rows were set aside: {done.bad_file}", soft_wrap=True)
