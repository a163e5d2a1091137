"""Where marks stand in a plot: positions in per cent of its width and height, so that it fits any screen.

Text of a plot is HTML or SVG text in the page's own size, never scaled with the drawing; the templates draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scale:
    """A linear axis from `low` to `high`, drawn between `margin` and 100 - `margin` per cent.

    ticks: (position, label). unit: "share" is labelled in per cent, "points" with signs, "" with plain numbers.
    """

    low: float
    high: float
    unit: str = ""
    margin: float = 4.0
    ticks: tuple[tuple[float, str], ...] = field(init=False)

    def __post_init__(self) -> None:
        step = _step((self.high - self.low) / 4)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [step * i for i in range(first, last + 1)]
        object.__setattr__(self, "ticks", tuple((self.at(value), self._label(value, step)) for value in values))

    def at(self, value: float) -> float:
        """Position of a value in per cent; what lies outside stands at the edge."""
        part = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return round(self.margin + part * (100 - 2 * self.margin), 2)

    def _label(self, value: float, step: float) -> str:
        if self.unit in ("share", "points"):
            told = _plain(100 * value, 100 * step)
            return f"{told} %" if self.unit == "share" else f"+{told}" if value > step / 2 else told
        return _plain(value, step)


def covering(values: Iterable[float | None], *, unit: str, within: tuple[float, float] | None = None) -> Scale:
    """A scale that shows all values with a little air; `within`: bounds that it never leaves."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    air = (high - low) * 0.06 or max(abs(high), 1.0) * 0.05
    low, high = low - air, high + air
    if within is not None:
        low, high = max(low, within[0]), min(high, within[1])
    return Scale(low, high if high > low else low + 1.0, unit)


@dataclass(frozen=True)
class Mark:
    """A dot with its interval, in per cent of the plot's width; None: not known. shade: CSS class."""

    at: float | None
    low: float | None
    high: float | None
    shade: str = ""


def mark(scale: Scale, value: float | None, interval: tuple[float, float] | None, shade: str = "") -> Mark:
    low, high = (None, None) if interval is None else (scale.at(interval[0]), scale.at(interval[1]))
    return Mark(None if value is None else scale.at(value), low, high, shade)


@dataclass(frozen=True)
class Spread:
    """A distribution as bars: the middle 90 % and 50 % of it and its median, in per cent of the plot's width."""

    outer: tuple[float, float]
    inner: tuple[float, float]
    median: float


def spread(scale: Scale, quantiles: tuple[float, ...]) -> Spread:
    """quantiles: evenly spaced from 0 to 1, both included, at least two."""
    last = len(quantiles) - 1

    def at(part: float) -> float:
        place = part * last
        below = min(int(place), last - 1)
        return scale.at(quantiles[below] + (place - below) * (quantiles[below + 1] - quantiles[below]))

    return Spread((at(0.05), at(0.95)), (at(0.25), at(0.75)), at(0.5))


def _step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _plain(value: float, step: float) -> str:
    """As many places as the step needs, a typographic minus, no minus zero."""
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    places += not math.isclose(step * 10**places, round(step * 10**places), rel_tol=1e-6)
    told = f"{value:,.{places}f}"
    return told.lstrip("-") if not told.strip("-0.") else told.replace("-", "−", 1)
