"""How far a judge agrees with people, on answers that people have judged: a sample read strictly, and the measures.

Agreement is the share of judged answers on which both say the same; kappa is that beyond chance (Cohen, 1960).
Answers to one question are alike, so the bootstrap behind the intervals resamples questions, not answers. An answer on
which the judge gave no verdict is counted apart: it agrees with nobody, and no mean hides it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rerankops import reading
from rerankops.config import ReadingSettings
from rerankops.errors import InputError
from rerankops.evaluation.judge import Given, Verdict
from rerankops.intervals import wilson
from rerankops.reading import Aside, Unfit
from rerankops.records import STRINGS, Record, field
from rerankops.spreadsheets import sent

JudgeSample = Record(
    "judge_samples",
    1,
    pa.schema(
        [
            field("row", pa.int32(), "of the file, from 1"),
            field("question", pa.string(), ""),
            field("accepted_answers", STRINGS, "at least one"),
            field("answer", pa.string(), "may be empty"),
            field("correct", pa.bool_(), "what a person says"),
        ]
    ),
    key=("row",),
)

COLUMNS = ("question", "accepted_answers", "answer", "correct")
_WORDS = {"right": True, "对": True, "wrong": False, "错": False}
"""Besides those of reading.flag."""


@dataclass(frozen=True)
class JudgeAgreement:
    """How a judge does against people.

    n: answers that people judged. judged: of these, by the judge. questions: different ones.
    agreement, kappa: on judged answers, with 95 % intervals (percentiles); None without any, kappa also where people
    and the judge said one and the same throughout.
    confusion: {"right": {"right": …, "wrong": …, "none": …}, "wrong": {…}}: what people say, what the judge says.
    by: of each judged_by, {"n", "agreement", "interval", "false_right", "false_wrong"}: how many it judged, and how it
    erred. Its interval is Wilson's where that is wider than the bootstrap's, which has no width when nothing differs.
    problems: missing verdicts by kind of reason. disagreements: rows of the sample, at most 50.
    """

    n: int
    judged: int
    questions: int
    agreement: float | None
    agreement_interval: tuple[float, float] | None
    kappa: float | None
    kappa_interval: tuple[float, float] | None
    confusion: dict[str, dict[str, int]]
    by: dict[str, dict[str, Any]]
    problems: dict[str, int]
    disagreements: tuple[int, ...]


# -- the sample -------------------------------------------------------------------------------------------------------


def parse(content: bytes, place: str, settings: ReadingSettings, aside: Aside | None = None) -> pa.Table:
    """JudgeSample of a file: any table (rerankops.reading), several accepted answers with | or a line end between them.

    place: the file, for the messages. A row that cannot be used goes to `aside`; without that, and where no row is
    left, raises InputError naming file, row, column and value.
    """
    rows = []
    with reading.opened(content, settings, name=place, known=COLUMNS, trimmed=True) as table:
        table.require(dict.fromkeys(COLUMNS, ""))
        for number, (at, values) in enumerate(reading.strictly(table.rows, aside), start=1):
            try:
                rows.append({"row": number, **_judged(values, flat=table.flat)})
            except Unfit as error:
                if aside is None:
                    raise InputError(f"{at}: {error}") from error
                aside.put(reading.unusable(at, error, json.dumps(values, ensure_ascii=False, default=str)))
    if not rows and not (aside and aside.count):
        raise InputError(f"{place}: no rows; give one a judged answer, with {', '.join(COLUMNS)}")
    return JudgeSample.table(rows)


def given(sample: pa.Table) -> list[Given]:
    """What the judge is asked about a JudgeSample: everything but what people said."""
    return [
        Given(row["question"], tuple(row["accepted_answers"]), row["answer"])
        for row in sample.select(["question", "accepted_answers", "answer"]).to_pylist()
    ]


def _judged(values: Mapping[str, Any], *, flat: bool) -> dict[str, Any]:
    """flat: whether cells are those of a spreadsheet."""
    row = {name: sent(value) if flat else value for name, value in values.items()}
    if flat and row["answer"] is None:
        row["answer"] = ""
    missing = [name for name in COLUMNS if row.get(name) is None]
    if missing:
        raise Unfit(f"column {missing[0]} is empty; each row needs {', '.join(COLUMNS)}")
    return {
        "question": _text(row, "question", empty=False, flat=flat),
        "accepted_answers": _accepted(row["accepted_answers"], flat=flat),
        "answer": _text(row, "answer", empty=True, flat=flat),
        "correct": _flag(row["correct"]),
    }


def _text(row: Mapping[str, Any], name: str, *, empty: bool, flat: bool) -> str:
    try:
        found = reading.text(row[name], numbers=flat)
    except Unfit as error:
        raise Unfit(error.kind, f"column {name} {error}") from error
    if found is None and not empty:
        raise Unfit(f"column {name} is {row[name]!r}, expected a text")
    return found if found is not None else str(row[name])


def _accepted(value: Any, *, flat: bool) -> list[str]:
    if flat or isinstance(value, str):
        try:
            value = re.split(r"[|｜\r\n]", reading.text(value, numbers=flat) or "")
        except Unfit as error:
            raise Unfit(error.kind, f"column accepted_answers {error}") from error
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Unfit(f"column accepted_answers is {value!r}, expected a list of texts")
    kept = [text.strip() for text in value if text.strip()]
    if not kept:
        raise Unfit("column accepted_answers is empty; a verdict needs at least one")
    return kept


def _flag(value: Any) -> bool:
    word = _WORDS.get(reading.same_signs(str(value)).strip().casefold())
    try:
        found = word if word is not None else reading.flag(value)
    except Unfit as error:
        raise Unfit(error.kind, f"column correct {error}") from error
    if found is None:
        raise Unfit(f"column correct is {value!r}, expected true or false (yes, no, 是, 否)")
    return found


# -- the measures -----------------------------------------------------------------------------------------------------


def measure(sample: pa.Table, verdicts: Sequence[Verdict], *, samples: int, seed: int) -> JudgeAgreement:
    """sample: JudgeSample. verdicts: the judge's, a row. samples: of the bootstrap."""
    people = np.array(sample["correct"].to_pylist(), bool)
    judged = np.array([verdict.correct is not None for verdict in verdicts], bool)
    said = np.array([bool(verdict.correct) for verdict in verdicts], bool)
    _, question = np.unique(np.array(sample["question"].to_pylist(), object).astype(str), return_inverse=True)
    cell = 2 * people.astype(int) + said
    tables = np.zeros((int(question.max()) + 1, 4))
    np.add.at(tables, (question[judged], cell[judged]), 1)
    whole = tables.sum(axis=0)
    kappa = float(kappas(whole[None, :])[0])
    intervals: tuple[tuple[float, float], tuple[float, float]] | None = None
    weights = np.random.default_rng(seed).multinomial(len(tables), np.full(len(tables), 1 / len(tables)), size=samples)
    if judged.any():
        resampled = weights @ tables
        resampled = resampled[resampled.sum(axis=1) > 0]
        shares = (resampled[:, 0] + resampled[:, 3]) / resampled.sum(axis=1)
        intervals = (_interval(shares), _interval(np.nan_to_num(kappas(resampled))))
    apart = judged & (people != said)
    return JudgeAgreement(
        n=len(people),
        judged=int(judged.sum()),
        questions=len(tables),
        agreement=float((whole[0] + whole[3]) / whole.sum()) if intervals else None,
        agreement_interval=intervals[0] if intervals else None,
        kappa=None if np.isnan(kappa) else kappa,
        kappa_interval=None if np.isnan(kappa) or not intervals else intervals[1],
        confusion={
            name: {
                "right": int((judged & said & (people == truth)).sum()),
                "wrong": int((judged & ~said & (people == truth)).sum()),
                "none": int((~judged & (people == truth)).sum()),
            }
            for name, truth in (("right", True), ("wrong", False))
        },
        by=_by(verdicts, people, said, question, weights),
        problems=dict(sorted(Counter(one.reason.partition(":")[0] for one in verdicts if one.correct is None).items())),
        disagreements=tuple(int(row) for row in np.flatnonzero(apart)[:50] + 1),
    )


def kappas(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cohen's kappa of each row, a 2 × 2 table laid flat; nan where both sides said one and the same throughout."""
    total = tables.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = (tables[:, 0] + tables[:, 3]) / total
        first, second = (tables[:, 2] + tables[:, 3]) / total, (tables[:, 1] + tables[:, 3]) / total
        expected = first * second + (1 - first) * (1 - second)
        found: NDArray[np.float64] = np.where(expected == 1, np.nan, (observed - expected) / (1 - expected))
    return found


def _by(
    verdicts: Sequence[Verdict],
    people: NDArray[np.bool_],
    said: NDArray[np.bool_],
    question: NDArray[np.intp],
    weights: NDArray[np.int64],
) -> dict[str, dict[str, Any]]:
    """question: of each answer, its number. weights: (samples, questions) of the bootstrap."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({verdict.judged_by for verdict in verdicts if verdict.judged_by}):
        mine = np.array([verdict.judged_by == name for verdict in verdicts])
        same = mine & (people == said)
        counts, hits = (np.bincount(question[of], minlength=weights.shape[1]) for of in (mine, same))
        drawn = weights @ counts
        bootstrap = _interval((weights @ hits)[drawn > 0] / drawn[drawn > 0])
        agreement, n = float(same.sum() / mine.sum()), int(mine.sum())
        low, high = wilson(agreement, n)
        found[name] = {
            "n": n,
            "agreement": agreement,
            "interval": (min(float(low), bootstrap[0]), max(float(high), bootstrap[1])),
            "false_right": int((mine & said & ~people).sum()),
            "false_wrong": int((mine & ~said & people).sum()),
        }
    return found


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
