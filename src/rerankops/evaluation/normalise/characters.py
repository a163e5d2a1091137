"""Gives each character one spelling: width, script, accents, dashes, separators in numbers, invisible characters.

Case is kept, since 4S is a shop and 4 s a time. Traditional Chinese becomes simplified (OpenCC), so 點 equals 点.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

MINUS = "⁻"
"""Marks a negative number; a "-" is always a hyphen or joins the ends of a range."""
OVER = "⁄"
"""Separates the two numbers of a fraction."""

_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000e-\u001f\u007f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_SIGNS = str.maketrans({"，": ", ", "℃": "°C", "℉": "°F", "º": "°", "˚": "°", "〜": "~", "﹣": "-", "｜": "|"})
_DASHES = re.compile("[‐‑‒–—―−⸺⸻]+")
_DOTS = re.compile("[・•∙⋅‧･]")
_HAN = re.compile("[\u3400-\u9fff]")
_VULGAR = re.compile(r"(?<=\d)(?=[¼½¾⅐-⅞])")
_NOT = re.compile(r"\b(ca|wo|sha)n['’‘`]t\b|n['’‘`]t\b|\bcannot\b", re.IGNORECASE)
_FULL = {"ca": "can not", "wo": "will not", "sha": "shall not"}
_INITIALS = re.compile(r"(?<![A-Za-z])(?:[A-Za-z]\.){2,}")
_DECIMAL = re.compile(r"(?<=\d)[。·](?=\d)")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_DOTTED_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3}){2,}(?![\d.,])")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d{1,2})(?= ?[A-Za-z°%\u3400-\u9fff]|$)(?! ?(?:and|or|to)\b)")


def plain(text: str) -> str:
    """The text with one spelling for each character; letter case and line breaks are kept."""
    text = _INVISIBLE.sub("", text).translate(_SIGNS)
    text = unicodedata.normalize("NFKC", _VULGAR.sub(" ", text))
    if _HAN.search(text):
        text = _converter().convert(text)
    if not text.isascii():
        text = _without_accents(text)
        text = _DASHES.sub("-", text)
        text = _DOTS.sub("·", text)
        text = _DECIMAL.sub(".", text)
    text = _NOT.sub(_spelled_out, text)
    text = re.sub("['’‘`′]", "", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" ?\n[ \n]*", "\n", text).strip()
    text = _INITIALS.sub(lambda m: m[0].replace(".", ""), text)
    text = _THOUSANDS.sub(lambda m: m[0].replace(",", ""), text)
    text = _DOTTED_THOUSANDS.sub(lambda m: m[0].replace(".", ""), text)
    return _DECIMAL_COMMA.sub(r"\1.\2", text)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f"))


def _spelled_out(match: re.Match[str]) -> str:
    if match[0].lower() == "cannot":
        return "can not"
    return _FULL[match[1].lower()] if match[1] else " not"


@cache
def _converter() -> Any:
    import opencc

    return opencc.OpenCC("t2s")
