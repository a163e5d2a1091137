"""Times as logs and spreadsheets write them.

| written by | such as |
|---|---|
| ISO 8601, PostgreSQL, most databases | 2026-11-30T08:54:12Z, 2026-11-30 08:54:12.5+08 |
| BigQuery, Trino | 2026-11-30 08:54:12.123456 UTC, 2026-11-30 08:54:12.000 Asia/Shanghai |
| Excel | 2026/11/30 8:54, 2026年11月30日 8:54, 11/30/2026 8:54 AM, the number 46356.371 |
| Kibana | Nov 30, 2026 @ 08:54:12.123 |
| Apache, nginx | 30/Nov/2026:08:54:12 +0800 |
| mail, HTTP | Mon, 30 Nov 2026 08:54:12 GMT |
| epoch | 1796000052, 1796000052.25 (seconds), 1796000052123 (milliseconds), also micro- and nanoseconds |

The size of a number decides its unit: seconds since 1970 lie between 10^8 and 10^10 (1973 to 2286); milliseconds,
micro- and nanoseconds each have three more digits; Excel's days since 1899-12-30 lie between 20,000 (1954) and 80,000
(2119). Whether 05/06/2026 is in May or June must be stated (reading.date_order).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from rerankops.reading.places import Unfit, shortly
from rerankops.reading.values import same_signs

DateOrder = Literal["month first", "day first"]
_EXCEL_BEGINS = datetime(1899, 12, 30)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCHS = ((1e8, 1e10, 1), (1e11, 1e13, 10**3), (1e14, 1e16, 10**6), (1e17, 1e19, 10**9))
"""From, to, and how many make a second."""
_EXCEL_DAYS = (20_000, 80_000)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_ZONE = re.compile(r"(?<=[\d.]) ?(UTC|GMT|Z|[A-Z][a-z]+(?:/[A-Za-z_+-]+\d*)+)$")
_HALF = re.compile(r"(上午|下午|凌晨|中午|晚上)")
_CHINESE = re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日\s*")
_CLOCK = re.compile(r"(\d{1,2})[时点:](\d{1,2})(?:[分:](\d{1,2}(?:\.\d+)?)?秒?)?")
_SLASHED = re.compile(r"(\d{1,4})[/.](\d{1,2})[/.](\d{1,4})(?:[ T]+|$)")
_FORMATS = (
    "%b %d, %Y @ %H:%M:%S.%f", "%b %d, %Y @ %H:%M:%S", "%B %d, %Y @ %H:%M:%S.%f",
    "%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S", "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S",
    "%d %b %Y %H:%M:%S %z", "%d %b %Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y",
    "%b %d, %Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p", "%b %d, %Y, %I:%M:%S %p",
    "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p",
    "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S.%f %z", "%Y%m%d%H%M%S",
)  # fmt: skip


def moment(value: Any, *, zone: tzinfo | str = UTC, order: DateOrder | None = None) -> datetime:
    """The time in UTC that a value states. zone: for times without a zone. order: how to read 05/06/2026; None: such a
    date raises Unfit.

    Raises Unfit, naming the value and what to do.
    """
    assumed = ZoneInfo(zone) if isinstance(zone, str) else zone
    try:
        found = _read(value, order)
        found = found.replace(tzinfo=assumed) if found.tzinfo is None else found
        return found.astimezone(UTC)
    except Unfit:
        raise
    except (ValueError, OverflowError, KeyError) as error:
        raise Unfit("no time", _expected(value)) from error


def _read(value: Any, order: DateOrder | None) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(value, value)
    if isinstance(value, str) and len(value) > 9 and not value.isdigit():
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # other formats: see below
    if not isinstance(value, str):
        raise Unfit("no time", f"must be text (ISO 8601) or a timestamp, found {type(value).__name__}")
    text = " ".join(same_signs(value).split())
    if _NUMBER.fullmatch(text) and not (text.isdigit() and len(text) in (8, 14) and text[:2] in ("19", "20")):
        return _from_number(float(text) if "." in text else int(text), value)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _from_words(text, value, order)


def _from_number(number: float, value: Any) -> datetime:
    for low, high, per_second in _EPOCHS:
        if low <= abs(number) < high:
            seconds, rest = divmod(number, per_second)
            return _EPOCH + timedelta(seconds=seconds, microseconds=round(rest * 10**6 / per_second))
    if _EXCEL_DAYS[0] <= number <= _EXCEL_DAYS[1]:
        return (_EXCEL_BEGINS + timedelta(days=number)).replace(microsecond=0) + timedelta(
            seconds=round(timedelta(days=number).microseconds / 1e6)
        )
    raise Unfit("no time", _expected(value))


def _from_words(text: str, value: Any, order: DateOrder | None) -> datetime:
    zone: tzinfo | None = None
    named = _ZONE.search(text)
    if named:
        text = text[: named.start()].strip()
        zone = UTC if named[1] in ("UTC", "GMT", "Z") else ZoneInfo(named[1])
    half = _HALF.search(text)
    text = _HALF.sub(" ", text)
    text = _CHINESE.sub(lambda found: f"{found[1]}-{int(found[2]):02}-{int(found[3]):02} ", text)
    slashed = _SLASHED.match(text)
    if slashed:
        text = f"{_day(slashed, value, order)} {text[slashed.end() :]}".strip()
    text = " ".join(text.split())
    parts = re.fullmatch(rf"(\d{{4}}-\d{{1,2}}-\d{{1,2}})(?:[ T]({_CLOCK.pattern})(.*))?", text)
    if parts:
        year, month, day = (int(part) for part in parts[1].split("-"))
        clock = _CLOCK.match(parts[2] or "0:0")
        if clock is None:
            raise ValueError(text)
        seconds = f"{float(clock[3] or 0):09.6f}"
        text = f"{year:04}-{month:02}-{day:02} {int(clock[1]):02}:{int(clock[2]):02}:{seconds}{parts[6] or ''}"
    found = _parsed(text)
    if half and half[1] in ("下午", "晚上") and found.hour < 12:
        found += timedelta(hours=12)
    if half and half[1] in ("上午", "凌晨") and found.hour == 12:
        found -= timedelta(hours=12)
    return found if zone is None else found.replace(tzinfo=zone)


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in (*_FORMATS, "%Y-%m-%d %I:%M:%S.%f %p"):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise ValueError(text)


def _day(found: re.Match[str], value: Any, order: DateOrder | None) -> str:
    """The date, with its parts in the only possible order or in the order of the setting."""
    first, second, third = found.groups()
    if len(first) == 4:
        return f"{first}-{int(second):02}-{int(third):02}"
    if len(third) != 4:
        raise Unfit("an ambiguous date", f"is {value!r}: write the year with four digits, such as 2026-11-30")
    a, b = int(first), int(second)
    if a > 12 or order == "day first":
        a, b = b, a
    elif b <= 12 and a != b and order is None:
        raise Unfit(
            "an ambiguous date",
            f"is {value!r}: month or day first? Set reading.date_order, or write 2026-11-30",
        )
    return f"{third}-{a:02}-{b:02}"


def _expected(value: Any) -> str:
    return f"is {shortly(repr(value))}, expected ISO 8601 such as 2026-09-01T08:30:00Z"
