"""A ranker as a classifier of pairs: is this passage relevant to this question, at a threshold on the score?

A search page never asks that; an answering system does when it decides how many passages to show, or to refuse.
The threshold is chosen on development pairs and never on gold.

**Unjudged passages count as not relevant.** Gold names the relevant passages it knows; a candidate that it does not
name may be relevant all the same. Each such passage that scores above the threshold is counted as a false alarm, so
precision (and F1, and accuracy) is a lower bound, the lower the more relevant passages gold does not know. Recall is
among the candidates: a relevant passage that retrieval did not find is no pair, and the ladder's recall@30 tells of it.

**The share of relevant pairs** differs between judged development pairs (people were shown the best candidates) and
whole lists of gold candidates. Precision and accuracy depend on it; recall and the shape of the score distributions
do not. Compare systems on the same pairs, not one system's figures with another data set's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.errors import InputError
from rerankops.records import RELEVANT_GRADE

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Classification:
    """Pairs called relevant when their score is at least `threshold`. precision, recall, f1: of the relevant class, 0
    where they divide by nothing (no pair called relevant). n: pairs."""

    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    n: int


def labelled(pairs: pa.Table, qrels: pa.Table) -> tuple[Floats, Flags]:
    """Scores and whether relevant, a pair each, in the order of the pairs.

    pairs: query_id, passage_id, score, at least. qrels: question_id, passage_id, grade. Pairs of questions without a
    known relevant passage are left out: nothing is known of them; the others' unjudged passages are not relevant.
    Raises InputError when a score is missing or not finite, or a pair or grade is there twice.
    """
    grades = pl.DataFrame(pl.from_arrow(qrels.select(["question_id", "passage_id", "grade"])))
    grades = grades.rename({"question_id": "query_id"})
    known = grades.filter(pl.col("grade") >= RELEVANT_GRADE).select("query_id").unique()
    scored = pl.DataFrame(pl.from_arrow(pairs.select(["query_id", "passage_id", "score"])))
    for name, table in (("pairs", scored), ("qrels", grades)):
        repeated = table.filter(table.select("query_id", "passage_id").is_duplicated())
        if len(repeated):
            question, passage = repeated.row(0)[:2]
            raise InputError(f"{name}: passage {passage!r} of question {question!r} is there more than once")
    odd = scored.filter(pl.col("score").is_null() | ~pl.col("score").is_finite())
    if len(odd):
        question, passage, score = odd.row(0)
        raise InputError(f"pairs: the score of passage {passage!r} of question {question!r} is {score}; rank again")
    kept = scored.join(known, on="query_id", how="semi", maintain_order="left")
    judged = kept.join(grades, on=["query_id", "passage_id"], how="left", maintain_order="left")
    relevant = (judged["grade"].fill_null(0) >= RELEVANT_GRADE).to_numpy()
    return judged["score"].cast(pl.Float64).to_numpy(), relevant


def both_kinds(relevant: Flags) -> bool:
    """Whether there are relevant and other pairs: without both, nothing can be chosen, fitted or compared."""
    return bool(relevant.any() and not relevant.all())


def threshold(scores: Floats, relevant: Flags) -> float:
    """The score from which a pair is called relevant so that F1 is largest; of equals the highest. scores, relevant: of
    development pairs, see `labelled`. Raises InputError when the pairs are all relevant or none is."""
    from sklearn.metrics import precision_recall_curve

    if not both_kinds(relevant):
        raise InputError(f"of {len(relevant)} pairs {int(relevant.sum())} are relevant: no threshold can be chosen")
    precision, recall, thresholds = precision_recall_curve(relevant, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[:-1]
    # precision and recall of equal counts may differ in their last digit
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)[-1]
    return float(thresholds[best])


def classify(scores: Floats, relevant: Flags, *, at: float) -> Classification:
    """How well the scores of at least `at` tell relevant pairs from others. scores, relevant: see `labelled`.
    Raises InputError when there is no pair."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    if not len(relevant):
        raise InputError("there is no pair to classify: no question has both candidates and a known relevant passage")
    called = scores >= at
    precision, recall, f1, _ = precision_recall_fscore_support(relevant, called, average="binary", zero_division=0.0)
    accuracy = float(accuracy_score(relevant, called))
    return Classification(at, accuracy, float(precision), float(recall), float(f1), len(relevant))
