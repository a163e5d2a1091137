"""A frozen set and its next version: the questions of the one before, unchanged, and what is new. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import polars as pl
from scipy.special import ndtri

from rerankops.errors import InputError
from rerankops.queries.normalise import similar_pairs
from rerankops.records import GoldEntry, GoldQuestion

_CONTENT = [*GoldQuestion.columns, "unanswerable"]


def fresh(before: pl.DataFrame, offered: pl.DataFrame) -> pl.DataFrame:
    """The offered questions that a set does not have yet. before, offered: records.GoldEntry as frames.

    Raises InputError naming a question that the set has with other content: what is frozen never changes.
    """
    known = before.select(_CONTENT).join(offered.select(_CONTENT), on="question_id", suffix="_offered")
    changed = [
        (row["question_id"], name)
        for row in known.iter_rows(named=True)
        for name in _CONTENT[1:]
        if row[name] != row[f"{name}_offered"]
    ]
    if changed:
        question_id, name = changed[0]
        raise InputError(
            f"question {question_id} is frozen with another {name}, and {len(changed) - 1} more differ; a frozen "
            "question never changes: retire it and add the new one under an id of its own"
        )
    return offered.join(before, on="question_id", how="anti").sort("question_id")


def next_version(
    before: pl.DataFrame, new: pl.DataFrame, retire: Mapping[str, str], *, version: int, at: datetime
) -> pl.DataFrame:
    """records.GoldEntry of a version as a frame: earlier questions in their order, then the new ones.

    retire: question id to reason; ids stay taken. Raises InputError when such a question is unknown, was retired
    before, or has no reason.
    """
    asked = set(before.filter(pl.col("retired_version").is_null())["question_id"])
    for question_id, reason in retire.items():
        if question_id not in asked:
            raise InputError(f"question {question_id} cannot be retired: the set does not ask it")
        if not reason.strip():
            raise InputError(f"question {question_id} is retired without a reason; say why, it is kept with the set")
    going = pl.col("question_id").is_in(list(retire))
    kept = before.with_columns(
        retired_version=pl.when(going).then(pl.lit(version, pl.Int32)).otherwise("retired_version"),
        retired_reason=pl.when(going)
        .then(pl.col("question_id").replace_strict(dict(retire) or {"": ""}, default=None, return_dtype=pl.String))
        .otherwise("retired_reason"),
    )
    added = new.with_columns(
        added_version=pl.lit(version, pl.Int32), added_at=pl.lit(at).cast(before.schema["added_at"])
    )
    return pl.concat([kept, added.select(kept.columns).cast(kept.schema)])


def refuse_near_duplicates(
    asked: pl.DataFrame, new: pl.DataFrame, *, threshold: float, synonyms: Iterable[Sequence[str]] | None = None
) -> None:
    """asked, new: frames of id and normal. Raises InputError when a new question nearly equals another of the set: a
    fact that is asked twice counts twice."""
    pairs = similar_pairs(new, pl.concat([asked, new]), threshold=threshold, synonyms=synonyms)
    same = new.join(pl.concat([asked, new]), on="normal").rename({"id": "left_id", "id_right": "right_id"})
    fresh_ids = set(new["id"])
    found = sorted(
        (left, right)
        for left, right in pl.concat([pairs.select("left_id", "right_id"), same.select("left_id", "right_id")])
        .unique()
        .iter_rows()
        if left != right and not (right in fresh_ids and right < left)
    )
    if found:
        texts = dict(pl.concat([asked, new]).iter_rows())
        left, right = found[0]
        raise InputError(
            f"{len(found)} pair(s) of gold questions nearly equal one another, the first is {left} {texts[left]!r} and "
            f"{right} {texts[right]!r}; leave one out (--leave-out ID)"
        )


def leaks(
    new: pl.DataFrame, judged: pl.DataFrame, *, threshold: float, synonyms: Iterable[Sequence[str]] | None = None
) -> pl.DataFrame:
    """Judged queries that equal or nearly equal a new gold question: columns query_id and question_id.

    new, judged: frames of id and normal.
    """
    near = similar_pairs(judged, new, threshold=threshold, synonyms=synonyms).select(
        query_id="left_id", question_id="right_id"
    )
    same = judged.join(new, on="normal").select(query_id="id", question_id="id_right")
    return pl.concat([near, same]).unique("query_id", keep="first", maintain_order=True).sort("query_id")


def questions_needed(difference: float, *, discordance: float, alpha: float, power: float) -> float:
    """Gold questions that a one-sided paired test of right-or-wrong answers at `alpha` needs to notice a true
    difference with probability `power`, when a share `discordance` of the questions tells the two rankers apart:
    (z(1 - alpha) + z(power))^2 · discordance / difference^2 (Connor, 1987, without the small term of the difference).
    """
    return float(_quantiles(alpha, power) ** 2 * discordance / difference**2)


def noticeable(questions: int, *, discordance: float, alpha: float, power: float) -> float:
    """The smallest difference that so many questions would notice; the inverse of `questions_needed`."""
    return float(_quantiles(alpha, power) * (discordance / questions) ** 0.5) if questions else float("inf")


def _quantiles(alpha: float, power: float) -> float:
    return float(ndtri(1 - alpha) + ndtri(power))


def export(entries: pl.DataFrame) -> Sequence[Mapping[str, object]]:
    """The questions as rows of a gold file (see queries.sources.read_gold), retired ones left out."""
    asked = entries.filter(pl.col("retired_version").is_null())
    columns = [name for name in GoldEntry.columns if not name.startswith("retired")]
    return asked.select(columns).with_columns(pl.col("added_at").dt.to_string("iso:strict")).to_dicts()
