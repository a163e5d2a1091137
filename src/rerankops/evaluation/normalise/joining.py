"""Joins quantities that are written in several pieces: units given once, 1小时30分钟, ranges, bounds."""

from __future__ import annotations

import re
from dataclasses import replace

from rerankops.evaluation.normalise.quantities import Quantity
from rerankops.evaluation.normalise.tokens import Token, with_unit
from rerankops.evaluation.normalise.units import UNITS, known, meanings


def joined(text: str, tokens: list[Token]) -> list[Token]:
    """The tokens of a text, with those that form one quantity joined."""
    if _HEAD.search(text):
        tokens = _heads(text, tokens)
    tokens = _compounds(text, tokens)
    tokens = _ranges(text, tokens)
    return _bounded(text, _spans(text, tokens))


# -- a unit in a heading: 机油容量（L）：4.5, 额定电压/V：220, | Voltage (V) | 230 | ------------------------------------------

_HEAD = re.compile(
    rf"[(\[] ?(?:单位 ?:? ?|in |unit:? ?)?({UNITS}) ?[)\]]|(?:/| in )({UNITS})(?= ?[:|=])|(?:单位|unit) ?[:为是] ?({UNITS})",
    re.IGNORECASE,
)
_SCOPE_ENDS = re.compile(r"[;。\n]|(?<=\D)\.(?= |$)")


def _heads(text: str, tokens: list[Token]) -> list[Token]:
    """Applies the unit given in a heading to the numbers after it that have none, up to the end of the sentence or the
    next heading. In a table, applies it to the numbers in the same column."""
    columns = _columns(text)
    heads = [(match.end(), unit) for match in _HEAD.finditer(text) if (unit := _unit(match))]
    found = []
    for token in tokens:
        if token.quantity is None or token.quantity.unit is not None:
            found.append(token)
            continue
        unit = next((unit for start, end, unit in columns if start <= token.start < end), None)
        if unit is None:
            before = [(place, unit) for place, unit in heads if place <= token.start]
            if before and not _SCOPE_ENDS.search(text, before[-1][0], token.start):
                unit = before[-1][1]
        found.append(with_unit(token, unit) if unit else token)
    return found


def _unit(match: re.Match[str]) -> str | None:
    written = match[1] or match[2] or match[3]
    return known(written)


def _columns(text: str) -> list[tuple[int, int, str]]:
    """Start, end and unit of each table cell below a heading with a unit. Cells are separated by |."""
    if "|" not in text or "\n" not in text:
        return []
    found: list[tuple[int, int, str]] = []
    units: list[str | None] = []
    place = 0
    for line in text.split("\n"):
        cells = line.split("|")
        if len(cells) > 1:
            own = [_unit(match) if (match := _HEAD.search(cell)) else None for cell in cells]
            if any(own):
                units = own
            elif len(cells) == len(units):
                start = place
                for cell, unit in zip(cells, units, strict=True):
                    if unit:
                        found.append((start, start + len(cell), unit))
                    start += len(cell) + 1
        else:
            units = []
        place += len(line) + 1
    return found


# -- 1小时30分钟, 5 feet 10 inches ------------------------------------------------------------------------------------------

_BETWEEN_PARTS = re.compile(r" ?(?:零|又|,? ?and )? ?$")


def _compounds(text: str, tokens: list[Token]) -> list[Token]:
    found: list[Token] = []
    for token in tokens:
        if found and (sum_ := _sum(text, found[-1], token)):
            found[-1] = sum_
        else:
            found.append(token)
    return found


def _sum(text: str, first: Token, second: Token) -> Token | None:
    one, two = first.quantity, second.quantity
    if not one or not two or not one.unit or not two.unit or "year" in (one.unit, two.unit):
        return None
    if one.unit == two.unit or not _BETWEEN_PARTS.fullmatch(text, first.end, second.start):
        return None
    large, small = meanings(one.unit)[0], meanings(two.unit)[0]
    value = two.numbers[0][0] * small.factor
    if large.kind != small.kind or large.offset or not 0 <= value < large.factor or one.numbers[0][0] % 1:
        return None
    total = f"{one.numbers[0][0] * large.factor / small.factor + two.numbers[0][0]:.12g}"
    return replace(first, text=total, end=second.end, quantity=Quantity.of(total, two.unit))


# -- ranges -----------------------------------------------------------------------------------------------------------

_TO = re.compile(r" ?(?:-|~|至|到|to|through|--) ?", re.IGNORECASE)
_AND = re.compile(r" ?(?:和|与|and) ?", re.IGNORECASE)
_OR_NEXT = re.compile(r" or | ?或 ?", re.IGNORECASE)
_BETWEEN = re.compile(r"(?:between|in the range of) (?:the )?(?:years )?$", re.IGNORECASE)
_ZH_BETWEEN = re.compile(r" ?(?:之间|间)")
CHANGES = re.compile(
    r"chang|increas|rais|extend|reduc|dropp?|rose\b|rise|lower|gr[eo]w|improv|cut |[改升降增减提缩]|延长|调整|变",
    re.IGNORECASE,
)


def _ranges(text: str, tokens: list[Token]) -> list[Token]:
    found: list[Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        near = (1, 2, 3) if token.quantity else ()
        other = next((place + n for n in near if _to(text, tokens, place, place + n)), None)
        if other is not None and (range_ := _range(token, tokens[other])):
            found.append(range_)
            place = other + 1
            continue
        found.append(token)
        place += 1
    return found


def _to(text: str, tokens: list[Token], first: int, second: int) -> bool:
    """Whether the text between two numbers makes them the ends of a range."""
    if second >= len(tokens) or not tokens[first].quantity or not tokens[second].quantity:
        return False
    low, high = tokens[first], tokens[second]
    between = text[low.end : high.start]
    counted = text[high.end : high.end + 1]
    if counted and not counted.isspace() and between.startswith(counted):  # 10人到15人
        between = between[1:]
    elif second - first > 2:
        return False
    if _TO.fullmatch(between):
        moving = low.quantity and low.quantity.unit and between.strip() in ("到", "至", "to")
        return not (moving and CHANGES.search(text, max(0, low.start - 16), low.start))
    if _AND.fullmatch(between):
        return bool(_BETWEEN.search(text, max(0, low.start - 30), low.start) or _ZH_BETWEEN.match(text, high.end))
    # "two or three days" is read as a range, as 两三天 is
    one, two = low.quantity, high.quantity
    if one is None or two is None:
        return False
    follows = one.unit is None and two.unit is not None and two.numbers[0][0] == one.numbers[0][0] + 1
    return follows and _OR_NEXT.fullmatch(between) is not None


def _range(low: Token, high: Token) -> Token | None:
    first, ends = low.quantity, high.quantity
    if first is None or ends is None:
        return None
    if _year(first) and first.unit is None and ends.unit is None and re.fullmatch(r"\d\d", ends.number):  # 2012-13
        ends = Quantity.of(first.number[:2] + ends.number)
    if (first.unit == "year") != (ends.unit == "year") and not (_year(first) and _year(ends)):
        return None
    quantity = first.to(ends)
    if quantity is None or not first.point or not ends.point:
        return None
    if first.unit is None and ends.unit is not None and ends.unit != "year":
        low = with_unit(low, ends.unit)
    elif ends.unit is None and first.unit is not None:
        high = with_unit(high, first.unit)
    return replace(low, text=quantity.number, end=high.end, quantity=quantity, parts=(low, high))


def _year(quantity: Quantity) -> bool:
    return quantity.unit in (None, "year") and len(quantity.number) == 4 and "1000" <= quantity.number <= "2999"


def _spans(text: str, tokens: list[Token]) -> list[Token]:
    """Drops the word between two dates or two times of day, so that spans match however they are written."""
    joins = {
        n
        for n in range(1, len(tokens) - 1)
        for low, high in [(tokens[n - 1], tokens[n + 1])]
        if ((low.days and high.days) or (low.time and high.time)) and _TO.fullmatch(text, low.end, high.start)
    }
    return [token for n, token in enumerate(tokens) if n not in joins]


# -- bounds -----------------------------------------------------------------------------------------------------------

_MORE = "超过|大于等于|大于|高于|多于|长于|超出|晚于|exceed(?:s|ing)?|more than|greater than|larger than|longer than|higher than|over|above"
_LESS = "小于等于|小于|低于|少于|短于|早于|不到|不足|未满|less than|fewer than|lower than|shorter than|smaller than|under|below"
_NEGATED = r"不(?:能够?|可以?|得|应该?|宜|要|会|允许|许)?|勿|(?:can |could |must |should |may |do |does |will |shall )?(?:not|never|no)(?: be)? "
_LEAST = "至少|最少|起码|at least|minimum(?: of)?|min\\.?|no earlier than|≥|>=|不下于?|不亚于"
_MOST = "至多|最多|上限(?:为|是)?|at most|up to|maximum(?: of)?|max\\.?|within|no later than|not later than|≤|<=|不出"
_LATIN_START = r"(?:(?<![A-Za-z])|(?=[\u3400-\u9fff]))"
_BEFORE = re.compile(
    rf"{_LATIN_START}(?:(?P<least>{_LEAST})|(?P<most>{_MOST})|(?P<neg>{_NEGATED})?(?:(?P<more>{_MORE}|>)|(?P<less>{_LESS}|<))) ?"
    r"(?:about |around |roughly |the |a |约|大约|有|达|达到|为|是)?(?:¥|\$|€|£)? ?$",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"(?:约|大约|大概|大致|差不多|将近|近|约为|(?<![A-Za-z])(?:about|around|approximately|roughly|circa|approx\.?|nearly|almost|some|~|≈)) ?$",
    re.IGNORECASE,
)
_ABOUT_AFTER = re.compile(r"(?P<counted>[个人次天年岁])?(?: ?(?:左右|上下|前后|or so\b))", re.IGNORECASE)
_AFTER = re.compile(
    r"(?P<counted> ?(?:周?岁|人|个|次|名|件|种|位|台|辆|people|persons|characters|items|times|years old|pieces))? ?"
    r"(?:(?P<least>(?:\(含\)|及其?|或者?)?以上|(?:and|or) (?:more|over|above|up|older|longer|higher)|\+(?!\d)|plus\b|minimum\b)"
    r"|(?P<most>(?:及其?|或者?)?以下|[之以]内|内(?![部侧容饰胎径外存])|(?:and|or) (?:less|fewer|under|below|younger|lower)|maximum\b|max\b))",
    re.IGNORECASE,
)


def _bounded(text: str, tokens: list[Token]) -> list[Token]:
    """Quantities with the bounds that the words around them set; these words are then no longer tokens."""
    found: list[Token] = []
    gone: list[tuple[int, int]] = []
    for token in tokens:
        if token.quantity is not None and token.quantity.unit != "year":
            before = text[max(0, token.start - 24) : token.start]
            if token.parts:
                gone += [(token.start - len(match[0]), token.start) for match in [_FROM.search(before)] if match] + [
                    match.span() for match in [_ZH_BETWEEN.match(text, token.end)] if match
                ]
            if match := _BEFORE.search(before):
                bound, strict = _direction(match)
                start = token.start - len(before) + match.start()
                gone.append((start, token.start))
                token = replace(token, start=start, bound=bound, strict=strict)
            elif match := _ABOUT.search(before):
                gone.append((token.start - len(before) + match.start(), token.start))
            elif match := _AFTER.match(text, token.end):
                from_ = match.end("counted") if match["counted"] else match.start()
                gone.append((from_, match.end()))
                end = token.end if match["counted"] else match.end()
                token = replace(token, end=end, bound="min" if match["least"] else "max")
            if match := _ABOUT_AFTER.match(text, token.end):
                gone.append((match.end("counted") if match["counted"] else match.start(), match.end()))
        found.append(token)
    if not gone:
        return found
    return [
        token
        for token in found
        if token.quantity or not any(start <= token.start and token.end <= end for start, end in gone)
    ]


_FROM = re.compile(r"(?:(?<![A-Za-z])(?:between|from)|介于|从) ?$", re.IGNORECASE)


def _direction(match: re.Match[str]) -> tuple[str, bool | None]:
    if match["least"] or match["most"]:
        return ("min" if match["least"] else "max"), False
    more = match["more"] is not None
    word = (match["more"] or match["less"]).lower()
    if match["neg"]:
        return ("max" if more else "min"), False
    return ("min" if more else "max"), None if word in ("over", "above", "under", "below") else "等于" not in word
