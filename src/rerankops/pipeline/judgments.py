"""All judgments there are, whoever they come from: people, imported sets, production feedback, a teacher."""

from __future__ import annotations

import pyarrow as pa

from rerankops.annotation.adjudication import merge
from rerankops.pipeline.context import Context
from rerankops.records import Judgment
from rerankops.workspace import Address

JUDGMENTS = "judgments"
"""Reference: all judgments there are."""
SOURCES = "judgments-of"
"""References: the judgments of one source, such as human, feedback, teacher, or an imported set's name."""


def take_in(context: Context, source: str, judgments: Address) -> Address:
    """Makes `judgments` what a source says from now on, and points `judgments` at those of all sources together.

    Returns that address. The same judgments of the same sources give the same address.
    """
    workspace = context.workspace
    workspace.point(f"{SOURCES}/{source}", judgments)
    sources = sorted({workspace.require(name, "") for name in workspace.refs(SOURCES)})

    def make() -> tuple[pa.Table, dict[str, float]]:
        table = Judgment.empty()
        for address in sources:
            table = merge(table, workspace.read(address, Judgment))
        origins = table["origin"].to_pylist()
        return table, {"judgments": table.num_rows} | {name: origins.count(name) for name in sorted(set(origins))}

    address = sources[0] if len(sources) == 1 else context.table(Judgment, make, step="merge_judgments", inputs=sources)
    workspace.point(JUDGMENTS, address)
    return address
