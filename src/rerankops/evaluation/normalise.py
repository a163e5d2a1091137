"""When two answers say the same: width, case, spaces, punctuation, units and numerals made equal, then containment.

A text becomes a list of tokens: words of letters, single Chinese characters, and quantities. Containment compares
tokens, never characters, so "5" is not found in "15" or in "X5", nor "4.5L" in "14.5L". A quantity carries its unit in
a base unit of its kind, so 四点五升 = 4.5 L = 4500 ml and 五千克 = 5 kg; an accepted answer without a unit matches the
number as it was written.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Token:
    """A word, a Chinese character, or a quantity.

    text: as compared: the word, the character, or the plain number.
    value, kind: the quantity in the base unit of its kind; None for words and bare numbers.
    """

    text: str
    value: float | None = None
    kind: str | None = None

    def says(self, accepted: Token) -> bool:
        """Whether this token of an answer says what that token of an accepted answer does."""
        if accepted.kind is not None:
            return self.kind == accepted.kind and self.value == accepted.value
        return self.text == accepted.text


_UNITS: tuple[tuple[str, float, str], ...] = (
    # kind, factor to its base unit, spellings
    ("volume", 1, "升|公升|l|liter|liters|litre|litres"),
    ("volume", 1e-3, "毫升|ml|cc"),
    ("volume", 1e3, "立方米|m3|立方"),
    ("length", 1e3, "千米|公里|km|kms|kilometer|kilometers|kilometre|kilometres"),
    ("length", 1, "米|m|meter|meters|metre|metres"),
    ("length", 1e-2, "厘米|公分|cm|centimeter|centimeters|centimetre|centimetres"),
    ("length", 1e-3, "毫米|mm|millimeter|millimeters|millimetre|millimetres"),
    ("length (inch)", 1, "英寸|inch|inches"),
    ("length (foot)", 1, "英尺|ft|foot|feet"),
    ("length (mile)", 1, "英里|mile|miles|mi"),
    ("pressure", 1e3, "千帕|kpa"),
    ("pressure", 1e6, "兆帕|mpa"),
    ("pressure", 1e5, "巴|bar|bars"),
    ("pressure", 1, "帕|pa"),
    ("pressure (psi)", 1, "psi"),
    ("power", 1e3, "千瓦|kw|kilowatt|kilowatts"),
    ("power", 1, "瓦|瓦特|w|watt|watts"),
    ("power (hp)", 1, "马力|匹|hp|ps|bhp|horsepower"),
    ("energy", 1, "千瓦时|度电|kwh|kw·h"),
    ("torque", 1, "牛·米|牛米|牛顿米|牛顿·米|n·m|nm|n.m|n-m"),
    ("temperature", 1, "摄氏度|°c|度|°|degree|degrees|celsius|degrees celsius|degree celsius"),
    ("temperature (F)", 1, "华氏度|°f|fahrenheit|degrees fahrenheit"),
    ("time", 3600, "小时|个小时|钟头|个钟头|h|hr|hrs|hour|hours"),
    ("time", 60, "分钟|分|min|mins|minute|minutes"),
    ("time", 1, "秒|秒钟|s|sec|secs|second|seconds"),
    ("days", 1, "天|day|days"),
    ("days", 7, "周|个星期|星期|个礼拜|week|weeks"),
    ("months", 1, "个月|month|months"),
    ("months", 12, "年|year|years"),
    ("mass", 1e3, "千克|公斤|kg|kgs|kilogram|kilograms"),
    ("mass", 1, "克|g|gram|grams"),
    ("mass", 1e6, "吨|t|tonne|tonnes"),
    ("voltage", 1, "伏|伏特|v|volt|volts"),
    ("current", 1, "安|安培|a|amp|amps|ampere|amperes"),
    ("charge", 1, "安时|ah|a·h"),
    ("charge", 1e-3, "毫安时|毫安|mah"),
    ("rotation", 1, "转/分|转/分钟|转每分钟|转每分|r/min|rpm"),
    ("speed", 1, "公里/小时|千米/小时|公里/时|千米/时|公里每小时|千米每小时|km/h|kmh|kph"),
    ("speed (mph)", 1, "英里/小时|mph|miles per hour"),
    ("consumption", 1, "升/百公里|升/100公里|升每百公里|l/100km|l/100 km"),
    ("money", 1, "元|块|块钱|元人民币|人民币|rmb|yuan|cny"),
    ("share", 1, "%|percent|per cent"),
)
_UNIT: dict[str, tuple[str, float]] = {
    spelling: (kind, factor) for kind, factor, spellings in _UNITS for spelling in spellings.split("|")
}
_SPELLINGS = sorted(_UNIT, key=len, reverse=True)
_UNIT_PATTERN = "|".join(
    re.escape(spelling) + (r"(?![a-z0-9])" if spelling[-1].isascii() and spelling[-1].isalnum() else "")
    for spelling in _SPELLINGS
)
_CHINESE_UNITS = "|".join(re.escape(spelling) for spelling in _SPELLINGS if not spelling.isascii())

_DIGITS = {**{c: i for i, c in enumerate("零一二三四五六七八九")}, "〇": 0, "两": 2, "俩": 2}
_SCALES = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10_000, "亿": 100_000_000}
_NUMERALS = "零〇一二两三四五六七八九十百千万亿"
_MEASURES = f"(?:{_CHINESE_UNITS}|[个次月日号挡档级座门种名位人岁点层章节条项台辆倍缸速款把根组颗期届部集首代世])"

_NUMERAL = re.compile(rf"[{_NUMERALS}]+(?:点[零〇一二三四五六七八九]+)?")
_PLAIN_NUMERAL = re.compile(r"[零〇一二三四五六七八九]+")
_COUNTED = re.compile(_MEASURES)
_PERCENT = re.compile(rf"百分之(\d+(?:\.\d+)?|[{_NUMERALS}]+(?:点[零〇一二三四五六七八九]+)?)")
_MIXED = re.compile(rf"(\d+(?:\.\d+)?)([万亿]|[百千](?=(?:{_MEASURES}|$|[^\w])))(?!分之|\d)")
_WHOLE_AND_HALF = re.compile(rf"(?<![\d.])(\d+)(?:个半({_CHINESE_UNITS}|月)|(个小时|小时|年|天|米|升|公里|公斤)半)")
_HALF = re.compile(rf"(?<![一大])半(?=个?(?:{_CHINESE_UNITS}|月))")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACED_THOUSANDS = re.compile(rf"(?<![\d.,])(?<!\d )\d{{1,3}}(?: \d{{3}})+(?= ?(?:{_UNIT_PATTERN}))")
_INITIALS = re.compile(r"(?<![a-z])(?:[a-z]\.){2,}")
_OIL = re.compile(r"(?<![a-z0-9])(\d{1,2})w[ -]?(\d{2})(?![a-z0-9])")
_TYRE = re.compile(r"(?<![a-z0-9])(\d{3})/(\d{2}) ?(z?r) ?(\d{2})(?!\d)")
_QUANTITY_BEFORE = re.compile(r"\d ?[a-z][a-z/·]*$")
_BELOW_ZERO = re.compile(r"零下(?=\d)|(?<![\w%°)])-(?=\d)")
_CURRENCY = re.compile(r"[¥$€£](?= ?\d)")
_TOKEN = re.compile(
    r"(?P<grade>\d{1,2}w-\d{2}(?![a-z0-9]))"
    r"|(?P<tyre>\d{3}/\d{2}z?r\d{2})"
    rf"|(?P<number>⁻?\d+(?:\.\d+)?)(?: ?(?P<unit>{_UNIT_PATTERN})|(?![a-z0-9]|\.\d))"
    r"|(?P<word>[a-z0-9]+)"
    r"|(?P<percent>%)"
    r"|(?P<letter>[^\W\d_])"
)
_ARTICLES = frozenset({"a", "an", "the"})
_TEENS = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
)
_TENS = "thirty forty fifty sixty seventy eighty ninety"
_ENGLISH = {word: value for value, word in enumerate(_TEENS.split(), start=2)} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), start=3)
}
"""Without "one", which mostly is a pronoun."""
_ENGLISH_NUMBER = re.compile(
    r"\b(?:(twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)[ -](one|two|three|four|five|six|seven|eight|nine)"
    rf"|({'|'.join(sorted(_ENGLISH, key=len, reverse=True))}))\b"
)
_HAS_NUMERAL = re.compile(f"[{_NUMERALS}半]")
_ENGLISH_UNIT_DIGIT = {**_ENGLISH, "one": 1}


def contains(answer: str, accepted_answers: Iterable[str]) -> bool:
    """Whether the answer says any of the accepted answers, both normalised."""
    said = tokens(answer)
    return any(_inside(said, tokens(accepted)) for accepted in accepted_answers)


def _inside(said: tuple[Token, ...], accepted: tuple[Token, ...]) -> bool:
    if not accepted:
        return False
    width = len(accepted)
    return any(
        all(said[start + offset].says(accepted[offset]) for offset in range(width))
        for start in range(len(said) - width + 1)
    )


def normalise(text: str) -> str:
    """The tokens of a text as one readable line, quantities in their base unit; equal lines mean equal answers."""
    return " ".join(f"{t.value:.12g} {t.kind}" if t.kind is not None else t.text for t in tokens(text))


@lru_cache(maxsize=65_536)
def tokens(text: str) -> tuple[Token, ...]:
    """The text's tokens in order; punctuation, spaces and English articles are gone."""
    return tuple(_scan(_numerals(_characters(text))))


def _characters(text: str) -> str:
    """One width, one case, no accents on Latin letters, one kind of dash and dot."""
    text = unicodedata.normalize("NFKC", text.replace("℃", "°c").replace("℉", "°f").replace("º", "°"))
    decomposed = unicodedata.normalize("NFD", text.casefold())
    text = unicodedata.normalize("NFC", "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f"))
    text = re.sub("[‐‑‒–—―−]", "-", text)
    text = re.sub("[・•∙⋅‧×]", "·", text)
    text = re.sub("['’‘`]", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = _INITIALS.sub(lambda m: m[0].replace(".", ""), text)
    text = _THOUSANDS.sub(lambda m: m[0].replace(",", ""), text)
    text = _SPACED_THOUSANDS.sub(lambda m: m[0].replace(" ", ""), text)
    text = _OIL.sub(r"\1w-\2", text)
    return _TYRE.sub(r"\1/\2\3\4", text)


def _numerals(text: str) -> str:
    """Chinese and English numerals written as digits, where they count something."""
    text = _ENGLISH_NUMBER.sub(_english, text)
    if _HAS_NUMERAL.search(text):
        text = _PERCENT.sub(lambda m: f"{_plain(m[1] if m[1][0].isdigit() else _chinese(m[1]))}%", text)
        text = _NUMERAL.sub(lambda m: _counted(m, text), text)
        text = _MIXED.sub(lambda m: _plain(float(m[1]) * {**_SCALES, **_MYRIADS}[m[2]]), text)
        text = _WHOLE_AND_HALF.sub(_whole_and_half, text)
        text = _HALF.sub("0.5", text)
    return _BELOW_ZERO.sub("⁻", text)


def _english(match: re.Match[str]) -> str:
    tens, unit, single = match.groups()
    return str(_ENGLISH[single] if single else _ENGLISH[tens] + _ENGLISH_UNIT_DIGIT[unit])


def _counted(match: re.Match[str], text: str) -> str:
    """Digits for a Chinese numeral that counts; 一般, 统一 and 万一 stay words.

    It counts when it is the whole text, stands before a measure word or unit, after 第, or is at least two long and
    well formed. 十分 (not 十分钟) and 一点 stay words too.
    """
    numeral = match[0]
    before, after = text[: match.start()], text[match.end() :]
    if numeral[-1] in "千百万亿" and len(numeral) > 1 and _before_kilo(numeral, after):
        numeral, after = numeral[:-1], numeral[-1] + after
    tail = match[0][len(numeral) :]
    value = _chinese(numeral)
    if value is None or not math.isfinite(value) or before[-1:].isdigit():
        return match[0]
    whole = not before and not after
    counts = before.endswith("第") or _COUNTED.match(after) is not None
    if (numeral == "十" and re.match("分(?!钟)", after)) or (numeral == "一" and after.startswith("点")):
        counts = False
    long = len(numeral) >= 2 and not re.fullmatch(r"[千百万亿]+", numeral)
    if not (whole or counts or long):
        return match[0]
    apart = " " if _QUANTITY_BEFORE.search(before) else ""  # 6000km一次 is not 6000 km1
    return apart + _plain(value) + tail


def _before_kilo(numeral: str, after: str) -> bool:
    """五千克 is five kilograms and 五千米 five kilometres; 五百米 is five hundred metres."""
    return numeral[-1] == "千" and re.match("米|克|帕|瓦", after) is not None


def _chinese(numeral: str) -> float | None:
    """The value of a Chinese numeral, None when it is none: 一百二十 120, 两万 20000, 四点五 4.5, 二〇一〇 2010."""
    whole, _, fraction = numeral.partition("点")
    if fraction:
        value = _chinese(whole)
        return None if value is None else float(f"{value:.0f}.{''.join(str(_DIGITS[c]) for c in fraction)}")
    if len(whole) > 1 and _PLAIN_NUMERAL.fullmatch(whole):
        return float("".join(str(_DIGITS[c]) for c in whole))
    total = section = 0
    digit: int | None = None
    last = 10
    for character in whole:
        if character in _DIGITS:
            if digit:
                return None
            digit = _DIGITS[character]
        elif character in _SCALES:
            section += (1 if digit is None else digit) * _SCALES[character]
            digit, last = None, _SCALES[character]
        else:
            if not section and digit is None and not total:
                section = 1
            total = (total + section + (digit or 0)) * _MYRIADS[character]
            section, digit, last = 0, None, _MYRIADS[character]
    if digit and last > 10 and whole[-2:-1] in "百千万":  # 一百二 is 120, 两万五 is 25000
        digit *= last // 10
    return float(total + section + (digit or 0))


def _whole_and_half(match: re.Match[str]) -> str:
    number, counted, unit = match.groups()
    if counted == "月":
        return f"{number}.5个月"
    return f"{number}.5{counted or unit}"


def _plain(value: float | str | None) -> str:
    """A number as it is compared: no leading or trailing zeros; longer ones than a float holds stay as they stand."""
    if isinstance(value, str) and len(value) > 15:
        return value
    number = float(value or 0)
    return f"{number:.0f}" if number.is_integer() else f"{number:.10g}"


def _scan(text: str) -> Iterable[Token]:
    text = _CURRENCY.sub("", text)
    for match in _TOKEN.finditer(text):
        kind, found = match.lastgroup, match[0]
        if match["number"]:
            yield _quantity(match["number"].replace("⁻", "-"), match["unit"])
        elif kind == "word" and found in _ARTICLES:
            continue
        else:
            yield Token(found)


def _quantity(number: str, unit: str | None) -> Token:
    plain = _plain(number)
    if unit is None:
        return Token(plain)
    kind, factor = _UNIT[unit]
    return Token(plain, float(f"{float(number) * factor:.12g}"), kind)
