"""The quarantine by hand: what is in it and why, and what a person decides about it (review_quarantine)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from rerankops.cli.output import Config, console

if TYPE_CHECKING:
    from rerankops.annotation.quarantine_page import Entry
    from rerankops.pipeline.context import Context

app = typer.Typer(name="quarantine", no_args_is_help=True, help="Deliveries that were not accepted, and what to do.")

Which = Annotated[str, typer.Argument(metavar="ID", help="The first characters of the delivery's id, as list shows.")]
By = Annotated[str, typer.Option("--by", help="Your name; kept with the decision, beside your account's.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the decision.")]
Overrule = Annotated[
    bool, typer.Option("--overrule", help="Also against an earlier decision, or for a delivery that was superseded.")
]


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also those that were decided or superseded.")] = False,
    config: Config = None,
) -> None:
    """What waits for a decision, and where the page about it is."""
    from rerankops.pipeline import context, quarantine

    here = context.load(config)
    entries = quarantine.quarantined(context=here)
    shown = [entry for entry in entries if every or entry.status == "waiting"]
    if shown:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("id", "delivery", "quarantined", "status", "first reason"):
            table.add_column(name, no_wrap=name in {"id", "quarantined"}, overflow="fold")
        for entry in shown:
            reason = entry.reasons[0] if entry.reasons else ""
            more = f" (and {len(entry.reasons) - 1} more)" if len(entry.reasons) > 1 else ""
            table.add_row(entry.short, entry.source, _minute(entry), _status(entry), reason + more)
        console.print(table)
    else:
        console.print("Nothing waits for a decision.")
    closed = len(entries) - len(shown)
    if closed and not every:
        console.print(f"{closed} decided or superseded: --all", style="dim")
    _print_page(here)


@app.command()
def show(which: Which, config: Config = None) -> None:
    """Everything about one delivery: reasons, what else was noticed, figures, links."""
    from rerankops.pipeline import context, quarantine

    here = context.load(config)
    entry = quarantine.find(which, context=here)
    console.print(f"{entry.short} {entry.source}: {_status(entry)}", soft_wrap=True)
    console.print(f"batch {entry.batch_id}, quarantined {_minute(entry)} UTC")
    if entry.decided_because:
        console.print(f"because: {entry.decided_because}", soft_wrap=True)
    for title, listed in (("Reasons", entry.reasons), ("Also noticed", entry.noticed)):
        if listed:
            console.print(title, style="bold")
            for words in listed:
                console.print(f"  · {words}", soft_wrap=True)
    if entry.metrics:
        figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in entry.metrics.items())
        console.print(f"Measured {figures}", soft_wrap=True)
    for name, address in quarantine.links(entry.verdict, context=here).items():
        console.print(f"{name}: {address}", soft_wrap=True, highlight=False)
    for artefact in (entry.delivery, entry.verdict, entry.decision):
        if artefact:
            console.print(artefact, style="dim", soft_wrap=True)


@app.command()
def release(which: Which, by: By, reason: Reason, overrule: Overrule = False, config: Config = None) -> None:
    """Let the usable rows of a delivery count. The next `rerankops ingest` adjudicates them."""
    _decide(which, "release", by, reason, overrule, config)


@app.command()
def reject(which: Which, by: By, reason: Reason, overrule: Overrule = False, config: Config = None) -> None:
    """Close a delivery: it stays stored, and nothing of it counts."""
    _decide(which, "reject", by, reason, overrule, config)


def _decide(which: str, decision: str, by: str, reason: str, overrule: bool, config: str | None) -> None:
    from rerankops.pipeline import context, quarantine
    from rerankops.pipeline.models import signed

    here = context.load(config)
    done = quarantine.review_delivery(which, decision, signed(by), reason, overrule, context=here)
    said = {"release": "released", "reject": "rejected"}[decision]
    console.print(f"{done['source']} {'is' if done['changed'] else 'was already'} {said}: {done['record']}")
    if done["annotations"]:
        rows = here.workspace.manifest(done["annotations"]).rows
        console.print(f"{rows:,} annotations of it count: {done['annotations']}. Next: rerankops ingest")
    _print_page(here)


def _minute(entry: Entry) -> str:
    return entry.when[:16].replace("T", " ")


def _status(entry: Entry) -> str:
    decided = f" by {entry.decided_by}" if entry.decided_by else ""
    later = f", superseded by {entry.superseded_by}" if entry.superseded_by else ""
    return f"superseded by {entry.superseded_by}" if entry.status == "superseded" else f"{entry.status}{decided}{later}"


def _print_page(here: Context) -> None:
    from rerankops.pipeline import quarantine

    console.print(f"Page: {quarantine.page(context=here)}", soft_wrap=True)
