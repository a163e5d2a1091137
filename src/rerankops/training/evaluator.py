"""How well a cross-encoder orders the dev groups: what picks the best checkpoint, and the card's before -> after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sentence_transformers.base.evaluation import BaseEvaluator

from rerankops.records import RELEVANT_GRADE
from rerankops.retrieval.encoder import joined
from rerankops.scoring.cross_encoder import logits

DEPTH = 10


class DevGroupsEvaluator(BaseEvaluator):  # type: ignore[misc]
    """NDCG@10 with gains 2^grade − 1, and MRR@10, over lists of a query's positives and negatives.

    groups: records.TrainingGroup, the dev split. A tie between scores counts as the worst order of it.
    """

    def __init__(self, groups: pa.Table, *, batch_size: int) -> None:
        super().__init__()
        self.primary_metric = "dev_ndcg@10"
        self.batch_size = batch_size
        self.pairs: list[tuple[str, str]] = []
        self.grades: list[NDArray[np.int64]] = []
        for group in groups.to_pylist():
            passages = [*group["positives"], *group["negatives"]]
            self.pairs += [(group["query_text"], joined(p["title"] or "", p["text"])) for p in passages]
            self.grades.append(np.array([p["grade"] or 0 for p in passages]))

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        scores = logits(model, self.pairs, batch_size=self.batch_size)
        gains, reciprocals, start = [], [], 0
        for grades in self.grades:
            s = scores[start : start + len(grades)]
            start += len(grades)
            ordered = grades[np.lexsort((grades, -s))]
            gains.append(_dcg(ordered) / _dcg(np.sort(grades)[::-1]))
            first = np.flatnonzero(ordered[:DEPTH] >= RELEVANT_GRADE)
            reciprocals.append(1 / (1 + first[0]) if len(first) else 0.0)
        return {"dev_ndcg@10": float(np.mean(gains)), "dev_mrr@10": float(np.mean(reciprocals))}


def _dcg(grades: NDArray[np.int64]) -> float:
    top = grades[:DEPTH]
    return float(((2.0**top - 1) / np.log2(np.arange(2, len(top) + 2))).sum())
