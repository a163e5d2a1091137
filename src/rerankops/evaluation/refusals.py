"""Does a reader still refuse what the corpus does not answer, over the passages that a ranker puts on top?

A ranker that puts a confident paragraph about another car first makes a reader bolder: it answers where it should not.
Two kinds of questions show that, and on both refusing is right:

- gold questions that people marked unanswerable;
- answerable gold questions whose answer was taken out of the candidates before they are ranked: the passages that gold
  names, and every other one that holds an accepted answer. What then stands on top is what the ranker takes for the
  next best. An answer that stands elsewhere in other words is still there; it is there for every system, and the
  comparison is paired.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.evaluation import significance
from rerankops.evaluation.end_to_end import ask, first_passages
from rerankops.evaluation.normalise import mentions
from rerankops.evaluation.readers import Reader
from rerankops.records import GoldQuestion


@dataclass(frozen=True)
class RefusalQuestions:
    """questions: records.GoldQuestion, those marked unanswerable first. taken: question_id, passage_id of what is no
    candidate for them any more."""

    questions: pa.Table
    taken: pa.Table


def choose(
    gold: pa.Table, unanswerable: pa.Table, candidates: pa.Table, passages: pa.Table, *, size: int, seed: int
) -> RefusalQuestions:
    """All unanswerable questions, and `size` answerable ones without their answer.

    gold, unanswerable: records.GoldQuestion. candidates: query_id, passage_id. passages: records.Passage.
    Which answerable ones is decided by a hash of seed and question_id, so that most stay when gold grows; one without
    accepted answers cannot be taken, since nobody knows which passages would have to go.
    """
    answerable = pl.DataFrame(gold).filter(pl.col("accepted_answers").list.len() > 0)
    lots = [_lot(seed, identifier) for identifier in answerable["question_id"]]
    drawn = answerable.with_columns(_lot=pl.Series(lots, dtype=pl.String)).sort("_lot").head(size).drop("_lot")
    pairs = (
        pl.DataFrame(candidates.select(["query_id", "passage_id"]))
        .join(drawn, left_on="query_id", right_on="question_id")
        .join(pl.DataFrame(passages.select(["passage_id", "title", "text"])), on="passage_id", suffix="_passage")
    )
    told = [
        passage in relevant or mentions(f"{title}\n{text}", accepted)
        for passage, relevant, title, text, accepted in pairs.select(
            "passage_id", "relevant_passage_ids", "title", "text_passage", "accepted_answers"
        ).iter_rows()
    ]
    taken = pairs.filter(pl.Series(told, dtype=pl.Boolean)).select("passage_id", question_id="query_id")
    questions = pa.concat_tables(
        [GoldQuestion.conform(unanswerable), GoldQuestion.conform(drawn.select(GoldQuestion.columns).to_arrow())]
    )
    return RefusalQuestions(questions, taken.select("question_id", "passage_id").unique().sort(pl.all()).to_arrow())


def left(asked: RefusalQuestions, table: pa.Table) -> pa.Table:
    """What is there to rank: the rows of these questions in candidates or signals (query_id, passage_id, …), less what
    was taken out. They keep their order."""
    wanted = pl.DataFrame(asked.questions.select(["question_id"]))
    kept = (
        pl.DataFrame(table.select(["query_id", "passage_id"]))
        .with_row_index("_row")
        .join(wanted, left_on="query_id", right_on="question_id", how="semi", maintain_order="left")
        .join(
            pl.DataFrame(asked.taken),
            left_on=["query_id", "passage_id"],
            right_on=["question_id", "passage_id"],
            how="anti",
            maintain_order="left",
        )
    )
    return table.take(pa.array(kept["_row"].to_numpy()))


def refused(
    questions: pa.Table, ranking: pa.Table, passages: pa.Table, reader: Reader, top_k: int
) -> NDArray[np.float64]:
    """1 where the reader refuses, 0 where it answers, nan where no answer could be had; a value a question, in their
    order.

    questions: question_id, text, …. ranking: query_id, passage_id, rank of what is `left` to rank for them.
    """
    ranked = pl.DataFrame(ranking.select(["query_id", "passage_id", "rank"]))
    asked = questions.select(["question_id", "text"]).to_pylist()
    replies = ask(asked, first_passages(ranked, top_k), passages, reader)
    return np.array([np.nan if reply.text is None else float(reply.refused) for reply in replies])


def summary(values: NDArray[np.float64]) -> dict[str, Any] | None:
    """{asked, refused, share, interval (Wilson, 95 %), missing} for the ladder; None without any reply."""
    heard = values[~np.isnan(values)]
    if not heard.size:
        return None
    return {
        "asked": int(values.size),
        "refused": int(heard.sum()),
        "share": float(heard.mean()),
        "interval": list(significance.wilson_interval(float(heard.sum()), heard.size)),
        "missing": int(values.size - heard.size),
    }


def _lot(seed: int, identifier: str) -> str:
    return hashlib.sha256(f"{seed}:{identifier}".encode()).hexdigest()
