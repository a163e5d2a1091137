"""Rows from outside that could not be read: stored with their reasons, shown, and read again once they are mended.

References `set-aside/SOURCE`, for the query log, the corpus, each import and each data set, point at the table
(records.SetAside) of what the last reading of that source could not use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa

from rerankops.pipeline.context import Context, log, step
from rerankops.privacy import Redactor
from rerankops.reading import Aside
from rerankops.records import SetAside

SET_ASIDE = "set-aside"
MENDED = "mended"
"""References, one a source: rows that can be read again, until their new values are processed."""
_MOST = 20_000


def keep(context: Context, source: str, aside: Aside, *, complete: bool = True) -> None:
    """Stores what was set aside of a source, without personal data, and logs how much it is. Examples in `aside` lose
    their personal data as well, so that messages may quote them.

    complete: the reading looked at everything. Otherwise earlier rows stay set aside, after the new ones; the oldest
    are dropped when there are too many.
    """
    aside.reword(lambda texts: _without_personal_data(context, texts))
    for item in aside.left_out:
        log.info("%s: not read: %s", source, item)
    if aside.kept:
        log.warning(
            "%s: %d of %d rows and %d of %d files were set aside: %s (rerankops set-aside %s)",
            source, aside.count, aside.read, aside.files_unusable, aside.files, aside.words(), source,
        )  # fmt: skip
    rows = [
        {
            "file": item.place.file,
            "line": item.place.line,
            "row": item.place.row,
            "place": str(item.place),
            "kind": item.kind,
            "reason": item.reason,
            "content": item.content,
        }
        for item in aside.kept
    ]
    workspace, name = context.workspace, f"{SET_ASIDE}/{source}"
    before = workspace.ref(name)
    if before is None and not rows:
        return
    table = SetAside.table(rows)
    if before is not None:
        earlier = workspace.read(before, SetAside)
        if complete:
            _remember_mended(context, source, earlier, {str(item.place) for item in aside.kept})
        else:
            table = _distinct(pa.concat_tables([table, earlier]))
    counts = {**aside.counts(), "files": aside.files, "read": aside.read}
    workspace.point(name, workspace.publish(SetAside, table, step="set_aside", counts=counts))


@contextmanager
def reading_of(context: Context, source: str) -> Iterator[Aside | None]:
    """Collects the rows of a source that cannot be read. With reading.skip_bad they are kept and counted; raises
    InputError when more than quality.max_unusable_share of them are unusable. Without it yields None, and the first
    such row is refused."""
    settings = context.settings
    if not settings.reading.skip_bad:
        yield None
        return
    aside = Aside()
    yield aside
    keep(context, source, aside)
    aside.check(settings.quality.max_unusable_share, what=source, setting="quality.max_unusable_share")


def set_aside_before(context: Context, source: str) -> dict[str, set[tuple[int | None, int | None]]]:
    """For each file, the places that are set aside, or were until their new values are processed; (None, None) is the
    whole file."""
    places: dict[str, set[tuple[int | None, int | None]]] = defaultdict(set)
    for kind in (SET_ASIDE, MENDED):
        address = context.workspace.ref(f"{kind}/{source}")
        if address is None:
            continue
        table = context.workspace.read(address, SetAside)
        for file, line, row in zip(*(table[name].to_pylist() for name in ("file", "line", "row")), strict=True):
            places[file].add((line, row))
    return dict(places)


def forget_mended(context: Context, source: str) -> None:
    """Empties the list of a source's mended rows: their new values are processed."""
    workspace, name = context.workspace, f"{MENDED}/{source}"
    if workspace.ref(name) is not None:
        workspace.point(name, workspace.publish(SetAside, SetAside.empty(), step="set_aside"))


@step
def sources(context: Context) -> list[str]:
    """The sources that ever had anything set aside."""
    return [name.removeprefix(f"{SET_ASIDE}/") for name in context.workspace.refs(SET_ASIDE)]


@step
def stands_aside(context: Context, source: str) -> pa.Table:
    """records.SetAside of a source: what its last reading could not use."""
    address = context.workspace.require(f"{SET_ASIDE}/{source}", "nothing of that source was ever set aside")
    return context.workspace.read(address, SetAside)


def _remember_mended(context: Context, source: str, earlier: pa.Table, standing: set[str]) -> None:
    """A pull whose batch is not sent does not count: until one is, the rows that it mended are read again."""
    gone = earlier.filter(pa.array([place not in standing for place in earlier["place"].to_pylist()], pa.bool_()))
    if gone.num_rows:
        workspace, name = context.workspace, f"{MENDED}/{source}"
        before = workspace.ref(name)
        parts = [gone] + ([workspace.read(before, SetAside)] if before else [])
        workspace.point(name, workspace.publish(SetAside, _distinct(pa.concat_tables(parts)), step="set_aside"))


def _distinct(table: pa.Table) -> pa.Table:
    return pl.DataFrame(pl.from_arrow(table)).unique(maintain_order=True, keep="first").head(_MOST).to_arrow()


def _without_personal_data(context: Context, texts: list[str]) -> list[str]:
    return Redactor(context.settings.queries).texts(texts)
