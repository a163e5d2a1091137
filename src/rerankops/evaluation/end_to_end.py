"""End-to-end accuracy: what a reader answers from a system's first passages, and whether that is right.

The comparison is paired and frozen: every system is asked the same gold questions over the same candidates, and only
the order differs. A question is never dropped: one without candidates is answered "" and is wrong.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from rerankops.errors import InputError
from rerankops.evaluation import metrics
from rerankops.evaluation.normalise import contains
from rerankops.evaluation.reader import Reader
from rerankops.records import QuestionOutcome


def outcomes(
    system: str, gold: pa.Table, ranking: pa.Table, passages: pa.Table, reader: Reader, top_k: int
) -> pa.Table:
    """records.QuestionOutcome of one system, a row a gold question, in gold's order.

    gold: records.GoldQuestion. ranking: query_id (a gold question_id), passage_id, rank, 1 is best; rows of questions
    that gold does not have are ignored. passages: records.Passage. top_k: how many passages the reader sees.
    `correct` is null for a question without accepted answers (retrieval benchmarks have none).
    Raises InputError when a ranked passage is not among the passages.
    """
    asked = pl.DataFrame(gold.select(["question_id"]))
    ranked = pl.DataFrame(ranking.select(["query_id", "passage_id", "rank"])).join(
        asked, left_on="query_id", right_on="question_id", how="semi"
    )
    shown = dict(
        ranked.sort("query_id", "rank", "passage_id")
        .group_by("query_id", maintain_order=True)
        .agg(pl.col("passage_id").head(top_k))
        .iter_rows()
    )
    texts = _texts({identifier for ids in shown.values() for identifier in ids}, passages)
    measured = {
        row["question_id"]: row for row in metrics.per_question(ranked.to_arrow(), metrics.qrels(gold)).to_pylist()
    }
    rows = []
    for question in gold.to_pylist():
        identifier, accepted = question["question_id"], question["accepted_answers"]
        top = shown.get(identifier, [])
        answer = reader.answer(question["text"], [texts[passage] for passage in top]) if top else ""
        rows.append(
            {
                "system": system,
                "question_id": identifier,
                "stratum": question["stratum"],
                "answer": answer,
                "correct": contains(answer, accepted) if accepted else None,
                **{name: measured.get(identifier, {}).get(name) for name in metrics.METRICS},
                "top_passage_ids": top,
            }
        )
    return QuestionOutcome.table(rows)


def _texts(wanted: set[str], passages: pa.Table) -> dict[str, tuple[str, str]]:
    frame = pl.DataFrame(passages.select(["passage_id", "title", "text"]))
    frame = frame.filter(pl.col("passage_id").is_in(sorted(wanted)))
    texts = {identifier: (title, text) for identifier, title, text in frame.iter_rows()}
    missing = sorted(wanted - set(texts))
    if missing:
        raise InputError(f"ranking: passage {missing[0]!r} is not in the corpus, nor are {len(missing) - 1} others")
    return texts
