"""What users did, as judgments and preferences."""

from __future__ import annotations

from typing import Any

import typer
from rich import box
from rich.table import Table

from rerankops.cli.output import Config, console, steps

app = typer.Typer()


@app.command()
def feedback(config: Config = None) -> None:
    """Clicks corrected for position, likes and corrections become judgments and preferences (derive_feedback)."""
    from rerankops.pipeline import context
    from rerankops.pipeline import feedback as steps_of_feedback
    from rerankops.pipeline.judgments import SOURCES

    here = context.load(config)
    judgments = None
    with steps() as tell:
        tell("estimate propensities")
        propensities = steps_of_feedback.estimate_propensities(context=here)
        if propensities is not None:
            tell("derive judgments and preferences")
            judgments = steps_of_feedback.derive_feedback(propensities, context=here)
    if propensities is None:
        console.print("No events were dealt with yet: run collect first.")
        return
    _print_propensities(here.workspace.read_document(propensities))
    if judgments is None:
        console.print("Nothing that users did is a judgment.")
    else:
        for name in (f"{SOURCES}/{steps_of_feedback.SOURCE}", steps_of_feedback.PREFERENCES):
            address = here.workspace.ref(name)
            if address is not None:
                counts = here.workspace.manifest(address).counts
                said = ", ".join(f"{key.replace('_', ' ')} {value:,g}" for key, value in counts.items())
                console.print(f"{address} {said}", soft_wrap=True)


def _print_propensities(document: dict[str, Any]) -> None:
    for estimate in document["estimates"]:
        ranks = [rank for rank in estimate["ranks"] if rank["propensity"] is not None]
        if not ranks:
            continue
        used = ", used" if estimate["method"] == document["used"] else ""
        table = Table(title=f"Propensities, {estimate['method']}{used}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("rank", "propensity", "95 %", "impressions", ""):
            table.add_column(name, justify="right")
        for rank in ranks:
            high = "∞" if rank["high"] is None else f"{rank['high']:.3f}"
            table.add_row(
                str(rank["rank"]),
                f"{rank['propensity']:.3f}",
                f"{rank['low']:.3f}–{high}",
                f"{rank['impressions']:,.0f}",
                "" if rank["usable"] else "too unsure",
            )
        console.print(table)
    console.print(document["words"], soft_wrap=True)
