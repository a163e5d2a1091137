"""Scales, ticks and distributions of the report's plots, and how numbers read."""

from __future__ import annotations

import math

import pytest

from rerankops.evaluation.report import words
from rerankops.evaluation.report.plots import Scale, covering, mark, spread


@pytest.mark.parametrize(
    ("low", "high", "unit", "labels"),
    [
        (0.58, 0.87, "share", ["60 %", "70 %", "80 %"]),
        (-0.12, 0.21, "points", ["−10", "0", "+10", "+20"]),
        (-0.004, 0.011, "points", ["0.0", "+0.5", "+1.0"]),
        (0, 1238, "", ["0", "500", "1,000"]),
        (-3.2, 4.1, "", ["−2", "0", "2", "4"]),
        (0.612, 0.689, "share", ["62 %", "64 %", "66 %", "68 %"]),
        (-0.021, 0.07, "points", ["0.0", "+2.5", "+5.0"]),
    ],
)
def test_ticks_are_round_and_labelled_in_the_unit(low: float, high: float, unit: str, labels: list[str]) -> None:
    assert [label for _, label in Scale(low, high, unit).ticks] == labels


@pytest.mark.parametrize("width", [1e-6, 0.003, 0.7, 12, 9e5])
def test_there_are_two_to_five_ticks_inside_the_scale_whatever_its_width(width: float) -> None:
    for start in (-width / 3, 0.0, 0.123456):
        scale = Scale(start, start + width)
        assert 2 <= len(scale.ticks) <= 5
        assert all(scale.margin <= at <= 100 - scale.margin for at, _ in scale.ticks)


def test_positions_keep_order_and_stay_inside() -> None:
    scale = Scale(-1, 1)
    assert (scale.at(-1), scale.at(0), scale.at(1)) == (4.0, 50.0, 96.0)
    assert (scale.at(-7), scale.at(7)) == (4.0, 96.0)


@pytest.mark.parametrize("values", [[], [None], [0.5], [0.5, 0.5], [math.nan, 0.4], [1.0, 1.0], [0.0]])
def test_a_scale_is_found_for_few_equal_or_unknown_values(values: list[float | None]) -> None:
    scale = covering(values, unit="share", within=(0.0, 1.0))
    assert scale.low < scale.high
    assert scale.ticks


def test_bounds_are_never_left() -> None:
    scale = covering([0.02, 0.99], unit="share", within=(0.0, 1.0))
    assert (scale.low, scale.high) == (0.0, 1.0)


def test_what_is_unknown_is_not_drawn() -> None:
    found = mark(Scale(0, 1), None, None)
    assert (found.at, found.low, found.high) == (None, None, None)


def test_a_distribution_is_drawn_at_its_quantiles() -> None:
    scale = Scale(0, 1, margin=0)
    found = spread(scale, tuple(place / 20 for place in range(21)))
    assert (found.outer, found.inner, found.median) == ((5.0, 95.0), (25.0, 75.0), 50.0)
    two = spread(scale, (0.2, 0.6))
    assert (two.outer, two.median) == ((22.0, 58.0), 40.0)


def test_numbers_read_as_people_write_them() -> None:
    assert (words.share(0.729), words.share(None)) == ("72.9\u00a0%", "–")
    assert [words.points(value) for value in (0.042, -0.042, 0.0, -0.00001)] == ["+4.2", "−4.2", "0.0", "0.0"]
    assert [words.milliseconds(value) for value in (0.0, 0.02, 15.44, 1540.0)] == [
        "0\u00a0ms", "0.02\u00a0ms", "15.4\u00a0ms", "1,540\u00a0ms",
    ]  # fmt: skip
    assert [words.more(value, "MB") for value in (0.0, 92.4, -3.2, None)] == [
        "the same", "+92\u00a0MB", "−3.2\u00a0MB", "–",
    ]  # fmt: skip
    assert words.p_value(0.0002) == "<\u00a00.001"
    assert [words.number(value) for value in (96, 0.05, 12345, None, "cpu")] == ["96", "0.05", "12,345", "–", "cpu"]
    assert words.moment("2026-11-21T19:33:39+08:00") == "2026-11-21 11:33"
    assert words.moment("some day") == "some day"
    assert words.bound("-1.0 points (90 % interval -4.2 to +1, p = 0.012), q-1") == (
        "−1.0\u00a0points (90\u00a0% interval −4.2 to +1, p\u00a0=\u00a00.012), q-1"
    )
    assert [words.known(value) for value in (1, math.nan, math.inf, None, "1")] == [1.0, None, None, None, None]
