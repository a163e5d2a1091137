"""Erasure, by hand: `rerankops forget`."""

from __future__ import annotations

from typing import Annotated

import typer

from rerankops.cli.output import Config, console

app = typer.Typer()


@app.command()
def forget(
    text: Annotated[str | None, typer.Option(help="A query, as stored or as typed; spelling aside.")] = None,
    identifier: Annotated[str | None, typer.Option(help="Of an event, a task, an annotator.")] = None,
    group: Annotated[str | None, typer.Option(help="A segment of users (user_group).")] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, help="Days: events and queries that were last seen before, and kept answers.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without it, only show what would be.")] = False,
    config: Config = None,
) -> None:
    """Shows, and with --yes removes, what the workspace holds about a query, an identifier, a group or a time."""
    from rerankops.pipeline import context, forgetting

    here = context.load(config)
    before = None if older_than is None else forgetting.before(older_than)
    wish = forgetting.Wish(text=text, identifier=identifier, group=group, before=before)
    found = (forgetting.forget if yes else forgetting.look)(wish, context=here)
    done = "removed" if yes else "to be removed"
    for address, number in found.rows.items():
        console.print(f"{number} rows of {address} {done}", soft_wrap=True)
    if found.answers:
        console.print(f"{len(found.answers)} kept answers of language models {done}")
    for address, words in found.remains.items():
        console.print(f"{address} stays: {words}", soft_wrap=True)
    if not found.rows and not found.answers and not found.remains:
        console.print("Nothing in the workspace holds it.")
    elif not yes and (found.rows or found.answers):
        console.print("Nothing was changed; --yes removes it.")
    if yes or found.rows:
        console.print("Models that were trained before know what they know: retrain, and roll back to none of them.")
