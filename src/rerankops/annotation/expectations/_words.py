"""Words for people: what is named, how much of it, and text from outside made harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import Formatter
from typing import Any

import polars as pl

NAMED = 5
"""Lines, tasks or annotators named in one sentence."""
_SHOWN = 60
"""Characters of a value from outside."""
_UNSHOWN = r"[\p{C}\p{Z}]+"
"""Control characters, and white space of every kind."""


def listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def some(values: Sequence[Any]) -> str:
    """The first NAMED, '…' for the rest."""
    return listed([*values[:NAMED], *(["…"] if len(values) > NAMED else [])])


def more(lines: Sequence[int]) -> str:
    """' (and 7 more: 3, 5, 8, 9, 11, …)' for all lines but the first; nothing when there is only one."""
    return f" (and {len(lines) - 1:,} more: {some(lines[1:])})" if len(lines) > 1 else ""


def quoted(value: Any) -> str:
    """A value from outside on one line, cut."""
    if not isinstance(value, str):
        return "none" if value is None else str(value)
    plain = "".join(character if character.isprintable() else " " for character in value)
    plain = " ".join(plain.split())
    return "'" + (plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…") + "'"


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def spelt(template: str, columns: Iterable[str]) -> pl.Expr:
    """A template with {column} as a text for each row; texts among the columns are quoted as `quoted` does."""
    texts = set(columns)
    parts = []
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(pl.lit(literal))
        if name in texts:
            plain = pl.col(name).str.replace_all(_UNSHOWN, " ").str.strip_chars()
            cut = pl.when(plain.str.len_chars() > _SHOWN).then(plain.str.slice(0, _SHOWN - 1) + "…").otherwise(plain)
            parts.append(pl.when(pl.col(name).is_null()).then(pl.lit("none")).otherwise("'" + cut + "'"))
        elif name is not None:
            parts.append(pl.col(name).cast(pl.String).fill_null("none"))
    return pl.concat_str(parts)
