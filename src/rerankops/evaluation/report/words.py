"""Numbers as people read them: signs, units that stay on their line, a dash for what is not known."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

UNKNOWN = "–"
_BOUND = re.compile(r"(?<=\d) (?=(?:%|points|ms|MB)(?:\W|$))|(?<=\bp) (?=[=<] )|(?<=\bp [=<]) ")
_NEGATIVE = re.compile(r"(?<![\w.)-])-(?=\d)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def known(value: Any) -> float | None:
    """The value as a finite number, else None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def share(value: float | None) -> str:
    """0.729 as 72.9 %."""
    return UNKNOWN if value is None else f"{100 * value:.1f}\u00a0%"


def points(value: float | None) -> str:
    """0.042 as +4.2."""
    return UNKNOWN if value is None else _signed(f"{100 * value:+.1f}")


def milliseconds(value: float | None) -> str:
    """Three figures are enough: 0.02 ms, 15.4 ms, 154 ms, 1,540 ms."""
    return UNKNOWN if value is None else f"{_three(value)}\u00a0ms"


def megabytes(value: float | None) -> str:
    """Whole megabytes from ten on."""
    return UNKNOWN if value is None else f"{_whole(value)}\u00a0MB"


def more(value: float | None, unit: str) -> str:
    """A difference of a cost: +154 ms, −92 MB, or "the same"."""
    if value is None:
        return UNKNOWN
    told = _three(abs(value)) if unit == "ms" else _whole(abs(value))
    return "the same" if not value else f"{'+' if value > 0 else '−'}{told}\u00a0{unit}"


def p_value(value: float | None) -> str:
    return UNKNOWN if value is None else "<\u00a00.001" if value < 0.001 else f"{value:.3f}"


def number(value: Any) -> str:
    """Any number of a table of counts; what is no number as it stands."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNKNOWN if value is None else str(value)
    return _signed(f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}")


def decimal(value: float | None) -> str:
    """A coefficient or probability, three places."""
    return UNKNOWN if value is None else _signed(f"{value:.3f}")


def seconds(value: float) -> str:
    minutes, rest = divmod(value, 60)
    return f"{minutes:.0f}\u00a0min {rest:02.0f}\u00a0s" if minutes else f"{rest:.1f}\u00a0s"


def moment(value: str | datetime | None) -> str:
    """A time to the minute, in UTC; what is no ISO 8601 time as it stands."""
    if value is None:
        return UNKNOWN
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError:
        return str(value)
    return f"{when.astimezone(UTC) if when.tzinfo else when:%Y-%m-%d %H:%M}"


def bound(words: str) -> str:
    """A sentence in which numbers keep their unit and their sign on the line."""
    return _NEGATIVE.sub("−", _BOUND.sub("\u00a0", words))


def clipped(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def printable(value: Any) -> Any:
    """Text without the control characters that HTML does not allow; everything else as it is."""
    return _CONTROL.sub("\ufffd", value) if isinstance(value, str) and _CONTROL.search(value) else value


def _three(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or not value else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _signed(told: str) -> str:
    """A typographic minus, and no sign before a zero."""
    if not told.strip("+-0."):
        return told.lstrip("+-")
    return told.replace("-", "−", 1) if told.startswith("-") else told
