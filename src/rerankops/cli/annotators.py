"""The people who label: how each of them does, and what goes to adjudicators."""

from __future__ import annotations

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from rerankops.cli.output import Config, console

app = typer.Typer()

_COLOURS = {"careless": "red", "watch": "yellow", "fine": "green", "unknown": "dim"}


@app.command()
def annotators(config: Config = None) -> None:
    """Scorecards of everyone who labelled: controls, agreement, bias, speed, verdict; and the page with more."""
    from rerankops.pipeline import adjudication, context

    here = context.load(config)
    page = adjudication.scorecards(context=here)
    if page is None:
        console.print("Nothing was accepted yet.")
        return
    table = Table(title="Annotators", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("annotator", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for name in ("tasks", "controls", "95 %", "equal", "kappa", "others", "bias", "seconds", "set aside"):
        table.add_column(name, justify="right", no_wrap=True)
    for card in adjudication.scorecard_table(here).to_pylist():
        controls = card["control_accuracy"]
        table.add_row(
            card["annotator_id"],
            Text(card["verdict"], _COLOURS[card["verdict"]]),
            f"{card['tasks']:,}",
            "–" if controls is None else f"{controls:.0%} of {card['controls']:,}",
            "–" if controls is None else f"{card['control_low']:.0%}–{card['control_high']:.0%}",
            _shown(card["agreement"], ".0%"),
            _shown(card["kappa"], ".2f"),
            _shown(card["kappa_with_others"], ".2f"),
            _shown(card["bias"], "+.2f"),
            _shown(card["seconds"], ".1f"),
            f"{card['set_aside']:.1%}",
        )
    console.print(table)
    console.print(f"Page: {page}", soft_wrap=True)


@app.command()
def adjudicate(config: Config = None) -> None:
    """Send what people differ on too much to adjudicators; their answers come back as any delivery (ingest)."""
    from rerankops.pipeline import adjudication, context

    here = context.load(config)
    batch = adjudication.make_adjudication_batch(context=here)
    if batch is None:
        console.print("Nothing is contested that is not already with an adjudicator.")
        return
    place = adjudication.send_adjudication_batch(batch, context=here)
    console.print(f"{here.workspace.manifest(batch).rows} contested pair(s) are in {place}", soft_wrap=True)


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
