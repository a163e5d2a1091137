"""From a set's scores to grades 0..3, by a rule that is stated and stored. Pure."""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from rerankops.errors import InputError, SettingsError
from rerankops.records import GRADES

RULES = ("auto", "binary", "graded", "share", "largest")
"""
- binary: above 0 is 3, else 0
- graded: the score is the grade, 0..3
- share: of 1: below .25 is 0, below .5 is 1, below .75 is 2, else 3
- largest: the largest score of the set is 3, a smaller positive one 2, else 0 (qrels of many scales)
- cut points, three rising numbers such as 0.2,0.5,0.9: the grade is how many the score reaches
- auto: what fits all scores: binary for 0 and 1, graded for whole numbers 0..3, share for 0..1; largest for qrels
"""
_SHARES = (0.25, 0.5, 0.75)


def grade(rows: pl.DataFrame, rule: str, *, qrels: bool) -> tuple[pl.Series, str]:
    """Grades (int8) of rows (columns score and place), and the rule that `auto` came to.

    Raises SettingsError when there is no such rule, InputError naming the first row whose score does not fit it.
    """
    cuts = _cut_points(rule)
    score, scores = pl.col("score"), rows["score"]
    if rule == "auto":
        rule = "largest" if qrels else _fitting(rows)
    if rule in ("graded", "share"):
        fits = score.is_in(list(map(float, GRADES))) if rule == "graded" else score.is_between(0, 1)
        _refuse(rows.filter(~fits), rule)
    if rule == "graded":
        grades = scores.cast(pl.Int8)
    elif rule == "binary":
        grades = rows.select(pl.when(score > 0).then(GRADES[3]).otherwise(GRADES[0]))["literal"]
    elif rule == "largest":
        top = scores.max()
        expression = pl.when(score <= 0).then(GRADES[0]).when(score == top).then(GRADES[3]).otherwise(GRADES[2])
        grades = rows.select(grade=expression)["grade"]
    else:
        reached = pl.sum_horizontal((score >= cut).cast(pl.Int8) for cut in cuts or _SHARES)
        grades = rows.select(grade=reached)["grade"]
    return grades.cast(pl.Int8).alias("grade"), rule


def _cut_points(rule: str) -> tuple[float, ...] | None:
    if rule in RULES:
        return None
    try:
        cuts = tuple(float(part) for part in rule.split(","))
    except ValueError:
        cuts = ()
    if len(cuts) != len(GRADES) - 1 or not all(low < high for low, high in pairwise(cuts)):
        raise SettingsError(f"--grades is {rule!r}, expected one of {', '.join(RULES)}, or three rising cut points")
    return cuts


def _fitting(rows: pl.DataFrame) -> str:
    score = pl.col("score")
    for rule, fits in (
        ("binary", score.is_in([0.0, 1.0])),
        ("graded", score.is_in(list(map(float, GRADES)))),
        ("share", score.is_between(0, 1)),
    ):
        if rows.select(fits.all()).item():
            return rule
    whole = rows.select((score == score.round()).mean()).item() > 0.5
    _refuse(rows.filter(~(score.is_in(list(map(float, GRADES))) if whole else score.is_between(0, 1))), "auto")
    raise AssertionError("unreachable")


def _refuse(misfits: pl.DataFrame, rule: str) -> None:
    if misfits.height:
        raise InputError(
            f"{misfits['place'][0]}: score {misfits['score'][0]:g} does not fit the rule {rule} ({misfits.height} such "
            "row(s)); say how scores become grades (--grades), for example by cut points"
        )
