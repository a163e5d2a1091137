"""Finds where an answer states an accepted answer, token by token, and what speaks against it at that place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rerankops.evaluation.normalise.dates import MONTHS
from rerankops.evaluation.normalise.segments import whole
from rerankops.evaluation.normalise.tokens import Read, Token

_SENTENCE_END = re.compile("[。!?]")
_GLUE = re.compile("[ .·_-]{0,2}")
_LONGEST_GLUED = 4
_LONG = 12
"""Minimum number of characters of an accepted answer that may also be found verbatim."""


@dataclass(frozen=True)
class Place:
    """A match: the answer's tokens from `first` to `last`, both included. objection: the reason why the match is only
    partial (it is one end of a range, or another bound); "" when it is complete."""

    first: int
    last: int
    objection: str


def places(said: Read, accepted: Read) -> Iterator[Place]:
    """Yields every place where the answer states the whole accepted answer, in whole words."""
    wanted = accepted.tokens
    if not wanted:
        return
    nothing = True
    starts = said.by_text.get(wanted[0].text, []) if _is_han(wanted[0]) else range(len(said.tokens))
    for first in starts:
        found = _at(said, first, accepted)
        if found is None:
            continue
        last, objection = found
        start, end = said.tokens[first].start, said.tokens[last].end
        if wanted[0].quantity is None and wanted[-1].quantity is None and not whole(said.text, start, end):
            continue
        if (
            wanted[0].quantity is not None
            and wanted[-1].quantity is None
            and not _ends(said.text, said.tokens, first, last)
        ):
            continue
        nothing = False
        yield Place(first, last, objection)
    if nothing and (place := _verbatim(said, accepted)):
        yield place


def _verbatim(said: Read, accepted: Read) -> Place | None:
    """Finds a long accepted answer verbatim: in a longer sentence its numbers may have been read as other tokens."""
    start = said.text.lower().find(accepted.text.lower()) if len(accepted.text) >= _LONG else -1
    if start < 0:
        return None
    end = start + len(accepted.text)
    if any(
        0 < place < len(said.text)
        and said.text[place - 1 : place + 1].isalnum()
        and said.text[place - 1 : place + 1].isascii()
        for place in (start, end)
    ):
        return None
    inside = [n for n, token in enumerate(said.tokens) if token.end > start and token.start < end]
    return Place(inside[0], inside[-1], "") if inside else None


def _is_han(token: Token) -> bool:
    return "\u3400" <= token.text <= "\u9fff" and token.quantity is None


def _ends(text: str, tokens: tuple[Token, ...], first: int, last: int) -> bool:
    """Whether an answer that begins with a number ends where a word ends: 二号线 is not found in 二号线路."""
    words = next((n for n in range(first, last + 1) if tokens[n].quantity is None), None)
    return words is None or words == last or whole(text, tokens[words].start, tokens[last].end)


def _at(said: Read, first: int, accepted: Read) -> tuple[int, str] | None:
    wanted, tokens = accepted.tokens, said.tokens
    mine, theirs, objection = 0, first, ""
    across = _SENTENCE_END.search(accepted.text, 0, wanted[-1].start)  # the accepted answer has several sentences
    while mine < len(wanted):
        if theirs >= len(tokens):
            return None
        found = says(wanted[mine], tokens[theirs], said.text)
        if found is not None:
            objection = objection or found
            mine, theirs = mine + 1, theirs + 1
        elif glued := _glued(accepted, mine, said, theirs):
            mine, theirs = mine + glued[0], theirs + glued[1]
        elif _counts_the_next(wanted, mine):
            mine += 1
        elif _counts_the_next(tokens, theirs):
            theirs += 1
        else:
            return None
        if mine < len(wanted) and theirs < len(tokens):
            between = said.text[tokens[theirs - 1].end : tokens[theirs].start]
            if across is None and _SENTENCE_END.search(between):
                return None
    return theirs - 1, objection


def _counts_the_next(tokens: tuple[Token, ...], place: int) -> bool:
    """Whether the token is the general measure word 个 between a number and a noun: 10个人 equals 10人."""
    return 0 < place < len(tokens) - 1 and tokens[place].text == "个" and tokens[place - 1].quantity is not None


def says(accepted: Token, said: Token, text: str) -> str | None:
    """Compares two tokens. None: they differ. "": they agree. Otherwise the reason why they agree only in part. text:
    the answer's."""
    if accepted.days:
        return "" if any(day.has(wanted) for day in said.days for wanted in accepted.days) else None
    if accepted.time:
        told = len(accepted.time) == len(said.time) or said.text.endswith(("m", "m."))  # 19:00 does not say 7:00
        return "" if said.time and told and set(said.time) <= set(accepted.time) else None
    if accepted.quantity is not None:
        return _says_quantity(accepted, said, text)
    if said.days and accepted.text in MONTHS:
        return "" if any(day.month == MONTHS[accepted.text] for day in said.days) else None
    if accepted.text != said.text or said.quantity is not None:
        return None
    if accepted.capitals and not said.capitals and accepted.text in _SMALL_WORDS:
        return None  # US is not us, nor IT it
    return ""


_SMALL_WORDS = frozenset(
    """
    us it who am or in no so is as at be by do go he if me my of on to up we an and are was""".split()  # noqa: SIM905 - a list of words
)


def _says_quantity(accepted: Token, said: Token, text: str) -> str | None:
    wanted = accepted.quantity
    if said.days and wanted is not None:
        return "" if wanted.unit in (None, "year") and any(_part_of(wanted.number, day) for day in said.days) else None
    if wanted is None or said.quantity is None:
        return None
    if wanted.same(said.quantity) and (said.text == accepted.text or not _versions(accepted, said)):
        return _bounds(accepted, said, text)
    if said.parts and not accepted.parts:
        ends = [part for part in said.parts if part.quantity and wanted.same(part.quantity)]
        if ends:
            years = all(part.quantity and _year(part.quantity.number, part.quantity.unit) for part in said.parts)
            return "" if years else f"range: it is one end of {text[said.start : said.end]}"
    return None


def _versions(accepted: Token, said: Token) -> bool:
    """Whether trailing zeros matter, because a number without a unit may be that of a version (3.1, 3.10)."""
    bare = accepted.quantity is not None and accepted.quantity.unit is None and "/" not in accepted.text
    return bare and accepted.text != said.text and not accepted.parts


def _part_of(number: str, day: object) -> bool:
    """Whether a bare number is the year of a date, or the only part that the date has."""
    year, month, date = (getattr(day, name) for name in ("year", "month", "day"))
    if len(number) == 4:
        return str(year) == number
    known = [part for part in (year, month, date) if part is not None]
    return len(known) == 1 and str(known[0]) == number


def _year(number: str, unit: str | None) -> bool:
    return unit in (None, "year") and len(number) == 4 and "1000" <= number <= "2999"


_LARGEST = re.compile(r"最[高大多长]|上限|不超|限[速高重载]|\b(?:max\w*|limit|highest|most)\b", re.IGNORECASE)
_SMALLEST = re.compile(r"最[低小少短]|下限|至少|\b(?:min\w*|lowest|least)\b", re.IGNORECASE)


def _bounds(accepted: Token, said: Token, text: str) -> str:
    if not accepted.bound:
        return ""
    if said.bound == accepted.bound:
        differ = None not in (accepted.strict, said.strict) and accepted.strict != said.strict
        return "bound: one leaves out its own value, the other does not" if differ else ""
    if said.bound:
        return "bound: the other way"
    label = _LARGEST if accepted.bound == "max" else _SMALLEST
    before = re.split(r"[,;。\n]", text[max(0, said.start - 24) : said.start])[-1]
    return "" if label.search(before) else "bound: it is not said"


def _glued(accepted: Read, mine: int, said: Read, theirs: int) -> tuple[int, int] | None:
    """How many tokens of each text form one word that is written together in one and apart in the other: Type-C and
    TypeC, DOT 4 and DOT4."""
    one = _letters(accepted, mine)
    other = _letters(said, theirs) if one else ""
    if other and other != one and (one.startswith(other) or other.startswith(one)):
        for count in range(2, _LONGEST_GLUED + 1):
            if (together := _together(said, theirs, count)) and together == one:
                return 1, count
            if (together := _together(accepted, mine, count)) and together == other:
                return count, 1
    return None


def _letters(read: Read, place: int) -> str:
    token = read.tokens[place]
    if token.days or token.time or token.bound or token.parts:
        return ""
    written = read.text[token.start : token.end].lower()
    return written if written.isascii() and written.replace(".", "").isalnum() else ""


def _together(read: Read, place: int, count: int) -> str:
    """Neighbouring tokens as one word; "" where they do not form one, as two numbers never do."""
    if place + count > len(read.tokens):
        return ""
    found = _letters(read, place)
    for n in range(place + 1, place + count):
        piece = _letters(read, n)
        between = read.text[read.tokens[n - 1].end : read.tokens[n].start]
        if not found or not piece or not _GLUE.fullmatch(between) or not (found[-1].isalpha() or piece[0].isalpha()):
            return ""
        found += piece
    return found
