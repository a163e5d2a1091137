"""Where independent people agree on a gold question, and what a third person has to settle. Pure.

Two answers say the same when the normalisation that the evaluation uses makes them equal; it comes in as a function.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops.annotation.gold.forms import ANNOTATOR, RESOLVER
from rerankops.intervals import wilson
from rerankops.records import RELEVANT_GRADE

WAITING, AGREED, DISPUTED, RESOLVED, DISCARDED = STATES = ("waiting", "agreed", "disputed", "resolved", "discarded")
"""waiting: too few have answered. discarded: everybody, or the resolver, says that it is no gold question."""


WHOLE = "whole set"
"""What stands in the place of a stratum for all of them together."""


@dataclass(frozen=True)
class Settled:
    """What is known of one drafted question. disputes: of answerable, answers, passages, discard; also once resolved.

    passage_overlap: mean Dice over pairs of people; None when nobody named a relevant passage.
    """

    question_id: str
    stratum: str
    state: str
    disputes: tuple[str, ...] = ()
    passage_overlap: float | None = None
    accepted_answers: tuple[str, ...] = ()
    unanswerable: bool = False
    relevant: tuple[tuple[str, int], ...] = ()
    answered_by: tuple[str, ...] = ()
    resolved_by: str | None = None


@dataclass(frozen=True)
class Accord:
    """How far people agree in a stratum, over the questions that enough have answered.

    answers: share of questions on which all agree about answerability and share an answer, with its 95 % Wilson
    interval (Wilson, 1927). passages: mean overlap (Dice). alpha: Krippendorff's, ordinal, over passages that two
    graded. None: nothing to tell it from.
    """

    stratum: str
    questions: int
    answers: float | None
    interval: tuple[float, float] | None
    passages: float | None
    alpha: float | None


def settle(
    draft: pa.Table,
    answers: pa.Table,
    *,
    normalise: Callable[[str], str],
    per_question: int,
    passage_agreement: float,
) -> list[Settled]:
    """The state of every drafted question, in the draft's order.

    draft: records.GoldDraft. answers: records.GoldAnswer, annotators' and resolvers'. An accepted answer stands when
    two people gave it, in the wording that comes first among the most frequent ones; a passage is relevant when two
    people graded it so, with the lower median of the grades given. A resolver's word stands while people disagree.
    """
    given: dict[str, list[dict[str, Any]]] = {}
    for row in answers.to_pylist():
        given.setdefault(row["question_id"], []).append(row)
    return [
        _settle(
            row["question_id"],
            row["stratum"],
            sorted(given.get(row["question_id"], []), key=lambda answer: answer["annotator_id"]),
            normalise,
            per_question,
            passage_agreement,
        )
        for row in draft.select(["question_id", "stratum"]).to_pylist()
    ]


def accord(settled: Sequence[Settled], answers: pa.Table) -> list[Accord]:
    """Agreement per stratum, and over all (WHOLE), from the answers as given, before any resolution."""
    strata = sorted({one.stratum for one in settled})
    groups = {name: [one for one in settled if one.stratum == name] for name in strata} | {WHOLE: list(settled)}
    return [_accord(name, group, answers) for name, group in groups.items() if name != WHOLE or len(strata) != 1]


def _settle(
    question_id: str,
    stratum: str,
    given: list[dict[str, Any]],
    normalise: Callable[[str], str],
    per_question: int,
    passage_agreement: float,
) -> Settled:
    people = [answer for answer in given if answer["role"] == ANNOTATOR]
    names = tuple(answer["annotator_id"] for answer in people)
    if len(people) < per_question:
        return Settled(question_id, stratum, WAITING, answered_by=names)
    shared = _shared_answers(people, normalise)
    overlap = _overlap([_relevant(answer) for answer in people])
    kinds = {(answer["discard"], answer["unanswerable"]) for answer in people}
    disputes = []
    if len({discard for discard, _ in kinds}) > 1:
        disputes.append("discard")
    elif len(kinds) > 1:
        disputes.append("answerable")
    elif kinds == {(False, False)}:
        disputes += ["answers"] if not shared else []
        disputes += ["passages"] if overlap is not None and overlap < passage_agreement else []
    known = Settled(question_id, stratum, DISPUTED, tuple(disputes), overlap, answered_by=names)
    if disputes:
        resolver = next((a for a in given if a["role"] == RESOLVER and a["annotator_id"] not in names), None)
        if resolver is None:
            return known
        known = replace(known, resolved_by=resolver["annotator_id"])
        if resolver["discard"]:
            return replace(known, state=DISCARDED)
        words, relevant = tuple(resolver["accepted_answers"]), tuple(sorted(_relevant(resolver).items()))
        return replace(
            known,
            state=RESOLVED,
            accepted_answers=words,
            unanswerable=resolver["unanswerable"],
            relevant=relevant,
        )
    if people[0]["discard"]:
        return replace(known, state=DISCARDED)
    return replace(
        known,
        state=AGREED,
        accepted_answers=shared,
        unanswerable=people[0]["unanswerable"],
        relevant=_shared_passages(people),
    )


def _shared_answers(people: Sequence[dict[str, Any]], normalise: Callable[[str], str]) -> tuple[str, ...]:
    """What all share when there are two, at least two of more; none when somebody shares nothing with anybody."""
    spoken = [{normalise(text): text for text in reversed(answer["accepted_answers"])} for answer in people]
    counted = Counter(key for said in spoken for key in said)
    shared = [key for key in dict.fromkeys(key for said in spoken for key in said) if key and counted[key] >= 2]
    if not all(any(key in said for key in shared) for said in spoken):
        return ()
    wordings = [Counter(said[key] for said in spoken if key in said) for key in shared]
    return tuple(sorted(min(found, key=lambda text: (-found[text], text)) for found in wordings))


def _shared_passages(people: Sequence[dict[str, Any]]) -> tuple[tuple[str, int], ...]:
    grades: dict[str, list[int]] = {}
    for answer in people:
        for passage_id, grade in zip(answer["graded_passage_ids"], answer["grades"], strict=True):
            grades.setdefault(passage_id, []).append(grade)
    relevant = {name: [grade for grade in found if grade >= RELEVANT_GRADE] for name, found in grades.items()}
    return tuple(sorted((name, median_low(found)) for name, found in relevant.items() if len(found) >= 2))


def _relevant(answer: dict[str, Any]) -> dict[str, int]:
    graded = zip(answer["graded_passage_ids"], answer["grades"], strict=True)
    return {passage_id: grade for passage_id, grade in graded if grade >= RELEVANT_GRADE}


def _overlap(relevant: Sequence[dict[str, int]]) -> float | None:
    """Mean Dice coefficient over pairs; a pair that names nothing at all has none."""
    pairs = [(a.keys(), b.keys()) for i, a in enumerate(relevant) for b in relevant[i + 1 :] if a or b]
    if not pairs:
        return None
    return sum(2 * len(a & b) / (len(a) + len(b)) for a, b in pairs) / len(pairs)


def _accord(stratum: str, group: Sequence[Settled], answers: pa.Table) -> Accord:
    compared = [one for one in group if one.state != WAITING]
    agreeing = sum(not set(one.disputes) & {"discard", "answerable", "answers"} for one in compared)
    overlaps = [one.passage_overlap for one in compared if one.passage_overlap is not None]
    low, high = wilson(agreeing / max(1, len(compared)), len(compared))
    return Accord(
        stratum,
        len(compared),
        agreeing / len(compared) if compared else None,
        (float(low), float(high)) if compared else None,
        sum(overlaps) / len(overlaps) if overlaps else None,
        _alpha({one.question_id for one in compared}, answers),
    )


def _alpha(question_ids: set[str], answers: pa.Table) -> float | None:
    frame = pl.DataFrame(pl.from_arrow(answers)).filter(
        pl.col("role") == ANNOTATOR, pl.col("question_id").is_in(sorted(question_ids))
    )
    graded = (
        frame.select("annotator_id", "question_id", "graded_passage_ids", grade="grades")
        .explode("graded_passage_ids", "grade")
        .drop_nulls("grade")
        .select("annotator_id", "grade", task_id=pl.concat_str("question_id", "graded_passage_ids", separator="\x1f"))
    )
    if graded.is_empty():
        return None
    from rerankops.annotation.agreement import krippendorff_alpha

    return krippendorff_alpha(graded.to_arrow())
