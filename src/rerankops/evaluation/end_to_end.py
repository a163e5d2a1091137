"""End-to-end accuracy: what a reader answers from a system's first passages, and whether that is right.

The comparison is paired and frozen: every system is asked the same gold questions over the same candidates, and only
the order differs. A question is never dropped: one without candidates is answered "" (a refusal, from a reader that can
refuse) and is wrong; one whose answer or verdict could not be had has no verdict, which is neither.

| what happened                                       | correct | refused | judged_by             |
|-----------------------------------------------------|---------|---------|-----------------------|
| answered, and the judge says right or wrong         | so      | false   | `containment`, `llm`  |
| refused                                             | false   | true    | `refusal`             |
| answered, and the judge gave no verdict             | null    | false   | null                  |
| no answer could be had (server away, budget spent)  | null    | null    | null                  |
| any, and the question has no accepted answers       | null    | as said | null                  |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa

from rerankops.errors import InputError
from rerankops.evaluation import metrics
from rerankops.evaluation.judge import ContainmentJudge, Given, Judge, Verdict
from rerankops.evaluation.readers import Asked, Reader, Reply
from rerankops.records import QuestionOutcome

_NONE = Verdict(None, None)


def outcomes(
    system: str,
    gold: pa.Table,
    ranking: pa.Table,
    passages: pa.Table,
    reader: Reader,
    top_k: int,
    *,
    judge: Judge | None = None,
) -> pa.Table:
    """records.QuestionOutcome of one system, a row a gold question, in gold's order.

    gold: records.GoldQuestion. ranking: query_id (a gold question_id), passage_id, rank, 1 is best; rows of questions
    that gold does not have are ignored. passages: records.Passage. top_k: how many passages the reader sees.
    reader, judge: `Remembered` ones do what several systems have in common once. judge: None is containment.
    Raises InputError when a ranked passage is not among the passages.
    """
    ranked = _of(gold, ranking)
    shown = first_passages(ranked, top_k)
    questions = gold.select(["question_id", "text", "accepted_answers", "stratum"]).to_pylist()
    replies = ask(questions, shown, passages, reader)
    to_judge = {
        question["question_id"]: Given(question["text"], tuple(question["accepted_answers"]), reply.text)
        for question, reply in zip(questions, replies, strict=True)
        if question["accepted_answers"] and reply.text is not None and not reply.refused
    }
    judged = (judge or ContainmentJudge()).verdicts(list(to_judge.values()))
    verdicts = dict(zip(to_judge, judged, strict=True))
    measured = {
        row["question_id"]: row for row in metrics.per_question(ranked.to_arrow(), metrics.qrels(gold)).to_pylist()
    }
    rows = []
    for question, reply in zip(questions, replies, strict=True):
        identifier = question["question_id"]
        refusing = reply.refused and question["accepted_answers"]
        verdict = Verdict(False, "refusal") if refusing else verdicts.get(identifier, _NONE)
        rows.append(
            {
                "system": system,
                "question_id": identifier,
                "stratum": question["stratum"],
                "answer": reply.text or "",
                "correct": verdict.correct,
                "refused": None if reply.text is None else reply.refused,
                "judged_by": verdict.judged_by,
                **{name: measured.get(identifier, {}).get(name) for name in metrics.METRICS},
                "top_passage_ids": shown.get(identifier, []),
            }
        )
    return QuestionOutcome.table(rows)


def ask(
    questions: Sequence[Mapping[str, str]], shown: Mapping[str, Sequence[str]], passages: pa.Table, reader: Reader
) -> list[Reply]:
    """The reader's reply to each question (question_id, text) from the passages shown for it, all asked in one batch.

    shown: passage ids by question, best first. One that is shown nothing is not asked: there is nothing to read.
    """
    texts = _texts({identifier for ids in shown.values() for identifier in ids}, passages)
    asked = {
        question["question_id"]: Asked(
            question["question_id"], question["text"], tuple(texts[one] for one in shown[question["question_id"]])
        )
        for question in questions
        if shown.get(question["question_id"])
    }
    replies = dict(zip(asked, reader.answers(list(asked.values())), strict=True))
    nothing = Reply("", refused=reader.can_refuse)
    return [replies.get(question["question_id"], nothing) for question in questions]


def first_passages(ranked: pl.DataFrame, top_k: int) -> dict[str, list[str]]:
    """Ids of the first top_k passages of each query. ranked: query_id, passage_id, rank."""
    return dict(
        ranked.sort("query_id", "rank", "passage_id")
        .group_by("query_id", maintain_order=True)
        .agg(pl.col("passage_id").head(top_k))
        .iter_rows()
    )


def _of(gold: pa.Table, ranking: pa.Table) -> pl.DataFrame:
    """query_id, passage_id, rank of gold's questions alone."""
    asked = pl.DataFrame(gold.select(["question_id"]))
    ranked = pl.DataFrame(ranking.select(["query_id", "passage_id", "rank"]))
    return ranked.join(asked, left_on="query_id", right_on="question_id", how="semi")


def _texts(wanted: set[str], passages: pa.Table) -> dict[str, tuple[str, str]]:
    frame = pl.DataFrame(passages.select(["passage_id", "title", "text"]))
    frame = frame.filter(pl.col("passage_id").is_in(sorted(wanted)))
    texts = {identifier: (title, text) for identifier, title, text in frame.iter_rows()}
    missing = sorted(wanted - set(texts))
    if missing:
        raise InputError(f"ranking: passage {missing[0]!r} is not in the corpus, nor are {len(missing) - 1} others")
    return texts
