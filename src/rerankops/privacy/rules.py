"""A rule describes one form of personal data; this module runs many rules over a batch.

An RE2 expression finds suspects in time linear in the text, whatever the text is. A decision about each suspect looks
at a bounded stretch around it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import re2

from rerankops.privacy.folding import ROW_END, Folded

SUSPECTS_A_ROW = 400
"""A text with more suspects of one expression than this is not a query; all of it is withheld."""


class Span(NamedTuple):
    """A stretch of the copy to remove."""

    start: int
    stop: int
    kind: str


Decision = Callable[[Folded, int, int], "tuple[int, int] | None"]
"""From a suspect's span to the span to remove, or None."""


@dataclass(frozen=True)
class Rule:
    """kind: see kinds.py. pattern: RE2 syntax; its first group that matched, or the whole match, is the suspect.
    decide: narrows the suspect or rejects it; without it every suspect is removed."""

    kind: str
    pattern: str
    decide: Decision | None = None


def run(rules: Iterable[Rule], folded: Folded, crowded: set[int]) -> list[Span]:
    """The spans that the rules find. crowded: receives a position in each row that has too many suspects."""
    found = []
    for rule in rules:
        for start, stop in suspects(rule.pattern, folded, crowded):
            kept = rule.decide(folded, start, stop) if rule.decide else (start, stop)
            if kept and kept[1] > kept[0]:
                found.append(Span(*kept, rule.kind))
    return found


def suspects(pattern: str, folded: Folded, crowded: set[int]) -> Iterator[tuple[int, int]]:
    """Spans in the copy of the pattern's first group that matched, or of the whole match."""
    expression = compiled(pattern)
    for start, stop in _matches(expression, folded.encoded, crowded, folded):
        yield int(folded.at[start]), int(folded.at[stop])


def digit_suspects(pattern: str, folded: Folded, crowded: set[int]) -> Iterator[tuple[int, int]]:
    """Like `suspects`, but among the digits of the copy, where one byte is one character."""
    yield from _matches(compiled(pattern), bytes(folded.digits), crowded, None)


@functools.cache
def compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.max_mem = 64 << 20
    options.log_errors = False
    return re2.compile(pattern, options)


def _matches(
    expression: re2._Regexp, text: bytes, crowded: set[int], folded: Folded | None
) -> Iterator[tuple[int, int]]:
    end_of_row, seen, at, line_feed = -1, 0, 0, ROW_END.encode()
    while at <= len(text):
        for match in expression.finditer(text, at):
            start = match.start()
            if start >= end_of_row:
                end = text.find(line_feed, start)
                end_of_row, seen = (len(text) if end < 0 else end), 0
            seen += 1
            if seen > SUSPECTS_A_ROW:
                crowded.add(int(folded.at[start]) if folded else start)
                at = end_of_row + 1
                break
            group = next((n for n in range(1, expression.groups + 1) if match.start(n) >= 0), 0)
            yield match.span(group)
        else:
            return
