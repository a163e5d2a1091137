"""Registered versions by hand: what there is, what it came from, which one serves."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from rerankops.cli.output import Config, console
from rerankops.plain import as_json

app = typer.Typer()
models = typer.Typer(no_args_is_help=True, help="Registered versions: list, show, compare, promote, roll back, retire.")
app.add_typer(models, name="models")

Reason = Annotated[str, typer.Option(help="Why; kept with the model.")]
Json = Annotated[bool, typer.Option("--json", help="Print data instead.")]
Which = Annotated[str, typer.Argument(help="A version's number, or champion, previous, challenger.")]

_COLOURS = {"passed": "green", "refused": "red", "rejected": "red"}


@models.command("list")
def list_(data: Json = False, config: Config = None) -> None:
    """Every version, and which one serves."""
    from rerankops.pipeline import context
    from rerankops.pipeline import models as steps

    found = steps.listing(context=context.load(config))
    if data:
        return _data(found)
    if not found["versions"]:
        console.print("No version is registered." if found["problems"] else "No version is registered yet.")
    else:
        table = Table(title=f"Versions of {found['model']}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("version", "serves as", "gate", "system"):
            table.add_column(name, no_wrap=True)
        for name in ("accuracy", "Hit@1", "MRR@10", "ms"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("registered", no_wrap=True)
        for row in reversed(found["versions"]):
            measured = row["measured"]
            table.add_row(
                row["version"],
                ", ".join(row["aliases"]),
                Text(row["state"], _COLOURS[row["state"]]),
                row["system"] or "–",
                _shown(measured.get("accuracy"), ".1%"),
                _shown(measured.get("hit@1"), ".1%"),
                _shown(measured.get("mrr@10"), ".3f"),
                _shown(measured.get("milliseconds_per_query"), ".1f"),
                row["created_at"][:16].replace("T", " "),
            )
        console.print(table)
    for problem in found["problems"]:
        console.print(problem, style="yellow", soft_wrap=True)


@models.command()
def show(version: Which, data: Json = False, config: Config = None) -> None:
    """One version: what the gate said, what it came from, who moved it."""
    from rerankops.pipeline import context
    from rerankops.pipeline import models as steps

    found = steps.description(version, context=context.load(config))
    if data:
        return _data(found)
    serves = f", {', '.join(found['aliases'])}" if found["aliases"] else ""
    console.print(f"Version {found['version']} of {found['model']}{serves}: {found['state']}", style="bold")
    for reason in found["reasons"]:
        console.print(f"  · {reason}", soft_wrap=True)
    for rule in found["rules"]:
        mark = ("✓", "green") if rule["passed"] else ("✗", "red")
        console.print(Text.assemble("  ", mark, f" {rule['words']}"), soft_wrap=True)
    lines = {
        "registered": found["created_at"],
        "decision": found["decision"],
        "ranker": found["ranker"],
        "encoder": found["encoder"],
        "retrieval": found["retrieval"],
        **found["from"],
        "MLflow run": found["run_id"],
        "loads as": f'mlflow.pyfunc.load_model("{found["uri"]}")',
    }
    for name, value in lines.items():
        console.print(f"{name:>12}  {value or '–'}", soft_wrap=True)
    _print_moves(found["moves"])


@models.command()
def audit(data: Json = False, config: Config = None) -> None:
    """Who or what moved the champion, when and why."""
    from rerankops.pipeline import context
    from rerankops.pipeline import models as steps

    moves = steps.audit(context=context.load(config))
    if data:
        return _data(moves)
    if not moves:
        console.print("No champion was ever made.")
    _print_moves(moves)


@models.command()
def promote(
    version: Which,
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Although the gate, or a person, said no.")] = False,
    expect: Annotated[
        str | None, typer.Option(help="Version that is to be replaced; refused when another one serves.")
    ] = None,
    data: Json = False,
    config: Config = None,
) -> None:
    """Make a version champion by hand. One that did not pass the gate needs --force, and the audit says so."""
    from rerankops.pipeline import context
    from rerankops.pipeline import models as steps

    done = steps.promote_by_hand(version, reason, force=force, expected_champion=expect, context=context.load(config))
    if data:
        return _data(done)
    forced = ", against the gate" if done["forced"] else ""
    before = f" instead of {done['before']}" if done["before"] else ""
    console.print(f"Champion is version {done['version']}{before}{forced}.")


@models.command()
def rollback(
    reason: Reason,
    to: Annotated[str | None, typer.Option(help="An earlier champion; the one before when not given.")] = None,
    expect: Annotated[
        str | None, typer.Option(help="Version that is to be replaced; refused when another one serves.")
    ] = None,
    data: Json = False,
    config: Config = None,
) -> None:
    """Make the previous champion champion again."""
    from rerankops.pipeline import context
    from rerankops.pipeline import models as steps

    done = steps.roll_back(reason, to=to, expected_champion=expect, context=context.load(config))
    if data:
        return _data(done)
    console.print(f"Champion is version {done['version']} again.")


@models.command()
def retire(reason: Reason, data: Json = False, config: Config = None) -> None:
    """Go on without a champion whose version was deleted in MLflow, in retrieval's order."""
    from rerankops.pipeline import context
    from rerankops.pipeline import models as steps

    done = steps.retire(reason, context=context.load(config))
    if data:
        return _data(done)
    console.print(f"Version {done['version']} is champion no more; there is none until another one is promoted.")


@models.command()
def compare(first: Which, second: Which, data: Json = False, config: Config = None) -> None:
    """Two versions side by side and, where they answered the same gold questions, how sure the difference is."""
    from rerankops.pipeline import context
    from rerankops.pipeline import model_comparison as steps

    found = steps.comparison(first, second, context=context.load(config))
    if data:
        return _data(found)
    one, two = found["first"], found["second"]
    table = Table(title="Each in its own decision", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("metric", no_wrap=True)
    for side in (one, two):
        table.add_column(f"version {side['version']}", justify="right", no_wrap=True)
    for row in found["metrics"]:
        table.add_row(row["metric"], _shown(row["first"], ".4g"), _shown(row["second"], ".4g"))
    console.print(table)
    if found["paired"]:
        table = Table(
            title=f"Version {two['version']} minus version {one['version']}, question by question",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        table.add_column("metric", no_wrap=True)
        for name in ("difference", "95 %", "p", "questions"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in found["paired"]["differences"]:
            low, high = row["interval"]
            stratum = f", {row['stratum']}" if row["stratum"] else ""
            table.add_row(
                f"{row['metric']}{stratum}",
                f"{row['difference']:+.4f}",
                f"{low:+.4f} to {high:+.4f}",
                f"{row['p_value']:.4f}",
                f"{row['n']:,}",
            )
        console.print(table)
        console.print(f"Measured {found['paired']['basis']}.", soft_wrap=True)
    else:
        console.print(f"They cannot be compared question by question: {found['why_not']}.", soft_wrap=True)
    for note in found["notes"]:
        console.print(f"Note: {note}.", soft_wrap=True)


def _print_moves(moves: list[dict[str, Any]]) -> None:
    for move in moves:
        forced = " by force" if move["forced"] else ""
        to = f"version {move['version']}" if move["version"] else "none"
        console.print(
            f"{move['at'][:19].replace('T', ' ')}  {move['action']}{forced} {to} "
            f"(champion {move['before'] or 'none'} → {move['champion'] or 'none'}) by {move['actor']}: "
            f"{move['reason']}",
            soft_wrap=True,
        )


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _data(found: Any) -> None:
    print(as_json(found, indent=1))
