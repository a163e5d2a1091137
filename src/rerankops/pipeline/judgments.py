"""All judgments there are, whoever they come from: people, imported sets, production feedback, a teacher."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from rerankops.annotation.adjudication import merge
from rerankops.pipeline.context import Context
from rerankops.records import Judgment
from rerankops.workspace import Address

JUDGMENTS = "judgments"
"""Reference: all judgments there are."""
SOURCES = "judgments-of"
"""References: the judgments of one source, such as human, feedback, teacher, or an imported set's name."""
WITHHELD = "withheld"
"""Reference: the queries whose judgments are not trained on, because a gold question came near them later."""


def take_in(context: Context, source: str, judgments: Address) -> Address:
    """Makes `judgments` what a source says from now on, and points `judgments` at those of all sources together.

    Returns that address. The same judgments of the same sources give the same address.
    """
    context.workspace.point(f"{SOURCES}/{source}", judgments)
    return _join(context)


def withhold(context: Context, query_ids: Sequence[str], *, because: Address) -> None:
    """Leaves all judgments of these queries out of `judgments` from now on, whatever source they are from; the
    sources keep them. because: what made them unfit, such as a gold set with nearly the same questions."""
    workspace = context.workspace
    earlier = workspace.ref(WITHHELD)
    known = set(workspace.read_document(earlier)["query_ids"]) if earlier else set()
    if not set(query_ids) <= known:
        stored = workspace.publish_document(
            "withheld",
            {"query_ids": sorted(known | set(query_ids))},
            step="withhold",
            inputs=[because, *([earlier] if earlier else [])],
            settings={"query_ids": sorted(query_ids)},
        )
        workspace.point(WITHHELD, stored)
    if workspace.refs(SOURCES):
        _join(context)


def _join(context: Context) -> Address:
    workspace = context.workspace
    sources = sorted({workspace.require(name, "") for name in workspace.refs(SOURCES)})
    withheld = workspace.ref(WITHHELD)

    def make() -> tuple[pa.Table, dict[str, float]]:
        table = Judgment.empty()
        for address in sources:
            table = merge(table, workspace.read(address, Judgment))
        counts: dict[str, float] = {}
        if withheld:
            unfit = pc.is_in(table["query_id"], pa.array(workspace.read_document(withheld)["query_ids"], pa.string()))
            kept = table.filter(pc.invert(unfit))
            counts["withheld"] = table.num_rows - kept.num_rows
            table = kept
        origins = table["origin"].to_pylist()
        counts |= {name: origins.count(name) for name in sorted(set(origins))}
        return table, {"judgments": table.num_rows} | counts

    address = sources[0]
    if len(sources) > 1 or withheld:
        inputs = [*sources, *([withheld] if withheld else [])]
        address = context.table(Judgment, make, step="merge_judgments", inputs=inputs)
    workspace.point(JUDGMENTS, address)
    return address
