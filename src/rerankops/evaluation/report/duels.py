"""Questions that two systems answered differently, and the passage that made the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops.evaluation.ladder import COLUMNS
from rerankops.evaluation.normalise import judge, mentions
from rerankops.evaluation.report.passages import SEARCHED, Snippet, snippet
from rerankops.evaluation.report.words import clipped

SHOWN = 20
"""Questions won and questions lost that are shown in full against the incumbent, of each system."""

_TITLE, _ANSWER, _QUESTION, _ACCEPTED = 200, 360, 500, 120
_NOWHERE = 10_000
_TOPS = ("top_passage_ids", "top_passage_ids_against")


@dataclass(frozen=True)
class Shown:
    """A passage with its places in the two orders, None where it is not known to stand; role and moved: in words."""

    role: str
    title: str
    snippet: Snippet
    places: tuple[int | None, int | None]
    moved: str


@dataclass(frozen=True)
class Said:
    """What a system's reader answered. told: right, wrong, refused, or no verdict. by: which judge decided, when known.
    why: where the rules call the answer wrong although it contains an accepted one, what speaks against it; else
    empty."""

    system: str
    answer: str
    told: str
    by: str | None
    why: str = ""


@dataclass(frozen=True)
class Question:
    """One gold question. deciding: the passage that the right answer came from or could have; instead: what the losing
    system answered from, or had on top. Either may be missing: nothing was ranked, or both orders start alike."""

    text: str
    stratum: str
    won: bool
    accepted: tuple[str, ...]
    said: tuple[Said, Said]
    deciding: Shown | None
    instead: Shown | None


@dataclass(frozen=True)
class Duel:
    """`of` against `against`; the counts are complete, the lists hold at most the limit.

    level: questions with the same value in both. unknown: those without a value in one of them. by: the column of
    records.QuestionOutcome that tells won from lost."""

    of: str
    against: str
    won: tuple[Question, ...]
    lost: tuple[Question, ...]
    won_count: int
    lost_count: int
    level: int
    unknown: int
    by: str


def duel(
    of: str,
    against: str,
    outcomes: Mapping[str, pa.Table],
    gold: pa.Table,
    passages: pa.Table,
    *,
    metric: str = "accuracy",
    orders: Mapping[str, pa.Table] | None = None,
    limit: int = SHOWN,
) -> Duel:
    """The questions that `of` wins and loses against `against` by a metric; by rank 1 where no answer has a verdict.

    orders: query_id, passage_id, rank of whole rankings a system, for places below what the reader saw. The clearest
    questions come first: those whose deciding passage the two systems rank furthest apart.
    """
    first, second = (pl.DataFrame(outcomes[name]) for name in (of, against))
    value = _column(metric, first, second)
    columns = ["question_id", value, "answer", "top_passage_ids"]
    columns += [name for name in ("correct", "refused", "judged_by") if name in first.columns and name not in columns]
    both = first.select(columns).join(
        second.select([name for name in columns if name in second.columns]), on="question_id", suffix="_against"
    )
    both = both.with_columns((pl.col(value).cast(pl.Float64) - pl.col(f"{value}_against").cast(pl.Float64)).alias("by"))
    both = both.join(pl.DataFrame(gold), on="question_id", maintain_order="right")
    changed = both.filter(pl.col("by").fill_null(0) != 0).to_dicts()
    texts = _texts(changed, passages)
    places = _places(changed, (of, against), orders or {})
    found = [_Case(row, (of, against), texts, places.get(row["question_id"])) for row in changed]
    found.sort(key=lambda case: -case.apart)
    won, lost = ([case for case in found if case.won is side] for side in (True, False))
    return Duel(
        of=of,
        against=against,
        won=tuple(case.question() for case in won[:limit]),
        lost=tuple(case.question() for case in lost[:limit]),
        won_count=len(won),
        lost_count=len(lost),
        level=both.filter(pl.col("by") == 0).height,
        unknown=both.filter(pl.col("by").is_null()).height,
        by=value,
    )


class _Case:
    """One changed question while it is read: which passage decided it, and how far apart the systems rank that."""

    def __init__(
        self,
        row: Mapping[str, Any],
        names: tuple[str, str],
        texts: Mapping[str, tuple[str, str]],
        places: Mapping[str, tuple[int | None, int | None]] | None,
    ) -> None:
        self.row, self.names, self.texts = row, names, texts
        self.tops: tuple[list[str], list[str]] = (row["top_passage_ids"] or [], row["top_passage_ids_against"] or [])
        self._places = places or {}
        self.won: bool = row["by"] > 0
        self.accepted = tuple(row["accepted_answers"] or ())
        self.relevant = frozenset(row["relevant_passage_ids"] or ())

    @property
    def apart(self) -> int:
        """How far apart the two systems rank what the winner's reader saw, its relevant passages where it saw any."""
        seen = self.tops[0 if self.won else 1]
        good = [identifier for identifier in seen if identifier in self.relevant] or seen
        return max((abs(_gap(self.places(identifier))) for identifier in good), default=0)

    def places(self, passage: str) -> tuple[int | None, int | None]:
        """Its rank in both orders: in what the readers saw, else in the whole rankings."""
        known = self._places.get(passage, (None, None))
        mine, other = (top.index(passage) + 1 if passage in top else None for top in self.tops)
        return mine or known[0], other or known[1]

    def question(self) -> Question:
        loser = 1 if self.won else 0
        deciding, source = self._decider(), self._source(loser)
        instead = source or next((i for i in self.tops[loser][:1] if i in self.texts), None)
        role = f"{'Says what' if source else 'On top in'} {self.names[loser]}{' answered' if source else ''}"
        return Question(
            text=clipped(self.row["text"], _QUESTION),
            stratum=self.row["stratum"],
            won=self.won,
            accepted=tuple(clipped(answer, _ACCEPTED) for answer in self.accepted[:6]),
            said=(self._said(self.names[0], ""), self._said(self.names[1], "_against")),
            deciding=self._shown(deciding, "Made the difference"),
            instead=self._shown(instead if instead != deciding else None, role),
        )

    def _decider(self) -> str | None:
        """Of what the winner's reader saw: the one that says its right answer, else a relevant passage, else one that
        says an accepted answer, else the first; among several, the one that the loser ranks lowest."""
        winner = 0 if self.won else 1
        source = self._source(winner)
        if source is not None and (source in self.relevant or self.row.get("correct_against" if winner else "correct")):
            return source
        seen = [identifier for identifier in self.tops[winner] if identifier in self.texts]
        good = [identifier for identifier in seen if identifier in self.relevant]
        good = good or [i for i in seen if self.accepted and mentions(self.texts[i][1][:SEARCHED], self.accepted)]
        return max(good, key=lambda i: abs(_gap(self.places(i)))) if good else next(iter(seen), None)

    def _source(self, side: int) -> str | None:
        """The first passage in a reader's view that says its answer word for word."""
        answer = (self.row["answer_against" if side else "answer"] or "").strip()
        return next((i for i in self.tops[side] if answer and answer in self.texts.get(i, ("", ""))[1]), None)

    def _said(self, name: str, suffix: str) -> Said:
        correct, refused = self.row.get(f"correct{suffix}"), self.row.get(f"refused{suffix}")
        told = "no verdict" if correct is None else "right" if correct else "wrong"
        told = "refused" if refused and not correct else told
        answer, by = self.row[f"answer{suffix}"] or "", self.row.get(f"judged_by{suffix}")
        why = judge(answer, self.accepted, self.row["text"]).reason if told == "wrong" and by == "containment" else ""
        return Said(name, clipped(answer, _ANSWER), told, by, clipped(why, _ACCEPTED))

    def _shown(self, passage: str | None, role: str) -> Shown | None:
        if passage is None:
            return None
        title, text = self.texts[passage]
        places = self.places(passage)
        moved = _moved(places, self.names, (len(self.tops[0]), len(self.tops[1])))
        return Shown(role, clipped(title, _TITLE), snippet(text, self.accepted), places, moved)


def _gap(places: tuple[int | None, int | None]) -> int:
    """How many ranks higher the first system has it; a place that is not known lies below all others."""
    first, second = (_NOWHERE if place is None else place for place in places)
    return second - first


def _moved(places: tuple[int | None, int | None], names: tuple[str, str], read: tuple[int, int]) -> str:
    """What became of a passage, from the second system's order to the first's."""
    now, before = places
    if now == before:
        return "the same rank in both" if now else "ranked by neither"
    inside, was_inside = (place is not None and place <= room for place, room in zip(places, read, strict=True))
    if inside and not was_inside:
        return f"entered the first {read[0]} that {names[0]}'s reader sees"
    if was_inside and not inside:
        return f"left the first {read[0]} that {names[0]}'s reader sees"
    if now is None or before is None:
        return "ranked by one of the two only"
    return f"{'rose' if now < before else 'fell'} by {abs(now - before)}"


def _column(metric: str, first: pl.DataFrame, second: pl.DataFrame) -> str:
    """The column that tells won from lost."""
    wanted = (COLUMNS.get(metric, metric), "hit@1", "recall@1")
    for name in wanted:
        if all(name in frame.columns and frame[name].is_not_null().any() for frame in (first, second)):
            return name
    return "correct"


def _texts(rows: Sequence[Mapping[str, Any]], passages: pa.Table) -> dict[str, tuple[str, str]]:
    wanted = {i for row in rows for top in _TOPS for i in row[top] or ()}
    frame = pl.DataFrame(passages.select(["passage_id", "title", "text"]))
    frame = frame.filter(pl.col("passage_id").is_in(sorted(wanted)))
    return {identifier: (title or "", text or "") for identifier, title, text in frame.iter_rows()}


def _places(
    rows: Sequence[Mapping[str, Any]], names: tuple[str, str], orders: Mapping[str, pa.Table]
) -> dict[str, dict[str, tuple[int | None, int | None]]]:
    """Ranks in whole rankings of the passages that a reader saw, by question and passage."""
    found: dict[str, dict[str, tuple[int | None, int | None]]] = {}
    if not any(name in orders for name in names):
        return found
    seen = [(row["question_id"], i) for row in rows for top in _TOPS for i in row[top] or ()]
    wanted = pl.DataFrame(seen, schema={"query_id": pl.String, "passage_id": pl.String}, orient="row")
    for side, name in enumerate(names):
        if name not in orders:
            continue
        ranked = pl.DataFrame(orders[name].select(["query_id", "passage_id", "rank"]))
        for question, passage, rank in ranked.join(wanted, on=["query_id", "passage_id"], how="semi").iter_rows():
            places = found.setdefault(question, {}).get(passage, (None, None))
            found[question][passage] = (rank, places[1]) if side == 0 else (places[0], rank)
    return found
