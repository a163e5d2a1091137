"""Rows that could not be read, by hand: `rerankops set-aside`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rerankops.cli.output import Config, console

if TYPE_CHECKING:
    from rerankops.pipeline.context import Context

app = typer.Typer()


@app.command("set-aside")
def set_aside(
    source: Annotated[
        str | None, typer.Argument(help="query_log, corpus, or what the list shows; without it, all sources.")
    ] = None,
    config: Config = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
) -> None:
    """What the last reading of each source could not use, with the reason of each row. Mend it and read again."""
    from rerankops.pipeline import context
    from rerankops.pipeline import set_aside as steps

    here = context.load(config)
    for name in [source] if source else steps.sources(context=here):
        table = steps.stands_aside(name, context=here)
        console.print(f"{name}: {table.num_rows} set aside")
        for row in table.slice(0, limit).to_pylist():
            console.print(f"  {row['place']}: {row['reason']}", soft_wrap=True)
            if row["content"].strip():
                console.print(f"    {' '.join(row['content'].split())[:200]}", style="dim", soft_wrap=True)
        if table.num_rows > limit:
            console.print(f"  and {table.num_rows - limit} more: --limit")


def tell(here: Context, *names: str) -> None:
    """Says of each of the sources how much of it is set aside, where anything is."""
    from rerankops.pipeline import set_aside as steps

    known = steps.sources(context=here)
    for name in names:
        if name in known and (count := steps.stands_aside(name, context=here).num_rows):
            console.print(f"{name}: {count} set aside; rerankops set-aside {name} says why", soft_wrap=True)
