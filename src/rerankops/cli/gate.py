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
    total = sum(found.questions for found in found.strata.values())
    console.print(f"{total} gold questions, {', '.join(found.metrics)}; {found.basis}", soft_wrap=True)
    console.print(f"A contender that is no better is promoted in {found.false_promotions:.1%} of first looks.")
    for look in found.looks:
        gains = {found.metrics[0]: look.gain, **look.further}
        told = ", ".join(
            f"{'more than 25' if gain is None else f'{100 * gain:g}'} points of {metric}"
            for metric, gain in gains.items()
        )
        console.print(
            f"Look {look.number}, at level {look.level:.2g} on {look.questions} questions: a gain of {told} "
            "is noticed four times in five.",
            soft_wrap=True,
        )
    allowed = here.settings.promotion.max_unnoticed_stratum_loss
    for name, part in found.strata.items():
        loss = "no loss" if part.loss is None else f"a loss of {100 * part.loss:.1f} points"
        told = f"In {name}, {part.questions} questions: {loss} is noticed four times in five"
        if part.loss is None or part.loss > allowed:
            needed = "more than a million" if part.needed is None else f"{part.needed:,}"
            told += f"; {100 * allowed:g} must be, which takes {needed}, or the gate cannot tell about it"
        console.print(f"{told}.", soft_wrap=True)
    for gain, count in found.needed.items():
        told = f"{count:,}" if count else "more than 20 times as many"
        console.print(
            f"To notice {100 * gain:g} points of {found.metrics[0]} at the first look: {told} questions like these."
        )


@gate.command()
def accept(
    stratum: Annotated[str, typer.Argument(help="As the decision names it: a stratum, 'small strata' or refusals.")],
    reason: Annotated[str, typer.Option(help="Why a loss there may go unnoticed; it stands in the decision.")],
    by: Annotated[str | None, typer.Option(help="Your name; it stands there beside your account's.")] = None,
    config: Config = None,
) -> None:
    """Accept by name what the gate cannot tell about with this gold version, decide again about that evaluation, and
    carry the decision out as promotion.approval says."""
    from rerankops.pipeline import acceptance, context, promotion
    from rerankops.pipeline.approval import GATE, PERSON, who_decides
    from rerankops.pipeline.evaluation import read_decision

    here = context.load(config)
    decision = acceptance.accept(stratum, reason, by, context=here)
    decided = read_decision(here, decision)
    console.print(f"{decided.outcome}{f': {decided.system}' if decided.system else ''}", style="bold")
    for told in decided.reasons:
        console.print(f"  · {told}", soft_wrap=True)
    registered = promotion.register(decision, context=here)
    decides = who_decides(registered, context=here)
    if decides == GATE:
        promotion.promote(decision, context=here)
        console.print(f"Version {registered['version']} is champion.")
    elif decides == PERSON:
        told = f"rerankops models promote {registered['version']} --reason …"
        console.print(f"Version {registered['version']} is challenger; promotion.approval asks a person: {told}")
