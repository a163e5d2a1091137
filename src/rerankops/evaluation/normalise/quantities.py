"""A quantity: one value or the two ends of a range, in the base unit of each kind that its unit may mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from rerankops.evaluation.normalise.characters import OVER
from rerankops.evaluation.normalise.numerals import written
from rerankops.evaluation.normalise.units import meanings

_ROUNDED = 0.005
"""Relative tolerance between a value in miles or psi and one in kilometres or bar, since both are rounded."""
_EXACT = 1e-9


class Measured(NamedTuple):
    """One reading of a quantity. low, high: in the base unit of `kind`; equal unless it is a range."""

    kind: str
    low: float
    high: float
    customary: bool


@dataclass(frozen=True)
class Quantity:
    """number: as written; "low..high" for a range. numbers: the numbers that it may mean, as (low, high) pairs, since
    10.000 may be ten or ten thousand. unit: its spelling; None for a bare number, "year" for the number of a year."""

    number: str
    numbers: tuple[tuple[float, float], ...]
    unit: str | None = None

    @classmethod
    def of(cls, number: str, unit: str | None = None) -> Quantity:
        """number: digits with at most one point or one fraction sign, preceded by "-" when it is negative."""
        value = _value(number)
        found = [(value, value)]
        whole, _, decimals = number.partition(".")
        if len(decimals) == 3 and whole.lstrip("-") not in ("", "0") and len(whole.lstrip("-")) <= 3:
            found.append((value * 1000, value * 1000))  # the point may separate thousands, as in continental Europe
        return cls(cls.plain(number), tuple(found), unit)

    @staticmethod
    def plain(number: str) -> str:
        """The number without needless zeros; one that is too long for a float is left as it is."""
        if OVER in number:
            return number.replace(OVER, "/")
        return number if len(number) > 15 else written(float(number))

    def measured(self, unit: str | None) -> Quantity:
        """The same number in another unit."""
        return Quantity(self.number, self.numbers, unit)

    def to(self, other: Quantity) -> Quantity | None:
        """The range from this quantity to the other; None when they do not form one."""
        unit = self.unit or other.unit
        low, high = self.measured(unit), other.measured(other.unit or unit)
        if low.unit == high.unit:
            ends = [(one, two) for one, _ in low.numbers for _, two in high.numbers if one < two]
            return Quantity(f"{self.number}..{other.number}", tuple(ends), unit) if ends else None
        for mine in low.meanings():
            for theirs in high.meanings():
                if mine.kind == theirs.kind and mine.low < theirs.high:
                    factor = _factor(high.unit, mine.kind)
                    ends = [(mine.low / factor, theirs.high / factor)]
                    return Quantity(f"{written(ends[0][0])}..{other.number}", tuple(ends), high.unit)
        return None

    @property
    def point(self) -> bool:
        return self.numbers[0][0] == self.numbers[0][1]

    def meanings(self) -> tuple[Measured, ...]:
        """What the quantity may measure; empty for a bare number. A fraction is a share."""
        if self.unit is None:
            if "/" in self.number and self.point:
                return (Measured("share", *self.numbers[0], False),)
            return ()
        if self.unit == "year":
            return tuple(Measured("year", low, high, False) for low, high in self.numbers)
        return tuple(
            Measured(one.kind, low * one.factor + one.offset, high * one.factor + one.offset, one.customary)
            for one in meanings(self.unit)
            for low, high in self.numbers
        )

    def kinds(self) -> frozenset[str]:
        return frozenset(one.kind for one in self.meanings())

    def same(self, said: Quantity) -> bool:
        """Whether a stated quantity equals this accepted one; when this one has no unit, the number must be the same as
        written."""
        if self.unit is None and "/" not in self.number:
            if self.point != said.point:
                return False
            return (
                self.number == said.number
                if self.point
                else any(_close(a, b) for a in self.numbers for b in said.numbers)
            )
        if self.unit == "year" and said.unit is None:
            return self.number == said.number
        return any(
            mine.kind == theirs.kind and _close(mine[1:3], theirs[1:3], mine.customary != theirs.customary)
            for mine in self.meanings()
            for theirs in said.meanings()
        )

    def like(self, other: Quantity) -> bool:
        """Whether the two could be values of the same thing: quantities of one kind, or two bare numbers."""
        mine, theirs = self.kinds(), other.kinds()
        return bool(mine & theirs) if mine or theirs else True

    def __str__(self) -> str:
        found = self.meanings()
        if not found:
            return self.number
        first = found[0]
        if first.kind == "year":
            return self.number
        ends = [f"{value:.12g}" for value in dict.fromkeys(first[1:3])]
        return f"{'..'.join(ends)} {first.kind}"


def _value(number: str) -> float:
    part, _, whole = number.partition(OVER)
    return float(part) / (float(whole) or math.nan) if whole else float(part)


def _factor(unit: str | None, kind: str) -> float:
    return next(one.factor for one in meanings(unit or "") if one.kind == kind)


def _close(one: tuple[float, float], other: tuple[float, float], rounded: bool = False) -> bool:
    tolerance = _ROUNDED if rounded else _EXACT
    return all(math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12) for a, b in zip(one, other, strict=True))
