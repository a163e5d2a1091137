"""Tables in text, one row a line, separated by commas, semicolons, tabs or any other sign that the heading uses."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from rerankops.reading.encodings import Line
from rerankops.reading.places import Place, Refused, Row, Unfit, Unusable, shortly, unusable
from rerankops.reading.values import same_signs

_USUAL = (",", ";", "\t", "|", "，", "；", "｜", "\x01")
_NO_SEPARATOR = frozenset("\"'_-. \r\n()[]{}<>")
_WIDEST = 2000


class Rows:
    """The rows under a heading. columns: the names in the heading; known names are spelled as the door spells them."""

    def __init__(
        self, lines: Iterator[Line], file: str, *, known: Collection[str], longest: int, trimmed: bool
    ) -> None:
        self._lines: deque[Line] = deque()
        self._more = iter(lines)
        self._file, self._known, self._longest, self._trimmed = file, known, longest, trimmed
        self._before: list[Unusable] = []
        self._row = 0
        csv.field_size_limit(max(csv.field_size_limit(), longest + 1))
        self.separator = ","
        self.columns: tuple[str, ...] = ()
        self._open()

    def __iter__(self) -> Iterator[Row | Unusable]:
        yield from self._before
        for place, found, content in self._records():
            if isinstance(found, Unfit):
                yield unusable(place, found, content)
                continue
            try:
                row = self._fitted(found, whole=content.endswith("\n"))
            except Unfit as error:
                yield unusable(place, error, content)
            else:
                yield Row(place, row)

    def _open(self) -> None:
        """Reads the heading and finds the separator: an earlier line or the heading itself states it."""
        said: str | None = None
        while (line := self._next()) is not None:
            number, text, shown = line
            if isinstance(text, Unfit):
                raise Refused(text.kind, f"line {number}, where the heading should be, {text}: {shortly(shown)}")
            if not text.strip("\ufeff \t\r\n\x1a,;"):
                self._row += 1
                continue
            if said is None and text.lower().startswith("sep=") and len(text.rstrip("\r\n")) in (4, 5):
                said = text[4:5].strip("\r\n") or None
                self._row += 1
                continue
            self._lines.appendleft((number, text.lstrip("\ufeff"), shown))
            self.separator = said or separator_of(text, self._known)
            break
        for place, found, content in self._records():
            if isinstance(found, Unfit):
                raise Refused(
                    found.kind, f"line {place.line}, where the heading should be: {found}: {shortly(content)}"
                )
            self.columns = heading(found, self._known)
            return

    def _records(self) -> Iterator[tuple[Place, list[str] | Unfit, str]]:
        """For each record that is not empty: its cells, or why it cannot be read; and its text."""
        while (line := self._next()) is not None:
            number, text, shown = line
            self._row += 1
            place = Place(self._file, number, self._row)
            if isinstance(text, Unfit):
                yield place, text, shown
                continue
            if not text.strip(" \t\r\n\x1a\u3000" + self.separator):
                continue
            found, content = self._record(text)
            if isinstance(found, Unfit) or any(cell.strip() for cell in found):
                yield place, found, content

    def _record(self, text: str) -> tuple[list[str] | Unfit, str]:
        """The record that begins with this line. If a quotation mark is never closed, only this line is unusable, and
        the lines after it are read again."""
        taken: list[Line] = []
        while True:
            try:
                cells = next(csv.reader([text], delimiter=self.separator, strict=True), [])
            except csv.Error as error:
                if "unexpected end of data" not in str(error):
                    return self._again(taken, text, f"not valid CSV ({error})")
            else:
                return cells, text
            while True:
                line = self._next()
                if line is None or isinstance(line[1], Unfit) or len(text) > self._longest:
                    if line is not None:
                        taken.append(line)
                    return self._again(taken, text, "not valid CSV (a quotation mark is opened and not closed)")
                taken.append(line)
                text += line[1]
                if '"' in line[1]:
                    break

    def _again(self, taken: list[Line], text: str, words: str) -> tuple[Unfit, str]:
        self._lines.extendleft(reversed(taken))
        return Unfit("not valid CSV", words), text[: text.find("\n") + 1] or text

    def _next(self) -> Line | None:
        return self._lines.popleft() if self._lines else next(self._more, None)

    def _fitted(self, cells: Sequence[str], *, whole: bool) -> dict[str, Any]:
        """The cells under their columns; an empty cell is None."""
        return fitted(cells, self.columns, trimmed=self._trimmed and whole)


def fitted(cells: Sequence[Any], columns: Sequence[str], *, trimmed: bool) -> dict[str, Any]:
    """Cells under their columns. Raises Unfit when there are more cells than columns, or fewer unless `trimmed`."""
    width = len(columns)
    if len(cells) > width and any(cell not in (None, "") for cell in cells[width:]):
        words = f"{len(cells)} cells under {width} columns; is a separator inside a text that has no quotation marks?"
        raise Unfit("more cells than columns", words)
    if len(cells) < width and not trimmed:
        words = f"{len(cells)} cells under {width} columns; is a quotation mark missing, or the end of the file?"
        raise Unfit("fewer cells than columns", words)
    row = dict.fromkeys(columns)
    row.update((name, None if cell == "" else cell) for name, cell in zip(columns, cells, strict=False) if name)
    return row


def heading(cells: Sequence[Any], known: Collection[str]) -> tuple[str, ...]:
    """Names of the columns. A name that differs from a known one only in case, width and spaces becomes the known one,
    unless two columns would. Raises Refused when a known name, or any name if none are known, appears twice."""
    names = [str(cell if cell is not None else "").strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    if len(names) > _WIDEST:
        raise Refused("too many columns", f"has {len(names)} columns, more than {_WIDEST}")
    alike = {_plain(name): name for name in known}
    taken = set(names) & set(known)
    for at, name in enumerate(names):
        meant = alike.get(_plain(name))
        if (
            name not in known
            and meant is not None
            and meant not in taken
            and sum(_plain(n) == _plain(name) for n in names) == 1
        ):
            names[at] = meant
    for name in names:
        if name and names.count(name) > 1 and (name in known or not known):
            raise Refused(
                "a column twice", f"has the column {name!r} twice; remove or rename one of them. Its columns: {names}"
            )
    return tuple(names)


def separator_of(line: str, known: Collection[str]) -> str:
    """The separator in a heading: the sign that separates the most known names. If the heading has no known names, the
    most frequent of the usual signs."""
    signs = [
        *_USUAL,
        *sorted(sign for sign in set(line) - set(_USUAL) if not sign.isalnum() and sign not in _NO_SEPARATOR),
    ]
    wanted = {_plain(name) for name in known}
    scores = {sign: len({_plain(cell.strip('" \r\n')) for cell in line.split(sign)} & wanted) for sign in signs}
    best = max(signs, key=lambda sign: scores[sign])
    if scores[best] > 1 or (scores[best] == 1 and best in line):
        return best
    return max(_USUAL, key=line.count)


def _plain(name: str) -> str:
    return same_signs(name).strip().strip('"').casefold()
