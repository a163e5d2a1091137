"""Looking at the index that is served, and looking after it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from rerankops.cli.output import Config, console
from rerankops.errors import SettingsError

app = typer.Typer()


@app.command()
def search(
    text: str,
    where: Annotated[list[str] | None, typer.Option(help="Only passages with this metadata: KEY=VALUE.")] = None,
    config: Config = None,
) -> None:
    """Candidates of a query on the index that is served, as the rest of the workflow sees them."""
    from rerankops.pipeline import context
    from rerankops.pipeline.index import look_up

    found = look_up(context.load(config), text, _filter(where or []))
    if not found:
        console.print("No passage matches." if not where else "No passage with this metadata matches.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("rank", "passage", "BM25", "dense", "text"):
        table.add_column(name, justify="left" if name in {"passage", "text"} else "right", no_wrap=name != "text")
    for row in found:
        ranks = [str(row[leg] or "–") for leg in ("bm25_rank", "dense_rank")]
        table.add_row(str(row["rank"]), row["passage_id"], *ranks, row["title"] or row["text"][:60])
    console.print(table)


def _filter(pairs: list[str]) -> dict[str, list[str]]:
    """KEY=VALUE texts; a key given twice may have either value."""
    wanted: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SettingsError(f"--where is {pair!r}, expected KEY=VALUE such as model=X3")
        wanted.setdefault(key, []).append(value)
    return wanted


index = typer.Typer(no_args_is_help=True, help="Looking after the index that is served.")
app.add_typer(index, name="index")


@index.command()
def tune(
    recall: Annotated[float, typer.Option(min=0.5, max=1.0, help="HNSW recall against exact search to reach.")] = 0.98,
    config: Config = None,
) -> None:
    """Find the smallest retrieval.hnsw_ef_search (Elasticsearch's num_candidates) that reaches a recall."""
    from rerankops.pipeline import context
    from rerankops.pipeline.index import served_index, tune_index

    here = context.load(config)
    k = here.settings.retrieval.dense_k
    found = tune_index(
        here,
        served_index(here),
        recall,
        lambda value, measured: console.print(f"retrieval.hnsw_ef_search {value}: recall@{k} {measured:.4f}"),
    )
    if found is None:
        raise SettingsError(
            f"no retrieval.hnsw_ef_search reaches recall {recall}: build the index with a larger hnsw_m or "
            "hnsw_ef_construction, or without quantisation (retrieval.vector_index hnsw)"
        )
    console.print(f"Set retrieval.hnsw_ef_search to {found}.")
