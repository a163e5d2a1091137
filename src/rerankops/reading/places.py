"""Where something is in a file, and the two outcomes for a row: read, or unusable with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rerankops.errors import InputError
from rerankops.plain import one_line

_EXCERPT = 2000
_KEPT = 20_000
_COMMONEST = 3
_WORDS = 2000
"""Longest error message, in characters; an error may quote a long value or many names."""


class Place(NamedTuple):
    """A row of a file. line: line of the text, from 1. row: row number in a spreadsheet, where the heading is 1; None
    where a spreadsheet would not show rows. sheet: sheet of a workbook. item: the server's name for it. With none of
    these, the place is the whole file."""

    file: str
    line: int | None = None
    row: int | None = None
    sheet: str | None = None
    item: str | None = None

    def __str__(self) -> str:
        if self.item is not None:
            return f"{self.file}, {self.item}" if self.file else self.item
        sheet = f" sheet {self.sheet!r}" if self.sheet is not None else ""
        if self.line is not None:
            aside = f" (spreadsheet row {self.row})" if self.row not in (None, self.line) else ""
            return f"{self.file}{sheet}:{self.line}{aside}"
        return f"{self.file}{sheet}" if self.row is None else f"{self.file}{sheet} row {self.row}"


class Row(NamedTuple):
    """A row as read. values: cell by column (an empty cell is None), or the JSON value of a line."""

    place: Place
    values: Any


class Unusable(NamedTuple):
    """What could not be read or used. kind: the sort of reason, the same for all such rows. reason: the full reason,
    with column, value and what to do. content: the row, cut if long; it may hold personal data."""

    place: Place
    kind: str
    reason: str
    content: str = ""

    @property
    def of_file(self) -> bool:
        """The file, or the rest of it, could not be read."""
        return self.place.line is None and self.place.row is None and self.place.item is None

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class Unfit(ValueError):
    """A value or a row does not meet the requirements. kind: the sort of reason. The message gives the full reason in
    one line, short enough to read whatever it quotes."""

    def __init__(self, kind: str, words: str | None = None) -> None:
        super().__init__(shortly(words or kind, _WORDS))
        self.kind = kind


class Refused(InputError):
    """A whole file cannot be read as a table; the message says what it is and what to do."""

    def __init__(self, kind: str, words: str | None = None) -> None:
        super().__init__(
            shortly(words or kind, _WORDS)
        )  # one argument is enough, and must be where an error crosses processes
        self.kind = kind


def shortly(text: str, length: int = 80) -> str:
    """Text from outside as a message may quote it, on one line."""
    return one_line(text if len(text) <= length else text[: length - 1] + "…")


def unusable(place: Place, error: Unfit | Refused, content: str = "") -> Unusable:
    """The row together with the error raised about it."""
    excerpt = content[:_EXCERPT].encode(errors="backslashreplace").decode()
    return Unusable(place, error.kind, str(error), excerpt)


@dataclass
class Aside:
    """Rows that are set aside so that the rest can go on: kept with their reasons, and counted.

    read: rows looked at, including those set aside. files: files looked at. kept: the first items set aside, in order,
    up to a maximum. left_out: files with nothing for us, each with the reason; not a fault, but reported. notes: counts
    of what else was skipped.
    """

    read: int = 0
    files: int = 0
    count: int = 0
    kept: list[Unusable] = field(default_factory=list)
    left_out: list[Unusable] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Unusable] = field(default_factory=dict)
    files_unusable: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def put(self, item: Unusable) -> None:
        """Sets a row (which the caller counts in `read`) or a file aside."""
        self.reasons[item.kind] += 1
        self.examples.setdefault(item.kind, item)
        if item.of_file:
            self.files_unusable += 1
        else:
            self.count += 1
        if len(self.kept) < _KEPT:
            self.kept.append(item)

    def counts(self) -> dict[str, float]:
        """The counts for a manifest."""
        counted = {
            "set_aside": self.count, "files_set_aside": self.files_unusable, "files_left_out": len(self.left_out)
        }  # fmt: skip
        return {name: float(number) for name, number in {**counted, **self.notes}.items()}

    def reword(self, clean: Callable[[list[str]], list[str]]) -> None:
        """Passes the kept text from outside through `clean`, which removes personal data from texts."""
        kept = [*self.kept, *self.examples.values()]
        reasons, contents = clean([item.reason for item in kept]), clean([item.content for item in kept])
        cleaned = [
            item._replace(reason=reason, content=content)
            for item, reason, content in zip(kept, reasons, contents, strict=True)
        ]
        self.kept, examples = cleaned[: len(self.kept)], cleaned[len(self.kept) :]
        self.examples = dict(zip(self.examples, examples, strict=True))

    def words(self) -> str:
        """The most frequent reasons, each with its count and an example."""
        named = (
            f"{number} × {kind} (first: {self.examples[kind]})" for kind, number in self.reasons.most_common(_COMMONEST)
        )
        return "; ".join(named)

    def check(self, share: float, *, what: str, setting: str) -> None:
        """Raises InputError with the three most frequent reasons when more than `share` of the rows or of the files
        were set aside. what: what was read, in words. setting: the setting that holds the share."""
        for of, count, total in (("rows", self.count, self.read), ("files", self.files_unusable, self.files)):
            if total and count > share * total:
                raise InputError(
                    f"{what}: {count} of {total} {of} cannot be used, above {setting} {share:g}: {self.words()}"
                )


def strictly(items: Iterator[Row | Unusable], aside: Aside | None) -> Iterator[Row]:
    """Only the usable rows. Unusable ones go to `aside`; if `aside` is None, they raise InputError."""
    for item in items:
        if isinstance(item, Unusable):
            if aside is None:
                raise InputError(str(item))
            aside.read += not item.of_file
            aside.put(item)
            continue
        if aside is not None:
            aside.read += 1
        yield item
