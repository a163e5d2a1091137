"""How much of what a ranker gets right may be memory: gold questions that a training query asks in other words.

Queries that are found to be near-duplicates of a gold question are not trained on (queries.near_duplicates). Those that
ask the same in other words are, because users ask them. The gold questions that they are close to are counted, and the
ladder shows accuracy with and without these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rerankops.records import TrainingGroup

if TYPE_CHECKING:
    from rerankops.pipeline.training import Plan
    from rerankops.retrieval.encoder import Encoder
    from rerankops.workspace import Address

_ROWS = 1024
"""Gold questions compared at a time."""


def with_close_neighbour(
    gold: NDArray[np.float32], training: NDArray[np.float32], *, cosine: float
) -> NDArray[np.bool_]:
    """Which gold questions have a training query at or above a cosine; vectors (n, d) and (m, d) of length 1."""
    if not len(training):
        return np.zeros(len(gold), dtype=bool)
    blocks = [(gold[at : at + _ROWS] @ training.T).max(axis=1) >= cosine for at in range(0, len(gold), _ROWS)]
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=bool)


def close_gold(planned: Plan, groups: Address, texts: Mapping[str, str], encoder: Encoder) -> list[str]:
    """Ids of the plan's gold questions with a close neighbour among the queries of its training groups, sorted.

    texts: of every judged query, by id. Close: `evaluation.close_cosine` of the vectors of the plan's encoder.
    """
    from rerankops.pipeline.queries import gold_texts

    workspace = planned.context.workspace
    trained = pl.DataFrame(pl.from_arrow(workspace.read(groups, TrainingGroup)))["query_id"].unique().sort()
    gold = gold_texts(planned.context, planned.gold).drop_nulls("normal")
    questions = encoder.encode_queries(gold["normal"].to_list()).vectors
    queries = encoder.encode_queries([texts[name] for name in trained]).vectors
    near = with_close_neighbour(questions, queries, cosine=planned.context.settings.evaluation.close_cosine)
    return sorted(set(gold["id"].filter(pl.Series(near))))
