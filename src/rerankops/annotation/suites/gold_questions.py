"""Gold questions: each can be answered, measured and found in the corpus, and each counts once."""

from __future__ import annotations

from collections.abc import Set

import polars as pl
import pyarrow as pa

from rerankops.annotation.suites._checks import (
    UNSTRATIFIED,
    WARNING,
    Suite,
    View,
    between,
    filled,
    named,
    never,
    share,
    totals,
    unique,
)
from rerankops.config.settings import PromotionSettings, QualitySettings, QuerySettings
from rerankops.queries.normalise import normalised, similar_pairs
from rerankops.records import GRADES


def suite(
    gold: pa.Table,
    passage_ids: pl.Series,
    unsupported: Set[str],
    queries: QuerySettings,
    promotion: PromotionSettings,
    quality: QualitySettings,
) -> Suite:
    """gold: records.GoldQuestion. passage_ids: of the corpus. unsupported: ids of questions none of whose accepted
    answers stands in any of their relevant passages (see evaluation.normalise.mentions)."""
    frame = _rows(gold, passage_ids, unsupported, queries)
    strata = frame.group_by("stratum", maintain_order=True).agg(questions=pl.len().cast(pl.Int64)).with_columns(
        named("stratum", "stratum")
    )  # fmt: skip
    configured = [stratum.name for stratum in queries.strata]
    measured = {
        "questions": float(frame.height),
        "lost_share": share(frame["lost_passage"].is_not_null()),
        "unsupported": float(frame["unsupported_answer"].is_not_null().sum()),
        "near_duplicates": float(frame["near_duplicate"].is_not_null().sum()),
    }
    correct = "correct the gold questions and load them again"
    first = promotion.metrics[0]
    if first == "accuracy":
        needed = filled(
            "answers given",
            "first_answer",
            "every question has an accepted answer",
            "{where} ({text}) has no accepted answer, and promotion.metrics begin with accuracy",
            "give it one, or gate on ndcg@10 alone",
        )
    else:
        needed = filled(
            "relevant passages given",
            "first_relevant",
            "every question has a relevant passage",
            f"{{where}} ({{text}}) has no relevant passage, and promotion.metrics begin with {first}",
            "name one, or gate on accuracy",
        )
    rows = [
        unique(
            "question ids unique", ["question_id"], "no id is there twice", "{where} is there more than once", correct
        ),
        filled("texts given", "given_text", "every question has a text", "{where} has no text", correct),
        needed,
        never(
            "grades for passages",
            "grade_fault",
            "where grades are given there is one of 0 to 3 for each relevant passage",
            "{where} has {grade_fault}",
            correct,
        ),
        never(
            "strata configured",
            "unknown_stratum",
            f"every stratum is one of {', '.join(configured)}",
            "{where} is of stratum {unknown_stratum}",
            "queries are sampled by queries.strata; a stratum of gold alone is measured but never labelled for",
            severity=WARNING,
        ),
        never(
            "passages in the corpus",
            "missing_passage",
            "every relevant passage is in the corpus",
            "{where} names passage {missing_passage}, which the corpus does not hold",
            "did the corpus change? Renew the question's relevant passages",
            severity=WARNING,
        ),
        never(
            "counted once",
            "near_duplicate",
            "no two questions are near-duplicates",
            "{where} ({text}) is nearly {near_duplicate}",
            "such questions are not independent, and intervals come out too narrow; keep one of them",
            severity=WARNING,
        ),
        never(
            "answers in the passages",
            "unsupported_answer",
            "an accepted answer stands in one of the relevant passages",
            "{where} ({text}): answer {unsupported_answer} stands in none of its relevant passages",
            "look whether the answer or the passages are wrong; a summary may well be in other words",
            severity=WARNING,
        ),
    ]
    each = [
        between(
            "strata large enough",
            "questions",
            f"every stratum has at least {promotion.min_stratum_questions} questions",
            f"{{where}} has {{questions}} questions, promotion.min_stratum_questions is "
            f"{promotion.min_stratum_questions}",
            "it is tested together with the other small ones; add questions",
            low=promotion.min_stratum_questions,
            rows=True,
            severity=WARNING,
        )
    ]
    whole = [
        between(
            "questions there",
            "questions",
            "there is a question",
            "the table is empty",
            "run refresh_corpus_index",
            low=1,
        ),
        between(
            "enough questions",
            "questions",
            f"there are at least {promotion.min_questions} questions",
            f"there are {{questions:.0f}} questions, promotion.min_questions is {promotion.min_questions}",
            "nothing will be promoted; add questions",
            low=promotion.min_questions,
            severity=WARNING,
        ),
        between(
            "questions answerable from the corpus",
            "lost_share",
            f"at most {quality.max_lost_gold_share:.1%} of the questions lost all their relevant passages",
            f"{{lost_share:.1%}} of {{questions:.0f}} questions have relevant passages of which the corpus holds none, "
            f"at most {quality.max_lost_gold_share:.1%} are expected",
            "are gold questions and corpus of the same version? Else raise quality.max_lost_gold_share",
            high=quality.max_lost_gold_share,
        ),
    ]
    views = [View("questions", frame, rows), View("strata", strata, each), totals(measured, whole)]
    return Suite("gold_questions", views, measured)


def _rows(gold: pa.Table, passage_ids: pl.Series, unsupported: Set[str], queries: QuerySettings) -> pl.DataFrame:
    """The questions with a column for each fault, null where there is none."""
    frame = pl.DataFrame(pl.from_arrow(gold)).with_columns(normal=normalised(pl.col("text")))
    known = [stratum.name for stratum in queries.strata]
    relevant, grades = pl.col("relevant_passage_ids"), pl.col("relevant_grades")
    absent = relevant.list.set_difference(pl.lit(passage_ids.unique().implode())).list.drop_nulls()
    uneven = grades.list.len() != relevant.list.len()
    unknown = grades.list.eval(~pl.element().is_in(GRADES)).list.any()
    ids = pl.Series(sorted(unsupported), dtype=pl.String)
    return (
        frame.join(_near_duplicates(frame, queries), on="question_id", how="left", maintain_order="left")
        .with_columns(missing=absent)
        .with_columns(
            named("question", "question_id"),
            given_text=pl.when(pl.col("text").str.strip_chars() != "").then("text"),
            first_answer=pl.col("accepted_answers").list.eval(
                pl.element().filter(pl.element().str.strip_chars() != "")
            ).list.first(),
            first_relevant=relevant.list.first(),
            missing_passage=pl.col("missing").list.first(),
            lost_passage=pl.when((relevant.list.len() > 0) & (pl.col("missing").list.len() == relevant.list.n_unique()))
            .then(relevant.list.first()),
            grade_fault=pl.when(uneven)
            .then(pl.format("{} grades for {} passages", grades.list.len(), relevant.list.len()))
            .when(unknown)
            .then(pl.lit("a grade that is none of 0 to 3")),
            unknown_stratum=pl.when(~pl.col("stratum").is_in([*known, UNSTRATIFIED])).then("stratum"),
        )
        .with_columns(unsupported_answer=pl.when(pl.col("question_id").is_in(ids.implode())).then("first_answer"))
        .select(pl.exclude("accepted_answers", "relevant_passage_ids", "relevant_grades", "missing", "normal"))
    )  # fmt: skip


def _near_duplicates(frame: pl.DataFrame, queries: QuerySettings) -> pl.DataFrame:
    """Columns question_id, near_duplicate: an earlier question that is nearly the same, where there is one."""
    texts = frame.unique("question_id", keep="first", maintain_order=True).with_row_index("place")
    normal = texts.select(id="question_id", normal="normal")
    place = texts.select("question_id", "place")
    return (
        similar_pairs(normal, normal, threshold=queries.near_duplicate_threshold, synonyms=queries.synonyms)
        .join(place, left_on="left_id", right_on="question_id")
        .join(place, left_on="right_id", right_on="question_id", suffix="_of")
        .filter(pl.col("place_of") < pl.col("place"))
        .sort("place", "place_of")
        .unique("left_id", keep="first", maintain_order=True)
        .select(question_id="left_id", near_duplicate="right_id")
    )
