"""Corrects misspelt words to words of other texts: one keyboard slip in Latin letters, a homophone in Chinese.

A word counts as misspelt only when the dictionary lacks it and it is a hundred times rarer than the word that may be
meant, after the noisy channel of Kernighan, Church and Gale ("A spelling correction program based on a noisy channel
model", 1990). Two words that both exist, such as Niger and Nigeria, stay two words. Chinese is typed by its sound, so a
wrong character sounds the same as the right one, or nearly (zh and z, in and ing; input methods call these fuzzy
sounds). It is corrected when what was typed is not a word, or is a hundred times rarer. Numerals, and words that
distinguish questions, are never corrected: 四 and 十, 左 and 座.
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
"""Maximum characters of a Chinese word that is looked up."""
_APART = frozenset("零〇一二两三四五六七八九十百千万亿").union(wording.TELLING)
_RARER = 2.0
"""How much rarer a misspelling is than the word, in powers of ten: it makes up less than one in a hundred
occurrences."""


class Spelling:
    """The words of some texts, for finding which of them a misspelt word may be."""

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
        """Yields the text with misspelt words corrected: once with all those in Latin letters, and once for each that
        is possible in Chinese. Yields nothing when no word seems misspelt."""
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
        """Words of the texts that sound like what was typed and may be what was meant."""
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
    """Whether one letter was added, left out or replaced, or two neighbours swapped (Damerau, 1964). The first letter
    must be equal, since it is rarely wrong."""
    from rapidfuzz.distance import OSA

    return one[0] == other[0] and OSA.distance(one, other, score_cutoff=1) == 1


def _one_differs(word: str, typed: str) -> bool:
    """Whether exactly one character differs, and that character does not distinguish questions by itself."""
    differing = [(a, b) for a, b in zip(word, typed, strict=True) if a != b]
    return len(differing) == 1 and not any(character in _APART for character in differing[0])


def _sound(word: str) -> str:
    """The pronunciation of a word of the dictionary."""
    from pypinyin import lazy_pinyin

    return " ".join(_blurred(str(syllable)) for syllable in lazy_pinyin(word))


@lru_cache(maxsize=100_000)
def _sounds(typed: str) -> tuple[str, ...]:
    """The possible pronunciations of characters that are not a word: all combinations of their readings."""
    readings = [_readings(character) for character in typed]
    return tuple(" ".join(one) for one in itertools.product(*readings)) if math.prod(map(len, readings)) <= 64 else ()


@lru_cache(maxsize=30_000)
def _readings(character: str) -> tuple[str, ...]:
    from pypinyin import Style, pinyin

    return tuple(sorted({_blurred(str(one)) for one in pinyin(character, style=Style.NORMAL, heteronym=True)[0]}))


def _blurred(syllable: str) -> str:
    """Reduces a pinyin syllable so that sounds which many speakers confuse are equal: zh/z, ch/c, sh/s, ang/an, eng/en
    and ing/in."""
    return re.sub(r"(?<=[aei])ng$", "n", re.sub(r"^([zcs])h", r"\1", syllable))
