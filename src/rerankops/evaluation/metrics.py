"""Ranking metrics of one system, question by question, by ir-measures (MacAvaney, Macdonald and Ounis, 2022).

| column               | what it is                                                                              |
|----------------------|-----------------------------------------------------------------------------------------|
| `reciprocal_rank@10` | 1 / rank of the first relevant passage, 0 beyond rank 10; its mean is MRR@10            |
| `average_precision`  | mean over the relevant passages of the precision at each one's rank, 0 for those that   |
|                      | are not ranked; its mean is MAP                                                         |
| `ndcg@10`            | gain = grade, discount = log2(rank + 1) (Järvelin and Kekäläinen, 2002)                 |
| `ndcg_exp@10`        | gain = 2^grade - 1, the same discount (Burges et al., 2005): a full answer counts for   |
|                      | more than two partial ones                                                              |
| `hit@k`              | 1 when at least one relevant passage is among the first k, else 0 (Success@k): one      |
|                      | right passage is enough to answer from, so this is the share that can be answered       |
| `recall@k`           | share of the relevant passages that are among the first k; with r of them it is k / r   |
|                      | at most                                                                                 |

Relevant means grade >= records.RELEVANT_GRADE; NDCG alone sees the lower grades. A passage without a grade counts as
irrelevant. A question without a judged-relevant passage has nulls.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from rerankops.errors import InputError
from rerankops.records import GRADES, RELEVANT_GRADE

METRICS = (
    "reciprocal_rank@10",
    "average_precision",
    "ndcg@10",
    "ndcg_exp@10",
    "hit@1",
    "hit@6",
    "hit@30",
    "recall@1",
    "recall@6",
    "recall@30",
)
"""The metric columns of records.QuestionOutcome."""


def per_question(ranking: pa.Table, qrels: pa.Table) -> pa.Table:
    """question_id and METRICS for every question of either table, nulls where no relevant passage is known.

    ranking: query_id, passage_id, rank (1 is best). qrels: question_id, passage_id, grade.
    A question with qrels but no ranking scores 0. Raises InputError when a passage is ranked twice for one question.
    """
    import ir_measures
    from ir_measures import AP, RR, R, Success, nDCG

    rel = RELEVANT_GRADE
    measures = {
        "reciprocal_rank@10": RR(rel=rel) @ 10,
        "average_precision": AP(rel=rel),
        "ndcg@10": nDCG @ 10,
        **{f"hit@{k}": Success(rel=rel) @ k for k in (1, 6, 30)},
        **{f"recall@{k}": R(rel=rel) @ k for k in (1, 6, 30)},
    }
    # Apart from the others: computed together, ir-measures 0.4 may take these gains for both NDCGs, depending on the
    # order in which a set of measures is walked, hence on the hash seed of the process (pytrec_eval_provider.py).
    exponential = {"ndcg_exp@10": nDCG(gains={grade: 2**grade - 1 for grade in GRADES}) @ 10}
    ranks = pl.DataFrame(ranking.select(["query_id", "passage_id", "rank"]))
    _refuse_repeats(ranks)
    grades = pl.DataFrame(qrels.select(["question_id", "passage_id", "grade"]))
    known = grades.filter(pl.col("grade") >= rel)["question_id"].unique()
    judged = grades.filter(pl.col("question_id").is_in(known.implode()))
    ranked = ranks.filter(pl.col("query_id").is_in(known.implode()))
    values = {(question, name): 0.0 for question in known for name in METRICS}
    if len(known):
        scored = [ir_measures.ScoredDoc(q, p, -float(r)) for q, p, r in ranked.iter_rows()]
        relevance = [ir_measures.Qrel(q, p, int(g)) for q, p, g in judged.iter_rows()]
        for together in (measures, exponential):
            names = {str(measure): name for name, measure in together.items()}
            for found in ir_measures.iter_calc(list(together.values()), relevance, scored):
                values[found.query_id, names[str(found.measure)]] = found.value
    questions = sorted(set(ranks["query_id"]) | set(grades["question_id"]))
    columns: dict[str, pa.Array] = {"question_id": pa.array(questions, pa.string())}
    for name in METRICS:
        columns[name] = pa.array([values.get((question, name)) for question in questions], pa.float64())
    return pa.table(columns)


def qrels(gold: pa.Table) -> pa.Table:
    """question_id, passage_id, grade from records.GoldQuestion: the grades it states, else the highest."""
    passages = pl.col("relevant_passage_ids")
    stated = pl.DataFrame(gold.select(["question_id", "relevant_passage_ids", "relevant_grades"])).with_columns(
        grade=pl.col("relevant_grades").fill_null(pl.lit(max(GRADES), pl.Int8).repeat_by(passages.list.len()))
    )
    judged = stated.filter(passages.list.len() > 0).explode("relevant_passage_ids", "grade")
    distinct = judged.unique(["question_id", "relevant_passage_ids"], keep="first", maintain_order=True)
    return (
        distinct.select("question_id", passage_id="relevant_passage_ids", grade=pl.col("grade").cast(pl.Int8))
        .to_arrow()
        .cast(pa.schema([("question_id", pa.string()), ("passage_id", pa.string()), ("grade", pa.int8())]))
    )


def _refuse_repeats(ranks: pl.DataFrame) -> None:
    repeated = ranks.group_by("query_id", "passage_id").len().filter(pl.col("len") > 1)
    if len(repeated):
        query, passage, count = repeated.sort("query_id", "passage_id").row(0)
        raise InputError(
            f"ranking: passage {passage!r} is ranked {count} times for question {query!r}, once is allowed"
        )
