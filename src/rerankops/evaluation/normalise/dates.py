"""Dates and times of day, however they are written: 2023年5月1日, 2023-05-01, May 1st, 2023; 下午6点45分, 6:45 pm.

A date has a year, a month and a day; each is None where the text does not give it. An accepted date is matched by a
date that has all of its parts. Where the order of day and month is ambiguous (01/05/2023), both readings are kept.
dateparser and dateutil are not used: they complete a partial date from today's date, and a verdict must not depend on
when it is given.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Day:
    """A date; parts that the text does not give are None."""

    year: int | None = None
    month: int | None = None
    day: int | None = None

    def has(self, other: Day) -> bool:
        """Whether this date has all parts that the other one has, with the same values."""
        mine, theirs = (self.year, self.month, self.day), (other.year, other.month, other.day)
        return all(part is None or part == own for own, part in zip(mine, theirs, strict=True))

    def __str__(self) -> str:
        parts = (f"{self.year:04}" if self.year else "····", self.month, self.day)
        return "-".join("··" if part is None else f"{part:02}" if isinstance(part, int) else part for part in parts)


MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
MONTHS |= {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
_MONTH = "(?:" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")\b\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
PATTERN = (
    r"(?P<chinese>(?:\d{4} ?年 ?)?\d{1,2} ?月 ?(?:份)?(?:\d{1,2} ?[日号])?|\d{4} ?年 ?\d{1,2} ?月)"
    r"|(?P<iso>(?<![\d./-])\d{4}(?P<sep>[-/.])\d{1,2}(?P=sep)\d{1,2}(?![\d/-]|\.\d))"
    r"|(?P<slashed>(?<![\d./-])\d{1,2}(?P<slash>[-/.])\d{1,2}(?P=slash)(?:19|20)\d\d(?![\d/-]|\.\d))"
    rf"|(?P<day_first>(?<![\w.])(?:{_DAY} (?:of )?)(?:{_MONTH})(?! \d{{1,2}},)(?:,? \d{{4}}(?!\d))?)"
    rf"|(?P<month_first>(?<!\w)(?:{_MONTH}) (?:the )?{_DAY}(?!\d|:|\.\d)(?:,? (?:of )?\d{{4}}(?!\d))?)"
    rf"|(?P<month_year>(?<!\w)(?:{_MONTH}),? (?:of )?\d{{4}}(?!\d))"
    r"|(?P<time>(?<![\d:.])(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?![\d:])(?: ?[ap]\.?m\b\.?)?|(?<![\d:.])\d{1,2} ?[ap]\.?m\b\.?)"
)
"""A regular expression with named groups; compile it with IGNORECASE."""
GROUPS = ("chinese", "iso", "slashed", "day_first", "month_first", "month_year")
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[a-z]+")


def days(group: str, text: str) -> tuple[Day, ...]:
    """The dates that a match of one of GROUPS may mean; empty when it is not a date (month 13)."""
    numbers = [int(number) for number in _NUMBER.findall(text)]
    if group == "chinese":
        year = numbers.pop(0) if "年" in text else None
        found = [Day(year, *numbers)]
    elif group == "iso":
        found = [Day(*numbers)]
    elif group == "slashed":
        first, second, year = numbers
        found = [Day(year, first, second), Day(year, second, first)]
    else:
        month = next(MONTHS[word] for word in _WORD.findall(text.lower()) if word in MONTHS)
        year = numbers.pop() if numbers and numbers[-1] > 31 else None
        found = [Day(year, month, numbers[0] if numbers else None)]
    return tuple(dict.fromkeys(day for day in found if _possible(day)))


def minutes(text: str) -> tuple[int, ...]:
    """The times of day that a text may mean, in minutes since midnight: 1125 for 6:45 pm; 405 or 1125 for 6:45."""
    lowered = text.lower()
    numbers = [int(number) for number in _NUMBER.findall(lowered)]
    hour, minute = numbers[0], numbers[1] if len(numbers) > 1 else 0
    if half := re.search(r"([ap])\.?m", lowered):
        return (60 * (hour % 12 + (12 if half[1] == "p" else 0)) + minute,) if hour <= 12 else (60 * hour + minute,)
    known = 60 * (hour % 24) + minute
    return (known, known + 720) if 1 <= hour <= 11 else (known,)


def _possible(day: Day) -> bool:
    if not (day.month is None or 1 <= day.month <= 12) or not (day.day is None or 1 <= day.day <= 31):
        return False
    return day.day is None or day.month is None or day.day <= calendar.monthrange(day.year or 2024, day.month)[1]
