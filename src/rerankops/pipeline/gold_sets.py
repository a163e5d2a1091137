"""Frozen gold sets by name and version, and the gold questions that a version asks."""

from __future__ import annotations

import re

import polars as pl
import pyarrow as pa

from rerankops.errors import ArtefactMissing, InputError, SettingsError
from rerankops.records import GoldEntry, GoldQuestion
from rerankops.workspace import Address, Workspace

SETS = "gold-sets"
"""References: `gold-sets/NAME/VERSION`, which are never moved, and `gold-sets/NAME`, the newest version."""
FROZEN = "frozen:"
"""What `sources.gold` begins with when it names a frozen set instead of a file."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def checked_name(name: str, *, of: str) -> str:
    """The name of a set, a draft or a person as it may stand in a reference and a file name. Raises SettingsError."""
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{of} {name!r} is no name; use letters, digits, '_' and '-', at most 64")
    return name


def versions(workspace: Workspace, name: str) -> dict[int, Address]:
    """Version to address of a set, oldest first; empty when there is no such set."""
    checked_name(name, of="gold set")
    numbers = sorted(int(ref.rsplit("/", 1)[1]) for ref in workspace.refs(f"{SETS}/{name}"))
    return {number: workspace.require(f"{SETS}/{name}/{number}", "") for number in numbers}


def find(workspace: Workspace, which: str) -> tuple[str, int, Address]:
    """Name, version and address of NAME (its newest version) or NAME@VERSION. Raises ArtefactMissing."""
    name, _, number = which.partition("@")
    known = versions(workspace, name)
    if not known:
        raise ArtefactMissing(f"there is no gold set {name!r}; `rerankops gold freeze {name}` makes one")
    if not number:
        return name, max(known), known[max(known)]
    if not number.isdecimal() or int(number) not in known:
        raise ArtefactMissing(f"gold set {name!r} has no version {number!r}; it has {sorted(known)}")
    return name, int(number), known[int(number)]


def entries(workspace: Workspace, address: Address) -> pl.DataFrame:
    """records.GoldEntry of a version as a frame."""
    return pl.DataFrame(pl.from_arrow(workspace.read(address, GoldEntry)))


def asked(workspace: Workspace, address: Address) -> tuple[pa.Table, dict[str, float]]:
    """records.GoldQuestion of what a version asks: neither retired nor unanswerable; and how many those are.

    Raises InputError when nothing is left.
    """
    frozen = entries(workspace, address)
    retired, unanswerable = pl.col("retired_version").is_not_null(), pl.col("unanswerable")
    questions = frozen.filter(~retired, ~unanswerable).select(GoldQuestion.columns)
    if questions.is_empty():
        raise InputError(f"{address}: every question of this gold set is retired or unanswerable; freeze more")
    return questions.to_arrow(), {
        "gold_questions": questions.height,
        "retired": frozen.filter(retired).height,
        "unanswerable": frozen.filter(~retired, unanswerable).height,
    }


def protected_questions(workspace: Workspace, gold: Address) -> pl.DataFrame:
    """question_id and text of everything that training must not come near: the gold questions, and of a frozen set
    those that are retired or unanswerable as well."""
    columns = ["question_id", "text"]
    for source in workspace.manifest(gold).inputs:
        if source.split("/")[0] == GoldEntry.name:
            return entries(workspace, source).select(columns)
    return pl.DataFrame(pl.from_arrow(workspace.read(gold, GoldQuestion).select(columns)))
