"""Erasure: what the workspace holds about a query, an identifier, a user or a time is found, shown and removed.

Artefacts are immutable but for this. Rows go out of the stored tables, each of which keeps its address, its lineage and
the count of what was forgotten; what was derived from it is looked through on its own, so that nothing has to be made
again and no lineage breaks. See docs/privacy.md.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from rerankops import records
from rerankops.errors import InputError
from rerankops.pipeline.answers import FOLDER as ANSWERS
from rerankops.pipeline.context import Context, log, step
from rerankops.queries.normalise import normalised
from rerankops.records import Record
from rerankops.workspace import Address

KEPT = ("gold_questions", "gold_drafts", "gold_answers", "gold_entries", "passages", "question_outcomes")
"""Tables that are kept whole: the gate rests on gold questions, which are retired by name; the corpus has an owner."""
_KEPT_WHY = "gold questions are retired by rerankops gold, the corpus is changed where it comes from"
_RECORDS = {found.name: found for found in vars(records).values() if isinstance(found, Record)}
_TIMES = {"query_events": "issued_at", "queries": "last_seen", "selected_queries": "last_seen"}
_FILE = "data.parquet"
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Wish:
    """What is to be forgotten: rows that meet any one of these.

    text: a query, however it is spelled. identifier: of an event, a task, an annotator, whatever column it stands in.
    group: a segment of users. before: events and queries last seen before that moment.
    """

    text: str | None = None
    identifier: str | None = None
    group: str | None = None
    before: datetime | None = None


@dataclass(frozen=True)
class Found:
    """What holds it. rows: of each table that rows are removed from. answers: of language models, removed. remains:
    artefacts that are not rewritten, with what to do about them."""

    rows: dict[Address, int]
    answers: list[str]
    remains: dict[str, str]


@step
def look(context: Context, wish: Wish) -> Found:
    """What forgetting would remove; nothing is changed. Raises InputError when the wish names nothing."""
    if wish == Wish():
        raise InputError("name what to forget: a text, an identifier, a group, or an age")
    rows, remains = {}, {}
    for address, record in _tables(context):
        number = int(_matching(context, address, record, wish).sum())
        if number and record.name in KEPT:
            remains[address] = f"{number} rows; {_KEPT_WHY}"
        elif number:
            rows[address] = number
    answers = list(_answers(context, wish))
    return Found(rows, answers, remains | dict(_files(context, wish)))


@step
def forget(context: Context, wish: Wish) -> Found:
    """Removes it. Asked again after it was interrupted, it removes the rest."""
    found = look(wish, context=context)
    for address in found.rows:
        record = _RECORDS[address.split("/")[0]]
        table = pl.DataFrame(pl.from_arrow(context.workspace.read(address, record)))
        kept = table.filter(~_matching(context, address, record, wish))
        context.workspace.rewrite(address, record, kept.to_arrow().cast(record.schema))
        log.info("forget: %d rows of %s", found.rows[address], address)
    for name in found.answers:
        (context.workspace.root / ANSWERS / name).unlink(missing_ok=True)
    return found


def before(days: float) -> datetime:
    """The moment so many days ago."""
    return datetime.now(UTC) - timedelta(days=days)


def _tables(context: Context) -> Iterator[tuple[Address, Record]]:
    objects = context.workspace.root / "objects"
    for name, record in sorted(_RECORDS.items()):
        folder = objects / name
        for one in sorted(folder.iterdir(), key=str) if folder.exists() else ():
            address = f"{name}/{one.name}"
            if context.workspace.exists(address) and _FILE in context.workspace.manifest(address).files:
                yield address, record


def _matching(context: Context, address: Address, record: Record, wish: Wish) -> pl.Series:
    """Which rows of a table are meant."""
    table = pl.DataFrame(pl.from_arrow(context.workspace.read(address, record)))
    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    lists = [name for name, kind in table.schema.items() if kind == pl.List(pl.String)]
    meant = [pl.repeat(False, table.height, dtype=pl.Boolean)]
    if wish.text:
        plain = pl.select(normalised(pl.lit(wish.text))).item()
        meant += [pl.col(name).str.contains(wish.text, literal=True) for name in texts]
        meant += [normalised(pl.col(name)) == plain for name in texts if plain and name.endswith("text")]
    if wish.identifier:
        meant += [pl.col(name) == wish.identifier for name in texts]
        meant += [pl.col(name).list.contains(wish.identifier) for name in lists]
    if wish.group and "user_group" in texts:
        meant.append(pl.col("user_group") == wish.group)
    if wish.before and record.name in _TIMES:
        meant.append(pl.col(_TIMES[record.name]) < wish.before)
    any_of = functools.reduce(operator.or_, (one.fill_null(False) for one in meant))
    return table.select(any_of.alias("meant"))["meant"]


def _answers(context: Context, wish: Wish) -> Iterator[str]:
    """Kept answers of language models that say the text or the identifier, or are older."""
    root = context.workspace.root / ANSWERS
    for path in sorted(root.rglob("*.json"), key=str) if root.exists() else ():
        content = path.read_text(encoding="utf-8", errors="replace")
        words = content.encode().decode("unicode_escape", errors="ignore") if "\\u" in content else content
        said = any(part and part in words for part in (wish.text, wish.identifier))
        old = wish.before is not None and datetime.fromtimestamp(path.stat().st_mtime, UTC) < wish.before
        if said or old:
            yield f"{path.parent.name}/{path.name}"


def _files(context: Context, wish: Wish) -> Iterator[tuple[str, str]]:
    """Other artefacts in whose files the text or the identifier stands."""
    wanted = [part.encode() for part in (wish.text, wish.identifier) if part]
    objects = context.workspace.root / "objects"
    for path in sorted(objects.rglob("*"), key=str) if wanted and objects.exists() else ():
        if not path.is_file() or path.name in (_FILE, "manifest.json") or path.stat().st_size > _LARGEST:
            continue
        if any(part in path.read_bytes() for part in wanted):
            kind, digest = path.relative_to(objects).parts[:2]
            yield f"{kind}/{digest}", f"holds it in {path.name}; delete the artefact's folder, its step makes it again"
