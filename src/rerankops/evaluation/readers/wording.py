"""The terms of a question, which are looked up in passages, and the weight of each term."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

_WORD_PAIRS = 2
"""Weight of a word between spaces, relative to a pair of Chinese characters: a Chinese word has about two characters,
and each of them begins a pair."""
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
"""Scripts whose text is matched by pairs of characters: Chinese, kana, hangul."""
_TERM = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_IN_PAIRS = re.compile(f"[{_UNSPACED}]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_SUFFIX = re.compile(r"(?:ing|ed|es|s|e|ly|ion|ions)$")
_ENGLISH_STOP = frozenset(
    """a an the of in on at to for from by with as and or is are was were be been being do does did has have had having
    it its this that these those there their they he she his her him you your we our i my me who whom whose what which
    when where why how many much long can could will would should may might must not no if so than then into about
    get got come comes came go goes make made take took""".split()  # noqa: SIM905 - a list of a hundred words
)
_CHINESE_STOP = re.compile(
    "多少|什么|怎么样|怎么|怎样|如何|为什么|为何|哪一?[个种些年位里家座次项部]?|哪儿|是不是|有没有|能不能|可不可以|几[个次年月天种位人]?|请问"
    "|是谁|谁|何时|何地|何|多[长久重高宽深远快大]|吗|呢|的|了|是|在|有|和|与|这|那|我|你|它|吧|啊|被|于|为|对|把|个"
)
_DIGIT = re.compile(r"\d")


def plain(text: str) -> str:
    """The text in lower case and one width, without accents, and with single spaces around each word, so that a word
    can be found as " word". Chinese and Latin letters that touch are separated: ESP键 becomes " esp 键 "."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    return " " + " ".join(_TERM.findall(text.lower())) + " "


def terms(plain: str) -> list[str]:
    """The terms of a plain text. A word is found by its beginning (" instal" finds install and installed), Chinese by
    pairs of neighbouring characters. Empty when the text has only function words."""
    found: dict[str, None] = {}
    for run in plain.split():
        if _IN_PAIRS.match(run):
            for part in _CHINESE_STOP.split(run):
                for start in range(max(1, len(part) - 1) if part else 0):
                    found[part[start : start + 2]] = None
        elif run not in _ENGLISH_STOP:
            stem = _SUFFIX.sub("", run) if run.isalpha() else run
            found[f" {stem}" if len(stem) >= 4 else f" {run} "] = None
    return list(found)


def identifiers(plain: str) -> set[str]:
    """The words that contain a digit: years, numbers, models, part numbers."""
    return {word for word in plain.split() if _DIGIT.search(word)}


def weights(terms: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """Inverse document frequency of each term, scaled so that all weights sum to 1.

    The weight is log(1 + (N - n + 0.5) / (n + 0.5)), where n of the N texts contain the term (BM25's form). A word that
    is written between spaces weighs twice as much.
    """
    total = len(texts)
    raw = {}
    for term in terms:
        holding = sum(term in text for text in texts)
        rarity = math.log(1 + (total - holding + 0.5) / (holding + 0.5))
        raw[term] = rarity * (_WORD_PAIRS if term[0] == " " else 1)
    scale = sum(raw.values())
    return {term: weight / scale for term, weight in raw.items()} if scale else {}
