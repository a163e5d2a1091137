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
- largest: the largest score of the set is 3, a smaller positive one 2, else 0
- cut points, three rising numbers such as 0.2,0.5,0.9: the grade is how many the score reaches
- auto: what the scores can only mean: binary for 0 and 1, graded for whole numbers 0..3 with a 3 among them, share for
  fractions of 1; anything else (0..2, 0..4, 1..5) is asked about, since its largest value tells no scale
"""
_SHARES = (0.25, 0.5, 0.75)


def grade(rows: pl.DataFrame, rule: str) -> tuple[pl.Series, str]:
    """Grades (int8) of rows (columns score and place), and the rule that `auto` came to.

    Raises SettingsError when there is no such rule, InputError naming the first row whose score does not fit it, or the
    scores whose scale is not stated.
    """
    cuts = _cut_points(rule)
    score, scores = pl.col("score"), rows["score"]
    if rule == "auto":
        rule = _fitting(rows)
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
    scores = rows["score"]
    distinct = sorted(scores.unique().to_list())
    whole = all(float(score).is_integer() for score in distinct)
    if whole and set(distinct) <= {0.0, 1.0}:
        return "binary"
    if whole and distinct[0] >= 0 and distinct[-1] == GRADES[3]:
        return "graded"
    if not whole and distinct[0] >= 0 and distinct[-1] <= 1:
        return "share"
    ends = distinct if len(distinct) <= 6 else [*distinct[:3], *distinct[-3:]]
    listed = ", ".join(f"{score:g}" for score in ends)
    at = rows["place"][int(scores.arg_max() or 0)]
    raise InputError(
        f"{at}: scores are {listed}{'' if len(distinct) <= 6 else ' and others between'}: what do they mean? Say it "
        "with --grades: graded (they are the grades 0..3), binary (above 0 is relevant), largest (the largest is 3, "
        "smaller ones 2), or three rising cut points such as 1,2,3"
    )


def _refuse(misfits: pl.DataFrame, rule: str) -> None:
    if misfits.height:
        raise InputError(
            f"{misfits['place'][0]}: score {misfits['score'][0]:g} does not fit the rule {rule} ({misfits.height} such "
            "row(s)); say how scores become grades (--grades), for example by cut points"
        )
