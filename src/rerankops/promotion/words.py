"""Numbers as the gate says them."""

from __future__ import annotations


def points(share: float, *, sign: bool = True) -> str:
    """0.02 as "+2.0 points"."""
    return f"{100 * share:+.1f} points" if sign else f"{100 * share:.2g} points"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def interval(bounds: tuple[float, float], alpha: float) -> str:
    """The central 1 - 2 alpha interval of a difference, in points."""
    low, high = bounds
    return f"{100 * (1 - 2 * alpha):.0f} % interval {100 * low:+.1f} to {100 * high:+.1f}"


def p(value: float | None) -> str:
    return "p unknown" if value is None else "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def version(number: str | None) -> str:
    return f"version {number}" if number is not None else "none"


def against(of: float, other: float | None, unit: str) -> str:
    """What one costs, and another where that is known: "41.3 ms a query against 1.2"."""
    return f"{of:.1f} {unit}" + (f" against {other:.1f}" if other is not None else "")
