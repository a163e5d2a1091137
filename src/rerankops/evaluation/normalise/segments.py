"""Finds where Chinese words end: 王安 is not found in 王安石, nor 人民 in 人民币, but 电池 is found in 动力电池.

Words come from a segmenter (jieba's dictionary). In a Chinese compound the head comes last. So an accepted answer may
be the end of a longer word, where that end is a word itself. It may be the beginning only where what follows merely
says what kind of thing or place it is. Names of people have no such parts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

_HAN = re.compile("[\u3400-\u9fff]+")
_AROUND = 12
"""Characters on each side that are segmented together with a place: enough for the longest word."""
_LONG = 5
"""A text of at least this many characters is never part of another word, however the segmenter divides its ends."""
_ADDED = frozenset(
    "省市县区州国镇乡村们型式性版号侧边面部处里内上下中前后左右间外的地得了着过吗呢吧啊时起类系键灯档车店款队人军语文籍族裔年末初氏奖"
)
"""Characters that may follow a word within a longer one without changing what it means."""
_FUNCTIONS = frozenset("于在是和与的了为以及等因从对将被把也都就说并而又之所曾已会可则却")


def whole(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] begins and ends at word boundaries."""
    first, last = "\u3400" <= text[start] <= "\u9fff", "\u3400" <= text[end - 1] <= "\u9fff"
    left = first and start > 0 and "\u3400" <= text[start - 1] <= "\u9fff"
    right = last and end < len(text) and "\u3400" <= text[end] <= "\u9fff"
    if not left and not right:
        return True
    if end - start >= _LONG:
        return True
    run_start, run_end = start, end
    while run_start > max(0, start - _AROUND) and _HAN.match(text, run_start - 1):
        run_start -= 1
    while run_end < min(len(text), end + _AROUND) and _HAN.match(text, run_end):
        run_end += 1
    run, place, stop = text[run_start:run_end], start - run_start, end - run_start
    name = _is_name(text[start:end])
    return _fits(words(run), place, stop, left, right, name) and (
        not name or _fits(words(run, True), place, stop, False, right, name)
    )


def _fits(found: Sequence[str], start: int, end: int, left: bool, right: bool, name: bool) -> bool:
    place = 0
    for word in found:
        until = place + len(word)
        if left and place < start < until and not _is_head(word, start - place, min(end, until) - place, name):
            return False
        if right and place < end < until and start <= place and not _only_added(word, end - place, end - start):
            return False
        if right and place < start and end < until:
            return False
        place = until
    return True


def _is_head(word: str, start: int, end: int, name: bool) -> bool:
    """Whether the rest of a word, from `start`, is its head: the word names a kind of it, as 动力电池 names a kind of
    电池."""
    tag = tagged(word)[0][1]
    if end < len(word) or name or tag.startswith("nr"):
        return False
    rest = word[start:]
    if tag.startswith(_PROPER) and not (start > 1 and jieba().has_word(word[:start])):  # 中国四川省 is two names
        return False
    return len(rest) > 1 and jieba().has_word(rest)


_PROPER = ("ns", "nt", "nz")
"""Tags of places, organisations and other names: 九华山 is not a kind of 华山."""


def _only_added(word: str, inside: int, length: int) -> bool:
    """Whether the part of a word that follows the end of the accepted answer is only an ending."""
    rest = word[inside:]
    if rest[0] in _FUNCTIONS:
        return True  # not a dictionary word: the segmenter guessed too long a word
    if len(rest) == 1 and rest in _ADDED and length > 1:
        return True
    return length >= 4 and inside == 1 and len(word) == 2  # a long answer's last character, joined to the next


@lru_cache(maxsize=8192)
def words(text: str, names: bool = False) -> tuple[str, ...]:
    """The words of a text. names: also words that the dictionary lacks, guessed from how characters follow one
    another."""
    return tuple(jieba().cut(text, names))


@lru_cache(maxsize=8192)
def _is_name(text: str) -> bool:
    """Whether the text is the name of one person."""
    if not 2 <= len(text) <= 4:
        return False
    found = jieba().tag(text)
    return len(found) == 1 and found[0][1].startswith("nr")


@lru_cache(maxsize=8192)
def tagged(text: str) -> tuple[tuple[str, str], ...]:
    """(word, part of speech) pairs in order, with jieba's tags: v is a verb, n a noun."""
    return tuple((word, tag) for word, tag in jieba().tag(text))


@cache
def jieba() -> Any:
    import rjieba

    return rjieba
