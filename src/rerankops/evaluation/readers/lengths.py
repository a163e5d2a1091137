"""How long an answer is in either language, and where it may be cut."""

from __future__ import annotations

import re

_LATIN = 3
"""How many Latin letters, digits or spaces take the room of one Chinese character: an English word says about what
two Chinese characters do."""
_NARROW = re.compile(r"[\u0000-\u024f]+")
_LATIN_WORD = re.compile(r"[A-Za-z0-9.]")


def room(text: str) -> float:
    """How many full-width characters' room a text takes."""
    wide = len(_NARROW.sub("", text))
    return wide + (len(text) - wide + 1) / _LATIN


def at_a_word(text: str, place: int) -> int:
    """The place itself, or where the word or number it cuts has ended."""
    while 0 < place < len(text) and _LATIN_WORD.match(text[place]) and _LATIN_WORD.match(text[place - 1]):
        place += 1
    return place


def within(text: str, most: int) -> str:
    """The beginning of a text, at most `most` full-width characters long; no word or number is left half."""
    if _thirds(text) <= _LATIN * most:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _thirds(text[:middle]) <= _LATIN * most else (low, middle - 1)
    cut = text[:low]
    if at_a_word(text, low) != low:
        cut = re.sub(r"[A-Za-z0-9.]+$", "", cut)
    return cut.strip()


def _thirds(text: str) -> int:
    wide = len(_NARROW.sub("", text))
    return _LATIN * wide + len(text) - wide
