"""A misspelt word as a word of other texts: one slip of the keyboard in Latin letters, a homophone in Chinese.

A word is taken for misspelt only when the dictionary lacks it and it is a hundred times rarer than what it may stand
for, after the noisy channel of Kernighan, Church and Gale ("A spelling correction program based on a noisy channel
model", 1990): two words that both exist, Niger and Nigeria, are two words. Chinese is typed by its sound, so a wrong
character sounds like the right one, or nearly (zh and z, in and ing: fuzzy sounds, as input methods call them); it is
corrected where what was typed is no word, or a hundred times rarer. Numerals and words that tell questions apart never
are: 四 and 十, 左 and 座.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from rerankops.queries import wording
from rerankops.queries.forms import Reader, information

_LATIN = re.compile(r"[a-z]{5,}")
_RUN = re.compile(rf"[{wording.HAN}]+")
_LONGEST = 4
"""Characters of a Chinese word that is looked for."""
_APART = frozenset("零〇一二两三四五六七八九十百千万亿").union(wording.TELLING)
_RARER = 2.0
"""Decades by which a slip is rarer than the word: fewer than one writing in a hundred has it."""


class Spelling:
    """The words of some texts, and which of them a misspelt word may be."""

    def __init__(self, reader: Reader, texts: Iterable[str]) -> None:
        self._reader = reader
        self._slips: dict[str, set[str]] = {}
        self._sounds: dict[str, set[str]] = {}
        latin: set[str] = set()
        han: set[str] = set()
        for text in texts:
            plain = reader.plain(text)
            latin.update(_LATIN.findall(plain))
            for run in _RUN.findall(plain):
                words = reader.cut(run)
                han.update(word for word in words if len(word) > 1)
                han.update(a + b for a, b in itertools.pairwise(words) if len(a + b) in (2, 3))
        for word in latin:
            for key in _deletions(word):
                self._slips.setdefault(key, set()).add(word)
        for word in han:
            if len(word) <= _LONGEST and reader.known(word):
                self._sounds.setdefault(_sound(word), set()).add(word)

    def corrected(self, plain: str) -> Iterator[str]:
        """The text with one or all of its misspelt words mended; nothing when none is."""
        latin = {word: right for word in set(_LATIN.findall(plain)) if (right := self._meant(word))}
        if latin:
            yield _LATIN.sub(lambda found: latin.get(found.group(), found.group()), plain)
        for run in _RUN.finditer(plain):
            text, begin = run.group(), run.start()
            for size in range(_LONGEST, 1, -1):
                for start in range(len(text) - size + 1):
                    typed = text[start : start + size]
                    for word in self._heard(typed):
                        yield plain[: begin + start] + word + plain[begin + start + size :]

    def _heard(self, typed: str) -> list[str]:
        """Words of the texts that sound like what was typed and may be meant by it."""
        heard = {word for sound in _sounds(typed) for word in self._sounds.get(sound, ())}
        if not heard or typed in heard:
            return []
        known = self._reader.known(typed)
        return sorted(
            word
            for word in heard
            if _one_differs(word, typed) and (not known or information(typed) - information(word) >= _RARER)
        )

    def _meant(self, word: str) -> str | None:
        if not _unknown(word):
            return None
        near = {other for key in _deletions(word) for other in self._slips.get(key, ()) if other != word}
        fit = [o for o in near if information(word) - information(o) >= _RARER and _one_slip(word, o)]
        return min(fit, key=lambda other: (information(other), other)) if fit else None


@lru_cache(maxsize=100_000)
def _unknown(word: str) -> bool:
    from simplemma import is_known

    return not is_known(word, lang="en")


def _deletions(word: str) -> set[str]:
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}


@lru_cache(maxsize=200_000)
def _one_slip(one: str, other: str) -> bool:
    """One letter more, less, other, or two neighbours swapped (Damerau, 1964); the first letter is rarely wrong."""
    from rapidfuzz.distance import OSA

    return one[0] == other[0] and OSA.distance(one, other, score_cutoff=1) == 1


def _one_differs(word: str, typed: str) -> bool:
    """Whether one character differs, and tells nothing by itself."""
    differing = [(a, b) for a, b in zip(word, typed, strict=True) if a != b]
    return len(differing) == 1 and not any(character in _APART for character in differing[0])


def _sound(word: str) -> str:
    """How a word of the dictionary is read."""
    from pypinyin import lazy_pinyin

    return " ".join(_blurred(str(syllable)) for syllable in lazy_pinyin(word))


@lru_cache(maxsize=100_000)
def _sounds(typed: str) -> tuple[str, ...]:
    """How characters may be read that are no word: every reading of each."""
    readings = [_readings(character) for character in typed]
    return tuple(" ".join(one) for one in itertools.product(*readings)) if math.prod(map(len, readings)) <= 64 else ()


@lru_cache(maxsize=30_000)
def _readings(character: str) -> tuple[str, ...]:
    from pypinyin import Style, pinyin

    return tuple(sorted({_blurred(str(one)) for one in pinyin(character, style=Style.NORMAL, heteronym=True)[0]}))


def _blurred(syllable: str) -> str:
    """Sounds that speakers of many dialects type alike: zh ch sh as z c s, ang eng ing as an en in."""
    return re.sub(r"(?<=[aei])ng$", "n", re.sub(r"^([zcs])h", r"\1", syllable))
