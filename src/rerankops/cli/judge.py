"""The judge of answers, measured against people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from rerankops.cli import set_aside
from rerankops.cli.output import Config, SkipBad, console, print_missing, steps

app = typer.Typer()
judge = typer.Typer(no_args_is_help=True, help="The judge that tells right answers from wrong ones.")
app.add_typer(judge, name="judge")


@judge.callback()
def _group() -> None:
    """Makes `check` a command of its own although it is the only one."""


@judge.command()
def check(
    sample: Annotated[
        Path,
        typer.Option(help="Answers that people judged, a table: question, accepted_answers, answer, correct."),
    ],
    config: Config = None,
    skip_bad: SkipBad = False,
) -> None:
    """Measure how far the judge agrees with people; evaluations look the newest measurement up."""
    from rerankops.pipeline import context
    from rerankops.pipeline import judge as work

    here = context.load(config, overrides={"reading": {"skip_bad": skip_bad}} if skip_bad else {})
    with steps() as tell:
        tell("judge the sample")
        done = work.check_judge(sample, context=here)
    _print(done.document)
    set_aside.tell(here, work.SAMPLE)
    console.print(f"{done.spent}\nmeasurement: {here.workspace.place(done.address)}", soft_wrap=True)


def _print(found: dict[str, Any]) -> None:
    name = (found["judge"].get("llm") or {}).get("model") or found["judge"]["kind"]
    table = Table(title=f"{name} and people", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("answers", "judged", "agreement", "95 %", "kappa", "95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row(
        str(found["n"]),
        str(found["judged"]),
        _number(found["agreement"]),
        _interval(found["agreement_interval"]),
        _number(found["kappa"]),
        _interval(found["kappa_interval"]),
    )
    console.print(table)
    confusion = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("people say", "judge: right", "wrong", "no verdict"):
        confusion.add_column(column, justify="right" if column != "people say" else "left")
    for truth, said in found["confusion"].items():
        confusion.add_row(truth, *(str(said[column]) for column in ("right", "wrong", "none")))
    console.print(confusion)
    for by, part in found["by"].items():
        console.print(
            f"  · by {by}: {part['n']:g} answers, agreement {part['agreement']:.2f} "
            f"({_interval(part['interval'])}), {part['false_right']:g} wrongly "
            f"right, {part['false_wrong']:g} wrongly wrong",
            soft_wrap=True,
        )
    print_missing("no verdict", found["problems"], found["examples"])
    if found["disagreements"]:
        console.print(f"  · apart on rows {', '.join(map(str, found['disagreements']))}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(value: list[float] | None) -> str:
    return "–" if value is None else f"{value[0]:.2f}–{value[1]:.2f}"
