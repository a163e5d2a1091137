"""The learning history as a plot: what was in production after each decision, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerankops.evaluation.history import Learning, Step, learning
from rerankops.evaluation.report.plots import Scale, covering
from rerankops.evaluation.report.words import known

DRAWN = 60
"""Decisions that are drawn and listed, the latest; earlier ones are counted."""


@dataclass(frozen=True)
class Point:
    """A decision in the plot, in per cent of its width and height; y: the contender's accuracy, None when unknown."""

    step: Step
    x: float
    y: float | None
    latest: bool


@dataclass(frozen=True)
class Chronicle:
    """served: points of the line of what was in production, broken where it is not known or the gold changed.
    fresh: where other gold questions were asked from. earlier: decisions that are counted and not drawn."""

    learning: Learning
    points: tuple[Point, ...]
    served: tuple[str, ...]
    fresh: tuple[float, ...]
    scale: Scale
    earlier: int


def chronicle(rows: Sequence[Mapping[str, Any]]) -> Chronicle:
    """rows: of `history.entry`, oldest first, the decision that the page is about last."""
    read = learning(rows)
    steps = read.steps[-DRAWN:]
    values = [known(value) for step in steps for value in (step.row.get("accuracy"), step.served)]
    scale = covering(values, unit="share", within=(0.0, 1.0))
    width = max(1, len(steps) - 1)
    places = [round(6 + 88 * (place / width if len(steps) > 1 else 0.5), 2) for place in range(len(steps))]
    points = [
        Point(
            step, x, None if (value := known(step.row.get("accuracy"))) is None else _y(scale, value), step is steps[-1]
        )
        for step, x in zip(steps, places, strict=True)
    ]
    return Chronicle(
        learning=read,
        points=tuple(points),
        served=tuple(_lines(steps, places, scale)),
        fresh=tuple(x for step, x in zip(steps, places, strict=True) if step.fresh_gold),
        scale=scale,
        earlier=len(read.steps) - len(steps),
    )


def _y(scale: Scale, value: float | None) -> float | None:
    return None if value is None else round(100 - scale.at(value), 2)


def _lines(steps: Sequence[Step], places: Sequence[float], scale: Scale) -> list[str]:
    """Stepped polylines through what was in production after each decision."""
    lines: list[list[str]] = [[]]
    for step, x in zip(steps, places, strict=True):
        value = known(step.served)
        if value is None or step.fresh_gold:
            lines.append([])
        if value is not None:
            y = _y(scale, value)
            lines[-1] += [f"{x},{lines[-1][-1].split(',')[1]}"] if lines[-1] else []
            lines[-1].append(f"{x},{y}")
    return [" ".join(line) for line in lines if len(line) > 1]
