"""Tokenises a text: words, Chinese characters, quantities, dates, times of day and codes, each with its position.

A quantity has a value or two ends, the meanings of its unit, and a bound (at least, at most). Values that are written
in several pieces become one token: 2.3~2.5bar, 1小时30分钟, 不超过120km/h, 机油容量（L）：4.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from rerankops.evaluation.normalise import dates
from rerankops.evaluation.normalise.characters import MINUS, OVER, plain
from rerankops.evaluation.normalise.numerals import digits, written
from rerankops.evaluation.normalise.quantities import Quantity
from rerankops.evaluation.normalise.units import CURRENCY_SIGNS, UNITS, known
from rerankops.evaluation.normalise.words import polarity, spelled


@dataclass(frozen=True)
class Token:
    """text: the form that is compared. start, end: position in the text of `Read`. At most one of quantity, days and
    time is set.

    bound: "min", "max" or "". strict: whether a bound excludes its own value; None where the words do not say. parts:
    the two ends of a range. capitals: whether it was written in capitals.
    """

    text: str
    start: int
    end: int
    quantity: Quantity | None = None
    days: tuple[dates.Day, ...] = ()
    time: tuple[int, ...] = ()
    bound: str = ""
    strict: bool | None = None
    parts: tuple[Token, ...] = ()
    capitals: bool = False


@dataclass(frozen=True)
class Read:
    """A text as it was understood: rewritten with digits and uniform signs, and its tokens in order."""

    text: str
    tokens: tuple[Token, ...]

    @cached_property
    def by_text(self) -> dict[str, list[int]]:
        """The indices of the tokens with each text."""
        found: dict[str, list[int]] = {}
        for place, token in enumerate(self.tokens):
            found.setdefault(token.text, []).append(place)
        return found


_ARTICLES = frozenset({"a", "an", "the"})
_OIL = re.compile(r"(?<![A-Za-z0-9])(\d{1,2})[Ww][ -]?(\d{2})(?![A-Za-z0-9])")
_TYRE = re.compile(r"(?<![A-Za-z0-9])(\d{3})/(\d{2}) ?(Z?R) ?(\d{2})(?!\d)", re.IGNORECASE)
_SPACED = re.compile(
    rf"(?<![\d.,])(?<!\d )\d{{1,3}}(?: \d{{3}})+(?= ?(?:{UNITS}))|^\d{{1,3}}(?: \d{{3}})+$", re.IGNORECASE
)
_PHONE = re.compile(
    r"(?<![\w-])(?:0\d{2,3}[- ]\d{7,8}|\d{3,4}-\d{3,4}-\d{3,4}(?:-\d{3,4})?|1\d{2}[- ]\d{4}[- ]\d{4})(?![\w-])"
)
_CURRENCY = re.compile(rf"([¥$€£]) ?({MINUS}?\d+(?:\.\d+)?)(?: ?(?:元|dollars?|euros?|yuan|usd|rmb))?", re.IGNORECASE)
_TYPED_FRACTION = re.compile(rf"(?<![\d/.:{MINUS}-])(\d{{1,2}})/(\d{{1,3}})(?![\d/.:-])")
_MIXED_NUMBER = re.compile(rf"(?<![\d.{OVER}])(\d+)[ -](\d){OVER}(\d{{1,2}})(?!\d)")
_SPEED = re.compile(
    r"(?:(?:时速|每小时)(?:为|约|大约|是)?|((?:时速|车速|每小时)[^\d,;。\n]{0,6}))(\d+(?:\.\d+)?(?:(?:公里|千米)?[至到~-]\d+(?:\.\d+)?)?)(?:公里|千米)(?![/每])"
)
_ORDINAL = re.compile(r"第(?=\d+(?:[档挡层楼级号页代区环]|季度))")
"""Before these words a number identifies something, with or without 第."""
_HYPHEN_MINUS = re.compile(
    r"(?<![0-9A-Za-z%°)\]\u3400-\u9fff])-(?=\d)|(?<=[为是达到至于在约近低高了零以~])-(?=\d)"
    r"|(?<=[\u3400-\u9fff])-(?=\d+(?:\.\d+)?(?: ?[~至到-] ?-?\d+(?:\.\d+)?)? ?(?:°|度|摄氏|%|伏|v\b))",
    re.IGNORECASE,
)
_WORD_OF_HOURS = re.compile(r"(?<=\d)h(?=\d)", re.IGNORECASE)
_TOKEN = re.compile(
    r"(?P<han>[\u3400-\u9fff])"  # first, since it is the quickest to match
    r"|(?P<grade>\d{1,2}W-\d{2}(?![A-Za-z0-9]))"
    r"|(?P<tyre>\d{3}/\d{2}Z?R\d{2})"
    rf"|{dates.PATTERN}"
    r"|(?P<year>(?<![\d.])[12]\d{3} ?年(?![级代龄多来度])(?!\d{1,2}个?月(?!\d{1,2}[日号])(?=.{0,2}保))|(?<![\d.])[12]\d{3} ?年度?代?)"
    rf"|(?P<number>{MINUS}?\d+(?:\.\d+|{OVER}\d+)?)(?: ?-?(?P<unit>{UNITS})|(?![A-Za-z0-9{OVER}]|\.\d))"
    r"|(?P<word>[A-Za-z](?:\+\+|\#)(?![A-Za-z0-9])|N/A|[A-Za-z]+\d+(?:\.\d+)+[A-Za-z0-9]*|\d+(?:\.\d+)+[A-Za-z]?[A-Za-z0-9]*|[A-Za-z0-9]+|%)"
    r"|(?P<letter>[^\W\d_])",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def read(text: str) -> Read:
    """Tokenises a text. Punctuation, spaces and English articles are not tokens."""
    text = rewritten(text)
    found = list(_scan(text))
    if any(token.quantity or token.time or token.days for token in found):
        from rerankops.evaluation.normalise.joining import joined

        found = joined(text, found)
    return Read(text, tuple(found))


def rewritten(text: str) -> str:
    """The text that the positions of tokens refer to."""
    text = polarity(plain(text))
    if text.isascii() and text.isalpha():
        return digits(text)
    text = _TYRE.sub(r"\1/\2\3\4", _OIL.sub(r"\1W-\2", digits(text)))
    text = _SPEED.sub(r"\1\2公里时速", text) if "时" in text else text
    text = _ORDINAL.sub("", text) if "第" in text else text
    text = _SPACED.sub(lambda m: m[0].replace(" ", ""), text)
    text = _PHONE.sub(lambda m: re.sub("[- ]", "", m[0]), text)
    text = _TYPED_FRACTION.sub(_fraction, text)
    text = _MIXED_NUMBER.sub(lambda m: written(int(m[1]) + int(m[2]) / max(1, int(m[3]))), text)
    text = _HYPHEN_MINUS.sub(MINUS, text)
    text = _WORD_OF_HOURS.sub("h ", text)
    return _CURRENCY.sub(lambda m: f"{m[2]} {CURRENCY_SIGNS[m[1]]}", text)


def _fraction(match: re.Match[str]) -> str:
    """Rewrites 1/3 as a fraction; 24/7 is not one. 5/12 may mean a date, but it still equals another 5/12."""
    part, whole = int(match[1]), int(match[2])
    return f"{match[1]}{OVER}{match[2]}" if 0 < part < whole else match[0]


def _scan(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        start, end, found = match.start(), match.end(), match[0]
        if match.lastgroup in ("han", "letter"):
            yield Token(spelled(found), start, end)
            continue
        if match["number"]:
            yield from _number(match)
            continue
        group = next((name for name in dates.GROUPS if match[name]), None)
        if group and (days := dates.days(group, found)):
            yield Token(str(days[0]), start, end, days=days)
        elif match["time"]:
            time = dates.minutes(found)
            yield Token(re.sub(r"\s", "", found.lower()), start, end, time=time)
        elif match["year"]:
            decade = found.endswith("代")
            yield Token(found[:4], start, start + 4 if decade else end, Quantity.of(found[:4], "year"))
            if decade:
                yield from (Token("年", start + 4, end - 1), Token("代", end - 1, end))
        elif group:
            yield from (
                Token(spelled(piece[0]), start + piece.start(), start + piece.end())
                for piece in re.finditer(r"[^\W\d_]|\d+", found)
            )
        elif match["word"]:
            if found.lower() in _ARTICLES and not (found == "A" and not re.match(r" [a-z]", text[end : end + 2])):
                continue
            yield Token(spelled(found), start, end, capitals=found.isupper() and 1 < len(found) <= 3)
        else:  # an oil grade or a tyre size
            yield Token(found.lower(), start, end)


def _number(match: re.Match[str]) -> Iterator[Token]:
    number, start, end = match["number"].replace(MINUS, "-"), match.start(), match.end()
    if match["unit"] is None:
        yield Token(_plainly(number, match), start, end, Quantity.of(number))
        return
    unit = known(match["unit"])
    if unit is not None:
        yield Token(_plainly(number, match), start, end, Quantity.of(number, unit))
        return
    if match.end("number") == match.start("unit"):  # 2.0T and 4S are one word
        yield Token(match[0].replace(MINUS, "").lower(), start, end)
        return
    yield Token(_plainly(number, match), start, match.end("number"), Quantity.of(number))
    yield Token(match["unit"].lower(), match.start("unit"), end)


_VERSIONED = re.compile(r"(?:\bversion|\bver\.?|\bv|版本号?|版|[A-Z][A-Za-z]+)(?: is| of|为|是|:)* ?$")


def _plainly(number: str, match: re.Match[str]) -> str:
    """The form in which a number without a unit is compared: 4.50 is 4.5, but version 3.10 is not 3.1."""
    if "." in number and match["unit"] is None and number.endswith("0"):
        before = match.string[max(0, match.start() - 24) : match.start()]
        if _VERSIONED.search(before):
            return number
    return Quantity.plain(number)


def with_unit(token: Token, unit: str) -> Token:
    """The same number with a unit that is given elsewhere in the text."""
    return replace(token, quantity=token.quantity and token.quantity.measured(unit))
