"""Rewrites numerals in words as digits, where they count something: 两万五 becomes 25000, three quarters 3⁄4, 三五分钟
3~5分钟.

cn2an reads Chinese numerals and text2num English ones. This module decides when a numeral counts something (it does not
in 一般, 十分重要 and "one of them") and adds what neither library reads: fractions, shares, halves, and two
neighbouring digits that mean "about".
"""

from __future__ import annotations

import re
from functools import lru_cache

from rerankops.evaluation.normalise.characters import MINUS, OVER
from rerankops.evaluation.normalise.units import CHINESE_UNITS

_DIGITS = "零〇一二两三四五六七八九"
_NUMERALS = _DIGITS + "十百千万亿"
_NUMBER = rf"(?:\d+(?:\.\d+)?|[{_NUMERALS}]+(?:点[{_DIGITS}]+)?)"
MEASURES = (
    rf"(?:{CHINESE_UNITS}|[个次月日号挡档级座门种名位人岁点层章节条项台辆倍缸速款把根组颗期届部集首代世只张楼排本页篇句行列"
    "圈下步格件套支瓶杯盒包袋桶家户场站线路段局轮回遍阶票分天年秒元]|多个)"
)
_NUMERAL = re.compile(rf"[{_NUMERALS}]+(?:点[{_DIGITS}]+)?")
_COUNTED = re.compile(rf"{MEASURES}|[至到~-]个?{_NUMBER}个?{MEASURES}")
_HAS_NUMERAL = re.compile(f"[{_NUMERALS}半成负前]|[上下中]午|分之|\\d[点时米块斤公万亿]")
_MIXED = re.compile(rf"(\d+(?:\.\d+)?) ?([万亿]|[百千](?=(?:{MEASURES}|$|[^\w])))(?!分之|\d)")
_MIXED_SUM = re.compile(r"(?<![\d.])(\d+)([万亿])零?(\d+)([百千万]?)(?![\d.])")
_SCALE = {"百": 100.0, "千": 1000.0, "万": 1e4, "亿": 1e8}
_MIXED_UNIT = re.compile("千[米克帕瓦卡伏赫]")

_SHARE_OF = re.compile(rf"(百|千|万|{_NUMBER})分之({_NUMBER})")
_SHARES = {"百": "%", "千": "‰"}
_TENTHS = re.compile(r"([一二两三四五六七八九]|\d)成(半|[一二三四五六七八九])?(?![为功熟品就员立本分交])")
_HALF = re.compile(r"(?<![一大前后上下])一半(?!个)|(?<![大前后上下])半数")
_AND_HALF = re.compile(
    rf"(?<![\d.])(\d+)(?:个半(小时|钟头|月|{CHINESE_UNITS})|(个?小时|年|天|米|升|公里|公斤|斤|吨|英里|英寸)半(?!夜|年|天))"
)
_HALF_OF = re.compile(rf"(?<![一大\d])半(?=个?(?:{CHINESE_UNITS}|月))")
_METRES = re.compile(r"(?<![\d.])(\d+)(米|块|公里|斤)(\d{1,2})(?![\d.]|[个次月日号%]|[A-Za-z])")

_PAIR = re.compile(
    rf"(?<![{_NUMERALS}\d])((?:[{_NUMERALS}]*[十百千万])?)(一两|一二|两三|二三|三四|三五|四五|五六|六七|七八|八九)"
    rf"([十百千万亿]*)(?=个?(?:{MEASURES})|$)"
)
_BELOW_ZERO = re.compile(rf"(?:零下|公元前|(?<![\u3400-\u9fff])前(?=\d{{1,4}}年)|负) ?(?=[\d{_DIGITS}十百])")
_CLOCK = re.compile(
    r"(凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜里)?(\d{1,2})(?:点|时)"
    r"(?:(整|钟)|(半)|(一|三)刻|(\d{1,2})分?(?![\d.个]))"
)
_CLOCK_WORDS = re.compile(
    rf"([{_NUMERALS}]{{1,3}})点(钟|整|半|[一三]刻|[{_DIGITS}]?十[{_DIGITS}]?分?|[{_DIGITS}]{{1,2}}分)"
)
_HOURS = re.compile(r"(?<!\d)(\d{1,2})点钟?([至到~-])(\d{1,2})点钟?(?![\d半一三])")
_HOUR = re.compile(r"(凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜里)(\d{1,2})点(?!\d)")


def digits(text: str) -> str:
    """The text with its numerals as digits. text: as `characters.plain` returns it."""
    if _ENGLISH.search(text):
        text = _english(text)
    if _HAS_NUMERAL.search(text):
        text = _chinese(text)
    return _BELOW.sub(f"{MINUS}\\1\\2", _MINUS_WORD.sub(MINUS, text))


# -- Chinese ----------------------------------------------------------------------------------------------------------


def _chinese(text: str) -> str:
    text = _BELOW_ZERO.sub(MINUS, text)
    text = _CLOCK_WORDS.sub(_clock_digits, text)
    text = _SHARE_OF.sub(_share, text)
    text = _TENTHS.sub(_tenths, text)
    text = _HALF.sub(f"1{OVER}2", text)
    text = _PAIR.sub(_about, text)
    text = _NUMERAL.sub(lambda m: _counted(m, text), text)
    text = _MIXED_SUM.sub(_total, text)
    text = _MIXED.sub(_times, text)
    text = _AND_HALF.sub(_and_half, text)
    text = _HALF_OF.sub("0.5", text)
    text = _METRES.sub(r"\1.\3\2", text)
    text = _HOURS.sub(r" \1:00 \2 \3:00 ", text)
    text = _CLOCK.sub(_clock, text)
    return _HOUR.sub(_hour, text)


@lru_cache(maxsize=4096)
def value(numeral: str) -> float | None:
    """The value of a Chinese numeral, or None when it is not one: 一百二十 120, 两万 20000, 四点五 4.5, 二〇一〇
    2010."""
    if re.fullmatch(r"\d+(?:\.\d+)?", numeral):
        return float(numeral)
    import cn2an

    if numeral[0] in "百千万亿":  # 万里, 百公里: a leading 一 is left out
        numeral = "一" + numeral
    try:
        return float(cn2an.cn2an(numeral.replace("俩", "两"), "smart"))
    except (ValueError, KeyError, OverflowError):  # not well formed, or too large for a float
        return None


def written(number: float) -> str:
    """A number in the form that is compared: without leading or trailing zeros."""
    return f"{number:.0f}" if number == int(number) else f"{number:.10g}"


def _share(match: re.Match[str]) -> str:
    of, numeral = match.groups()
    part = value(numeral)
    if part is None:
        return match[0]
    if of in _SHARES:
        return written(part) + _SHARES[of]
    whole = value(of)
    return match[0] if whole is None else f"{written(part)}{OVER}{written(whole)}"


def _tenths(match: re.Match[str]) -> str:
    tens = value(match[1]) or 0
    ones = 5 if match[2] == "半" else (value(match[2]) or 0) if match[2] else 0
    return f"{written(10 * tens + ones)}%"


def _about(match: re.Match[str]) -> str:
    """Two neighbouring digits as a range: 三五分钟, 二十七八岁. In 五六十 both share the 十."""
    head, pair, scale = match.groups()
    ends = [value(head + one + scale) for one in pair]
    if ends[0] is None or ends[1] is None or not ends[0] < ends[1]:
        return match[0]
    return f"{written(ends[0])}~{written(ends[1])}"


def _counted(match: re.Match[str], text: str) -> str:
    """Digits for a numeral that counts something; 一般, 统一 and 万一 stay words.

    A numeral counts when it is the whole text, when it stands before a measure word or a unit or after 第, or when it
    is well formed and has at least two characters. 十分 (except in 十分钟) and 一点 stay words too.
    """
    numeral = match[0]
    before, after = text[: match.start()], text[match.end() :]
    if numeral[-1] == "千" and len(numeral) > 1 and _MIXED_UNIT.match("千" + after[:1]):
        numeral, after = numeral[:-1], "千" + after  # 五千克 is five kilograms; 五百米 is five hundred metres
    tail = match[0][len(numeral) :]
    found = value(numeral)
    if found is None or before[-1:].isdigit():
        return match[0]
    whole = not before and not after
    counts = before.endswith("第") or _COUNTED.match(after) is not None
    if (numeral == "十" and re.match("分(?!钟)", after)) or (numeral == "一" and re.match("点|下|些|种", after)):
        counts = False
    long = len(numeral) >= 2 and not re.fullmatch(r"[千百万亿]+", numeral)
    if not (whole or counts or long):
        return match[0]
    apart = " " if re.search(r"\d ?[A-Za-z][A-Za-z/·]*$", before[-12:]) else ""  # 6000km一次 is not 6000 km1
    return apart + written(found) + tail


def _total(match: re.Match[str]) -> str:
    """Adds up a number with two scales: 1亿2000万, 3万5千."""
    large, scale, small, ones = match.groups()
    rest = float(small) * (_SCALE[ones] if ones else 1.0)
    return written(float(large) * _SCALE[scale] + rest) if 10 <= rest < _SCALE[scale] else match[0]


def _times(match: re.Match[str]) -> str:
    number, scale = match.groups()
    if scale == "千" and _MIXED_UNIT.match(match.string[match.end() - 1 : match.end() + 1]):
        return match[0]
    return written(float(f"{float(number) * _SCALE[scale]:.12g}"))


def _and_half(match: re.Match[str]) -> str:
    number, counted, unit = match.groups()
    return f"{number}.5{'个月' if counted == '月' else counted or unit}"


def _clock_digits(match: re.Match[str]) -> str:
    hour, rest = value(match[1]), match[2]
    if hour is None or hour > 24:
        return match[0]
    if rest[0] in "钟整半" or rest.endswith("刻"):
        return f"{written(hour)}点{rest}"
    minutes = value(rest.rstrip("分"))
    return match[0] if minutes is None else f"{written(hour)}点{written(minutes)}分"


def _clock(match: re.Match[str]) -> str:
    part, hour, _, half, quarter, minutes = match.groups()
    late = 30 if half else 15 * (1 if quarter == "一" else 3) if quarter else int(minutes or 0)
    if int(hour) > 24 or late > 59:
        return match[0]
    return f" {hour}:{late:02d} {_PARTS.get(part or '', '')}"


def _hour(match: re.Match[str]) -> str:
    return f" {match[2]}:00 {_PARTS[match[1]]}"


_PARTS = {
    **dict.fromkeys(("凌晨", "清晨", "早上", "早晨", "上午"), "am "),
    **dict.fromkeys(("下午", "傍晚", "晚上", "夜里"), "pm "),
}
_PARTS["中午"] = "pm "

# -- English ----------------------------------------------------------------------------------------------------------

_SMALL = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_OTHER = (
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety hundred thousand million billion trillion zero dozen"
)
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth thirtieth hundredth"
)
_ENGLISH = re.compile(
    rf"\b(?:{'|'.join(_SMALL)}|{_OTHER.replace(' ', '|')}|{_ORDINALS.replace(' ', '|')}|half|quarters?"
    r"|halves|thirds?|(?:twen|thir|for|fif|six|seven|eigh|nine)ty\w*)\b",
    re.IGNORECASE,
)
_COUNT = {word: number for number, word in enumerate(_SMALL, start=1)}
_WORD = rf"(?:\d+|{'|'.join(_SMALL)})"
_PARTS_OF = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "eighth": 8, "tenth": 10}
_FRACTION = re.compile(
    rf"\b({_WORD})[ -](half|halves|thirds?|quarters?|fourths?|fifths?|eighths?|tenths?)\b(?! (?:place|floor|gear|time))",
    re.IGNORECASE,
)
_A_PART = re.compile(r"\b(?:an? )?(third|quarter|fifth|tenth)(?= of\b)|\ba (quarter|third)(?=$|[.,;])", re.IGNORECASE)
_AND_A_HALF = re.compile(rf"\b({_WORD}) and (?:a|one) (half|quarter)\b", re.IGNORECASE)
_UNIT_AND_A_HALF = re.compile(rf"\b(an?|{_WORD}) (\w+) and a half\b", re.IGNORECASE)
_HALF_A = re.compile(r"\bhalf (?:an?|of an?) (?=\w)", re.IGNORECASE)
_PLAIN_HALF = re.compile(
    r"(?<!first )(?<!second )(?<!other )(?<!better )(?<!\d )(?<!\d-)\b(?:a |one )?half\b(?! past)(?!-)", re.IGNORECASE
)
_TIMES = re.compile(r"\b(\d+(?:\.\d+)?) ?(hundred|thousand|million|billion|trillion|dozen)\b", re.IGNORECASE)
_DOZENS = re.compile(rf"\b(an?|{_WORD}) dozen\b", re.IGNORECASE)
_POWERS = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "dozen": 12}
_LEFT_OVER = re.compile(
    rf"\b(?:({'|'.join(_SMALL[1:])})|(one)(?= (?:and|or|to) (?:\d|{'|'.join(_SMALL[1:])})"
    r"| (?:inch|foot|yard|mile|met(?:er|re)|kilo|centi|milli|lit(?:er|re)|gram|ton|pound|ounce|second|minute|hour|day"
    r"|week|month|year|century|percent|per cent|degree|dollar|euro|gallon|volt|amp|watt|bar)))\b",
    re.IGNORECASE,
)
_MINUS_WORD = re.compile(r"(?<![A-Za-z])(?:minus|negative) (?=\d)|(?<![A-Za-z])minus(?=\d)", re.IGNORECASE)
_BELOW = re.compile(
    rf"(?<![{MINUS}\d.])(\d+(?:\.\d+)?)((?: ?(?:°|degrees?)? ?(?:[CF]\b|celsius|fahrenheit)?)?) below zero", re.I
)


def _english(text: str) -> str:
    text = _AND_A_HALF.sub(lambda m: f"{_word(m[1])}.{'5' if m[2].lower() == 'half' else '25'}", text)
    text = _UNIT_AND_A_HALF.sub(lambda m: f"{_word(m[1])}.5 {m[2]}", text)
    text = _FRACTION.sub(_part, text)
    text = _A_PART.sub(lambda m: f"1{OVER}{_PARTS_OF[(m[1] or m[2]).lower()]}", text)
    text = _HALF_A.sub("0.5 ", text)
    text = _PLAIN_HALF.sub(f"1{OVER}2", text)
    text = _TIMES.sub(lambda m: written(float(m[1]) * _POWERS[m[2].lower()]), text)
    text = _DOZENS.sub(lambda m: str(12 * _word(m[1])), text)

    from text_to_num import alpha2digit

    text = alpha2digit(text, "en")
    return _LEFT_OVER.sub(lambda m: str(_COUNT[m[0].lower()]), text)


def _word(word: str) -> int:
    return 1 if word.lower() in ("a", "an") else int(word) if word.isdigit() else _COUNT[word.lower()]


def _part(match: re.Match[str]) -> str:
    name = match[2].lower()
    whole = _PARTS_OF.get(name) or _PARTS_OF[name.removesuffix("s")]
    count = _word(match[1])
    plural = name.endswith("s")
    if plural != (count > 1):  # neither "one thirds" nor "two third gears" is a fraction
        return match[0]
    return f"{count}{OVER}{whole}"
