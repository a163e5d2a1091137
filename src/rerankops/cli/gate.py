"""What the gate can tell."""

from __future__ import annotations

from typing import Annotated

import typer

from rerankops.cli.looks import in_words, looks
from rerankops.cli.output import Config, console, steps

app = typer.Typer()
gate = typer.Typer(no_args_is_help=True, help="The gate between challengers and production.")
app.add_typer(gate, name="gate")
gate.command()(looks)


@gate.command()
def power(
    right: Annotated[float | None, typer.Option(min=0, max=1, help="Assumed share of right answers.")] = None,
    discordant: Annotated[
        float | None, typer.Option(min=0, max=1, help="Assumed share of questions on which two equal systems differ.")
    ] = None,
    runs: Annotated[int, typer.Option(min=50, help="Simulated decisions for each number.")] = 200,
    config: Config = None,
) -> None:
    """What would the gate notice with these gold questions, and how many would it take? By simulating its decisions."""
    from rerankops.pipeline import context
    from rerankops.pipeline import power as steps_of_power
    from rerankops.pipeline.gold_budget import gold_budget

    here = context.load(config)
    for line in in_words(gold_budget(context=here)):
        console.print(line, soft_wrap=True)
    with steps() as tell:
        found = steps_of_power.power(here, right=right, discordant=discordant, runs=runs, tell=tell)
    metric = here.settings.promotion.primary_metric
    questions = ", ".join(f"{name} {count}" for name, count in found.strata.items())
    console.print(f"{sum(found.strata.values())} gold questions ({questions}), {metric}; {found.basis}", soft_wrap=True)
    console.print(f"A contender that is no better is promoted in {found.false_promotions:.1%} of decisions.")
    if found.gain is None:
        console.print("Not even a gain of 25 points is noticed four times in five.")
    else:
        console.print(f"A gain of [bold]{100 * found.gain:g} points[/] is noticed four times in five.")
    for name, loss in found.losses.items():
        told = "more than 25" if loss is None else f"{100 * loss:g}"
        console.print(f"Beside that gain, a loss of {told} points in {name} is stopped four times in five.")
    for gain, count in found.needed.items():
        told = f"{count:,}" if count else "more than 20 times as many"
        console.print(f"To notice {100 * gain:g} points: {told} questions like these.")
