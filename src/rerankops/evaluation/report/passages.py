"""The part of a passage that a reader of the report needs to see, with the accepted answer marked in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rerankops.evaluation.normalise import mentions

ROOM = 260
"""Characters of a passage that are shown."""

SEARCHED = 8_000
"""Characters of a passage in which an answer that is written otherwise is looked for."""

_SHORT = 2_000
_SENTENCE = re.compile(r"[^。！？；\n]*?(?:[。！？；\n]|[.!?;](?=\s)|$)")
_NUMERALS = frozenset("零〇一二两三四五六七八九十百千万亿半点.,·")


@dataclass(frozen=True)
class Snippet:
    """What stands before, in and after the accepted answer; `answer` is empty where the passage does not say it."""

    before: str
    answer: str
    after: str


def snippet(text: str, accepted: Sequence[str], *, room: int = ROOM) -> Snippet:
    """The text around the accepted answer, at most about `room` characters; without an accepted answer, the beginning
    of the text.

    The answer is looked up as it is written, then as `normalise.mentions` compares: 450L also finds 450 升.
    """
    span = _literal(text, accepted) or _normalised(text[:SEARCHED], accepted)
    if span is None:
        return Snippet(text[:room] + "…" * (len(text) > room), "", "")
    start, end = span
    end = min(end, start + room)
    side = max(20, (room - (end - start)) // 2)
    first = 0 if start <= side + 20 else start - side
    last = len(text) if len(text) - end <= side + 20 else end + side
    return Snippet("…" * (first > 0) + text[first:start], text[start:end], text[end:last] + "…" * (last < len(text)))


def _literal(text: str, accepted: Sequence[str]) -> tuple[int, int] | None:
    """Where an accepted answer stands as written, not inside a longer word or number."""
    lowered = text.lower()
    if len(lowered) != len(text):  # some letters change their length; then positions are not the text's
        lowered = text
    for answer in accepted:
        start = lowered.find(answer.lower()) if answer else -1
        while start >= 0:
            end = start + len(answer)
            if _boundary(text, start) and _boundary(text, end):
                return start, end
            start = lowered.find(answer.lower(), start + 1)
    return None


def _normalised(text: str, accepted: Sequence[str]) -> tuple[int, int] | None:
    """The shortest span of the first sentence that says an accepted answer; of a short text, across sentences too."""
    if not accepted:
        return None
    for sentence in _SENTENCE.finditer(text):
        if mentions(sentence[0], accepted):
            span = _shortest(sentence[0], accepted)
            return None if span is None else (sentence.start() + span[0], sentence.start() + span[1])
    return _shortest(text, accepted) if len(text) <= _SHORT and mentions(text, accepted) else None


def _shortest(text: str, accepted: Sequence[str]) -> tuple[int, int] | None:
    """Of a text that says an accepted answer: by bisection over the places where words meet."""
    places = [place for place in range(len(text) + 1) if _boundary(text, place)]
    low, high = 0, len(places) - 1  # the smallest end whose prefix says it
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if mentions(text[: places[middle]], accepted) else (middle + 1, high)
    end = low
    low, high = 0, end  # the largest start whose rest up to there says it
    while low < high:
        middle = (low + high + 1) // 2
        said = mentions(text[places[middle] : places[end]], accepted)
        low, high = (middle, high) if said else (low, middle - 1)
    span = places[low], places[end]
    return span if mentions(text[span[0] : span[1]], accepted) else None


def _boundary(text: str, place: int) -> bool:
    """Whether cutting here breaks no word and no number."""
    if place in (0, len(text)):
        return True
    left, right = text[place - 1], text[place]
    if _numeric(left) and _numeric(right):
        return False
    return not (_latin(left) and _latin(right))


def _latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _numeric(character: str) -> bool:
    return character.isdigit() or character in _NUMERALS
