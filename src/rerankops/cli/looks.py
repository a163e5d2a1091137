"""The looks at the gold questions in force, and what is left of their budget."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from rerankops.cli.output import Config, console
from rerankops.plain import as_json

if TYPE_CHECKING:
    from rerankops.pipeline.gold_budget import GoldBudget


def looks(
    data: Annotated[bool, typer.Option("--json", help="Print data instead.")] = False, config: Config = None
) -> None:
    """Every look at the gold questions in force, what it spent, what is left and what new questions would buy."""
    from rerankops.pipeline import context, due, gold_budget
    from rerankops.pipeline.judgments import JUDGMENTS

    here = context.load(config)
    found = gold_budget.gold_budget(context=here)
    if data:
        print(as_json(asdict(found), indent=1))
        return
    if found.made:
        console.print(_table(found))
    for line in in_words(found):
        console.print(line, soft_wrap=True)
    if here.workspace.ref(JUDGMENTS):
        console.print(f"Retraining: {due.retraining_due(context=here).words}.", soft_wrap=True)


def in_words(found: GoldBudget) -> list[str]:
    """What is left, in sentences."""
    lines = [
        f"{found.questions:,} gold questions ({found.gold}). The next decision rests on the {found.unseen:,} that no "
        f"report has shown; its report holds back {found.held_back:,} for later ones.",
        f"The next look is made at {found.level:.3g}, half of what is left of {found.alpha:g} (promotion.alpha): "
        f"{found.spent:.3g} was spent on these questions.",
    ]
    if not found.unseen:
        lines[1] = "A report has shown the results of every question: nothing can be decided until there are new ones."
    lines += [f"With {count:,} new questions it would be made at {level:.3g}." for level, count in found.bought.items()]
    return lines


def _table(found: GoldBudget) -> Table:
    table = Table(title="Looks at gold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("look", justify="right", no_wrap=True)
    table.add_column("when", no_wrap=True)
    table.add_column("evaluation", no_wrap=True)
    for name in ("level", "of today's", "spent on them"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found.made:
        table.add_row(
            str(each.number) if each.number else "before",
            each.at[:16].replace("T", " "),
            each.evaluation if each.finished else f"{each.evaluation} (not finished)",
            f"{each.level:.3g}",
            f"{each.overlap:.0%}",
            f"{each.cost:.3g}",
        )
    return table
