"""Letting a language model grade what nobody judged, if it grades as people do."""

from __future__ import annotations

from typing import Any

import typer
from rich import box
from rich.table import Table

from rerankops.cli.output import Config, console, print_missing, steps

app = typer.Typer()


@app.command()
def teach(config: Config = None) -> None:
    """Measure the language model of llm.url against people; if it is trusted, use its grades (teacher_grades)."""
    from rerankops.pipeline import context, teacher

    here = context.load(config)
    with steps() as tell:
        done = teacher.run(here, tell)
    _print(here, done)


def _print(here: Any, done: Any) -> None:
    trust, workspace = done.trust, here.workspace
    table = Table(title=f"{trust['model']} and people", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("pairs", "graded", "controls", "kappa", "95 %", "within one", "95 %", "exact"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(
        *(str(trust[name]) for name in ("asked", "graded", "controls")),
        _number(trust["kappa"]),
        _interval(trust["kappa_interval"]),
        _number(trust["within_one"]),
        _interval(trust["within_one_interval"]),
        _number(trust["exact"]),
    )
    console.print(table)
    console.print("Trusted" if trust["trusted"] else "Not trusted: its labels are not used", style="bold")
    for reason in trust["objections"]:
        console.print(f"  · {reason}", soft_wrap=True)
    for spent, name in zip(done.spent, ("measuring", "teaching"), strict=False):
        console.print(f"{name}: {spent.words}; {spent.cached} answers were there already")
        print_missing("no grade", spent.problems, spent.examples)
    if done.labels:
        counts = ", ".join(f"{k.replace('_', ' ')} {v:,g}" for k, v in workspace.manifest(done.labels).counts.items())
        console.print(f"grades: {counts}")
    for what, address in (("measurement", done.trust_address), ("grades", done.labels), ("judgments", done.judgments)):
        if address:
            console.print(f"{what}: {workspace.place(address)}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(value: list[float] | None) -> str:
    return "–" if value is None else f"{value[0]:.2f}–{value[1]:.2f}"
