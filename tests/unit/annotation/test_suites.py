"""Every rule of every suite: a sound table meets them all, and each kind of damage is told by its own rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rerankops import config
from rerankops.annotation import suites
from rerankops.annotation.suites import Report, Suite
from rerankops.config import Settings
from rerankops.records import Candidate, GoldQuestion, Judgment, QueryEvent, Record

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
QUERIES, DEPTH, PASSAGES = 25, 15, 60

Row = dict[str, Any]
Changes = Mapping[int, Row | None]
"""Row number to what is different in it; None: the row is not there."""


@pytest.fixture(scope="module")
def tree() -> Settings:
    return config.load(environ={}, overrides={"promotion": {"min_questions": 20, "min_stratum_questions": 5}})


def changed(rows: list[Row], changes: Changes) -> list[Row]:
    return [row | (changes.get(number) or {}) for number, row in enumerate(rows) if changes.get(number, {}) is not None]


def looked_at(suite: Suite, folder: Path | None = None) -> Report:
    return suites.check(suite, data_docs=folder, run_name="test", now=NOON)


def told(report: Report) -> list[tuple[str, str]]:
    return [(finding.severity, finding.rule) for finding in report.findings]


def unchecked(record: Record, rows: list[Row]) -> Any:
    """A table as it may come from elsewhere: the record's columns, but keys may repeat."""
    return pl.DataFrame(rows, schema=pl.DataFrame(pl.from_arrow(record.empty())).schema).to_arrow()


# -- query events ---------------------------------------------------------------------------------------------------


def events() -> list[Row]:
    return [
        {
            "event_id": f"e{n}",
            "text": f"后备箱 {n} 多大",
            "issued_at": NOON + timedelta(minutes=n),
            "source": "log",
            "shown_passage_ids": ["p1", "p2"],
            "clicked_passage_ids": ["p2"] if n % 2 else [],
            "feedback": "none",
            "query_id": f"q{n}",
            "redactions": 0,
        }
        for n in range(200)
    ]


def events_report(tree: Settings, rows: list[Row], folder: Path | None = None) -> Report:
    table = unchecked(QueryEvent, rows)
    made = suites.query_events.suite(table, tree.queries, tree.quality, written=NOON + timedelta(days=1))
    return looked_at(made, folder)


EVENTS: dict[str, tuple[Changes, list[tuple[str, str]], str]] = {
    "no id": ({3: {"event_id": " "}}, [("critical", "event ids given")], "event ' ' has no id"),
    "an id twice": ({7: {"event_id": "e3"}}, [("critical", "event ids unique")], "event 'e3' is there more than once"),
    "out of order": (
        {9: {"issued_at": NOON}},
        [("critical", "times in order")],
        "event 'e9' of '2026-09-01 12:00",
    ),
    "one clock in the future": (
        {199: {"issued_at": NOON + timedelta(days=9)}},
        [("warning", "times plausible")],
        "event 'e199' was issued at '2026-09-10 12:00",
    ),
    "seconds read as milliseconds": (
        {n: {"issued_at": datetime(1970, 1, 21, tzinfo=UTC) + timedelta(seconds=n)} for n in range(10)},
        [("critical", "clocks right"), ("warning", "times plausible")],
        "5.0% of 200 events are from before 2000 or from the future, at most 1.0% are expected",
    ),
    "a telephone number": (
        {5: {"text": "打13812345678给我"}},
        [("critical", "free of personal data")],
        "event 'e5' still holds what reads as 'PHONE' (its text is not repeated here)",
    ),
    "a plate and a VIN": (
        {5: {"text": "沪A12345的保养"}, 6: {"text": "LSVAU2180N2183294 怎么查"}},
        [("critical", "free of personal data")],
        "event 'e5' still holds what reads as 'PLATE' (its text is not repeated here) (and 1 more: event 'e6')",
    ),
    "an identity card": (
        {5: {"text": "[PHONE] 身份证110101199003074514"}},
        [("critical", "free of personal data")],
        "'ID'",
    ),
    "a name": (
        {5: {"text": "我叫王小明"}},
        [("warning", "free of names")],
        "event 'e5' still holds what reads as 'NAME'",
    ),
    "no source": ({2: {"source": ""}}, [("warning", "source named")], "event 'e2' has no source"),
    "unknown feedback": ({2: {"feedback": "5"}}, [("critical", "feedback known")], "event 'e2' has feedback '5'"),
    "a click on what was not shown": (
        {2: {"clicked_passage_ids": ["p9"]}},
        [("warning", "clicks on what was shown")],
        "event 'e2' opened passage 'p9'",
    ),
    "texts in another field": (
        {n: {"text": "", "query_id": None} for n in range(150)},
        [("critical", "texts there"), ("critical", "usable queries")],
        "75.0% of 200 events have no text, at most 20.0% are expected; is query_log.fields.text the right field?",
    ),
    "mostly numbers": (
        {n: {"text": "12", "query_id": None} for n in range(101)},
        [("critical", "usable queries")],
        "50.5% of 200 events are no usable query",
    ),
}


def test_sound_events_meet_every_rule(tree: Settings) -> None:
    report = events_report(tree, events())
    assert report.findings == ()
    assert report.totals == {
        "events": 200, "unusable_share": 0, "empty_share": 0, "time_fault_share": 0, "personal_data": 0
    }  # fmt: skip


@pytest.mark.parametrize(("changes", "expected", "words"), EVENTS.values(), ids=list(EVENTS))
def test_damaged_events(tree: Settings, changes: Changes, expected: list[tuple[str, str]], words: str) -> None:
    report = events_report(tree, changed(events(), changes))
    assert told(report) == expected
    assert words in report.findings[0].words


def test_personal_data_are_repeated_nowhere(tree: Settings, tmp_path: Path) -> None:
    rows = changed(events(), {5: {"text": "打13812345678给我"}})
    report = events_report(tree, rows, tmp_path)
    assert report.data_docs == tmp_path / "index.html"
    pages = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")]
    assert any("free of" in page or "no text holds" in page for page in pages)
    assert not any("13812345678" in text for text in (*pages, str(report)))


def test_events_of_an_empty_table_are_refused(tree: Settings) -> None:
    assert told(events_report(tree, [])) == [("critical", "events there")]


# -- candidates -----------------------------------------------------------------------------------------------------


def candidates() -> list[Row]:
    return [
        {
            "query_id": f"q{query:02}",
            "passage_id": f"p{(query + rank) % PASSAGES:02}",
            "rank": rank,
            "fused_score": 1 / (60 + rank),
            "bm25_rank": rank,
            "bm25_score": 30.0 - rank,
            "dense_rank": rank if rank > 5 else None,
            "dense_score": 0.5 if rank > 5 else None,
        }
        for query in range(QUERIES)
        for rank in range(1, DEPTH + 1)
    ]


def candidates_report(tree: Settings, rows: list[Row], queries: int = QUERIES) -> Report:
    ids = pl.Series([f"q{query:02}" for query in range(queries)])
    passages = pl.Series([f"p{n:02}" for n in range(PASSAGES)])
    table = unchecked(Candidate, rows)
    return looked_at(suites.candidates.suite(table, ids, passages, tree.retrieval, tree.quality))


CANDIDATES: dict[str, tuple[Changes, list[tuple[str, str]], str]] = {
    "twice": (
        {1: {"passage_id": "p01"}},
        [("critical", "candidates unique")],
        "candidate 'p01' of query 'q00' is there more than once",
    ),
    "an unknown passage": (
        {4: {"passage_id": "gone"}},
        [("critical", "passages known")],
        "candidate 'gone' of query 'q00' is no passage of the corpus",
    ),
    "a query that was not asked": (
        {n: {"query_id": "q99"} for n in range(DEPTH)},
        [("critical", "queries known"), ("critical", "every query has candidates"), ("warning", "enough")],
        "candidate 'p01' of query 'q99' belongs to a query that was not searched for",
    ),
    "a gap in the ranks": (
        {14: {"rank": 20}},
        [("critical", "ranks without gaps")],
        "candidate 'p15' of query 'q00' has rank 20 of 15",
    ),
    "a rank twice": (
        {14: {"rank": 14}},
        [("critical", "ranks without gaps")],
        "candidate 'p14' of query 'q00' has rank 14 of 15 (and 1 more: candidate 'p15' of query 'q00')",
    ),
    "the wrong order": (
        {14: {"fused_score": 1.0}},
        [("critical", "order by score")],
        "candidate 'p15' of query 'q00' at rank 15 has fused score 1",
    ),
    "no number": ({14: {"bm25_score": float("nan")}}, [("critical", "scores finite")], "has 'bm25_score NaN'"),
    "an infinite score": (
        {0: {"fused_score": float("inf")}},
        [("critical", "scores finite")],
        "candidate 'p01' of query 'q00' has 'fused_score inf'",
    ),
    "found by no leg": (
        {14: dict.fromkeys(("bm25_rank", "bm25_score", "dense_rank", "dense_score"))},
        [("critical", "found by a leg")],
        "has 'no rank in either leg'",
    ),
    "deeper than a leg goes": ({14: {"bm25_rank": 16}}, [("critical", "found by a leg")], "has 'bm25_rank 16'"),
    "a rank without a score": ({14: {"dense_score": None}}, [("critical", "found by a leg")], "'dense_rank 15'"),
    "a query without candidates": (
        dict.fromkeys(range(DEPTH)),
        [("critical", "every query has candidates"), ("warning", "enough")],
        "query 'q00' has none",
    ),
    "too few": ({14: None}, [("warning", "enough")], "query 'q00' has 14 of the 15 that one leg alone can give"),
    "no dense leg": (
        {n: {"dense_rank": None, "dense_score": None} for n in range(QUERIES * DEPTH)},
        [("critical", "dense leg contributes"), ("warning", "dense leg contributes to most")],
        "the dense leg found nothing for any of 25 queries",
    ),
    "little of the BM25 leg": (
        {
            n: {"bm25_rank": None, "bm25_score": None, "dense_rank": n % DEPTH + 1, "dense_score": 0.5}
            for n in range(20 * DEPTH)
        },
        [("warning", "BM25 leg contributes to most")],
        "the BM25 leg found something for 20.0% of 25 queries, 50.0% are expected",
    ),
}


def test_sound_candidates_meet_every_rule(tree: Settings) -> None:
    report = candidates_report(tree, candidates())
    assert report.findings == ()
    assert report.totals["candidates_per_query"] == DEPTH


@pytest.mark.parametrize(("changes", "expected", "words"), CANDIDATES.values(), ids=list(CANDIDATES))
def test_damaged_candidates(tree: Settings, changes: Changes, expected: list[tuple[str, str]], words: str) -> None:
    report = candidates_report(tree, changed(candidates(), changes))
    assert told(report) == expected
    assert words in report.findings[0].words


def test_more_candidates_than_both_legs_can_give_are_refused(tree: Settings) -> None:
    rows = [
        row | {"rank": rank, "passage_id": f"p{rank:02}", "bm25_rank": None, "bm25_score": None}
        for rank, row in enumerate([candidates()[-1]] * 31, start=1)
    ]
    report = candidates_report(tree, [*candidates()[:-DEPTH], *rows])
    assert ("critical", "not too many") in told(report)
    assert any("has 31, retrieval.bm25_k + retrieval.dense_k is 30" in finding.words for finding in report.findings)


def test_a_corpus_smaller_than_the_legs_is_found_whole(tree: Settings) -> None:
    rows = [row | {"passage_id": f"p{row['rank']}"} for row in candidates() if row["rank"] <= 4]
    passages = pl.Series([f"p{n}" for n in range(1, 5)])
    asked = pl.Series([f"q{query:02}" for query in range(QUERIES)])
    rows = [row | {"dense_rank": row["rank"], "dense_score": 0.5} for row in rows]
    made = suites.candidates.suite(Candidate.table(rows), asked, passages, tree.retrieval, tree.quality)
    assert looked_at(made).findings == ()


def test_a_silent_leg_of_a_few_queries_is_only_a_warning(tree: Settings) -> None:
    rows = [row | {"dense_rank": None, "dense_score": None} for row in candidates()[: 5 * DEPTH]]
    assert told(candidates_report(tree, rows, queries=5)) == [("warning", "dense leg contributes to most")]


# -- judgments ------------------------------------------------------------------------------------------------------


def judgments() -> list[Row]:
    return [
        {
            "query_id": f"q{query}",
            "passage_id": f"p{n}",
            "query_text": f"后备箱 {query} 多大",
            "stratum": "numeric",
            "grade": n,
            "confidence": 0.9,
            "annotator_count": 3,
            "origin": "human",
        }
        for query in range(10)
        for n in range(4)
    ]


def judgments_report(tree: Settings, rows: list[Row], near_gold: frozenset[str] = frozenset()) -> Report:
    table = unchecked(Judgment, rows)
    return looked_at(suites.judgments.suite(table, near_gold, tree.annotation, tree.queries))


JUDGMENTS: dict[str, tuple[Changes, list[tuple[str, str]], str]] = {
    "twice": (
        {1: {"passage_id": "p0"}},
        [("critical", "judgments unique")],
        "passage 'p0' of query 'q0' is judged more",
    ),
    "an unknown grade": ({1: {"grade": 9}}, [("critical", "grades known")], "passage 'p1' of query 'q0' has grade 9"),
    "a confidence above 1": (
        {1: {"confidence": 1.5}},
        [("critical", "confidence a probability")],
        "passage 'p1' of query 'q0' has confidence '1.5'",
    ),
    "a confidence that is no number": (
        {1: {"confidence": float("nan")}},
        [("critical", "confidence a probability")],
        "has confidence 'NaN'",
    ),
    "an unknown origin": ({1: {"origin": "bot"}}, [("critical", "origins known")], "has origin 'bot'"),
    "no text": (
        {n: {"query_text": ""} for n in range(4)},
        [("critical", "texts given")],
        "passage 'p0' of query 'q0' has an empty query text",
    ),
    "an unknown stratum": ({1: {"stratum": "x"}}, [("warning", "strata configured")], "is of stratum 'x'"),
    "two texts": ({1: {"query_text": "保养"}}, [("warning", "one text a query")], "query 'q0' has 2 texts"),
    "no positive": (
        {n: {"grade": 1} for n in (2, 3)},
        [("warning", "a positive a query")],
        "query 'q0' ('后备箱 0 多大') has none among 4 judged passages",
    ),
    "all positive": (
        {n: {"grade": 3} for n in range(40)},
        [("warning", "positive share")],
        "100.0% of 40 grades are 2 or more, between 2.0% and 80.0% are expected",
    ),
}


def test_sound_judgments_meet_every_rule(tree: Settings) -> None:
    report = judgments_report(tree, judgments())
    assert report.findings == ()
    assert (report.totals["positive_share"], report.totals["queries"]) == (0.5, 10)


@pytest.mark.parametrize(("changes", "expected", "words"), JUDGMENTS.values(), ids=list(JUDGMENTS))
def test_damaged_judgments(tree: Settings, changes: Changes, expected: list[tuple[str, str]], words: str) -> None:
    report = judgments_report(tree, changed(judgments(), changes))
    assert told(report) == expected
    assert words in report.findings[0].words


def test_a_judged_gold_question_is_refused(tree: Settings) -> None:
    report = judgments_report(tree, judgments(), frozenset({"q3", "unjudged"}))
    assert told(report) == [("critical", "no gold")]
    assert "passage 'p0' of query 'q3' ('后备箱 3 多大') is a gold question or nearly one" in report.findings[0].words


def test_origins_that_contradict_each_other_are_named_and_small_differences_are_not(tree: Settings) -> None:
    first, second = judgments()[3], judgments()[6]
    others = [first | {"origin": "teacher", "grade": 0}, second | {"origin": "feedback", "grade": 1}]
    report = judgments_report(tree, [*judgments(), *others])
    assert told(report) == [("warning", "origins agree")]
    assert "passage 'p3' of query 'q0' has 'grade 0 by teacher and 3 by human'" in report.findings[0].words
    assert report.findings[0].observed == "2 of 42"
    assert report.totals["contradictions"] == 1


# -- gold questions -------------------------------------------------------------------------------------------------

_TEXTS = (
    "前轮胎压",
    "油箱容量",
    "保养间隔",
    "机油型号",
    "最大扭矩",
    "车身长度",
    "制动液",
    "电池保修",
    "儿童锁",
    "雨刷",
)


def gold() -> list[Row]:
    return [
        {
            "question_id": f"g{n}",
            "text": f"{_TEXTS[n % 10]}{'是多少' if n < 10 else '怎么看得出来'}",
            "accepted_answers": ["2.3"],
            "stratum": "numeric" if n < 10 else "procedure",
            "relevant_passage_ids": [f"p{n % 10}"],
            "relevant_grades": None,
        }
        for n in range(20)
    ]


def gold_report(tree: Settings, rows: list[Row], unsupported: frozenset[str] = frozenset()) -> Report:
    passages = pl.Series([f"p{n}" for n in range(10)])
    table = unchecked(GoldQuestion, rows)
    suite = suites.gold_questions.suite(table, passages, unsupported, tree.queries, tree.promotion, tree.quality)
    return looked_at(suite)


GOLD_CASES: dict[str, tuple[Changes, list[tuple[str, str]], str]] = {
    "an id twice": (
        {1: {"question_id": "g0"}},
        [("critical", "question ids unique")],
        "question 'g0' is there more than once",
    ),
    "no text": ({1: {"text": " "}}, [("critical", "texts given")], "question 'g1' has no text"),
    "no answer": (
        {1: {"accepted_answers": []}},
        [("critical", "answers given")],
        "question 'g1' ('油箱容量是多少') has no accepted answer, and promotion.metrics begin with accuracy",
    ),
    "an empty answer": ({1: {"accepted_answers": [" "]}}, [("critical", "answers given")], "question 'g1'"),
    "a grade too few": (
        {1: {"relevant_passage_ids": ["p1", "p2"], "relevant_grades": [3]}},
        [("critical", "grades for passages")],
        "question 'g1' has '1 grades for 2 passages'",
    ),
    "an unknown grade": (
        {1: {"relevant_grades": [7]}},
        [("critical", "grades for passages")],
        "question 'g1' has 'a grade that is none of 0 to 3'",
    ),
    "an unknown stratum": (
        {n: {"stratum": "x"} for n in range(5)},
        [("warning", "strata configured")],
        "question 'g0' is of stratum 'x' (and 4 more: question 'g1', question 'g2', question 'g3', …)",
    ),
    "one passage gone": (
        {1: {"relevant_passage_ids": ["p1", "gone"]}, 2: {"relevant_passage_ids": ["gone"]}},
        [("warning", "passages in the corpus")],
        "question 'g1' names passage 'gone', which the corpus does not hold (and 1 more: question 'g2')",
    ),
    "another corpus": (
        {n: {"relevant_passage_ids": ["gone"]} for n in range(2)},
        [("critical", "questions answerable from the corpus"), ("warning", "passages in the corpus")],
        "10.0% of 20 questions have relevant passages of which the corpus holds none, at most 5.0% are expected",
    ),
    "near-duplicates": (
        {19: {"text": "前轮胎压 是 多少？"}},
        [("warning", "counted once")],
        "question 'g19' ('前轮胎压 是 多少？') is nearly 'g0'",
    ),
    "a small stratum": (
        dict.fromkeys(range(14, 20)) | {n: {"stratum": "numeric"} for n in range(10, 12)},
        [("warning", "strata large enough"), ("warning", "enough questions")],
        "stratum 'procedure' has 2 questions, promotion.min_stratum_questions is 5",
    ),
}


def test_sound_gold_questions_meet_every_rule(tree: Settings) -> None:
    report = gold_report(tree, gold())
    assert report.findings == ()
    assert report.totals == {"questions": 20, "lost_share": 0, "unsupported": 0, "near_duplicates": 0}


@pytest.mark.parametrize(("changes", "expected", "words"), GOLD_CASES.values(), ids=list(GOLD_CASES))
def test_damaged_gold_questions(tree: Settings, changes: Changes, expected: list[tuple[str, str]], words: str) -> None:
    report = gold_report(tree, changed(gold(), changes))
    assert told(report) == expected
    assert words in report.findings[0].words


def test_a_set_without_strata_is_told_of_none(tree: Settings) -> None:
    assert gold_report(tree, changed(gold(), {n: {"stratum": "all"} for n in range(20)})).findings == ()
    assert judgments_report(tree, changed(judgments(), {n: {"stratum": "all"} for n in range(40)})).findings == ()


def test_an_answer_that_stands_in_no_relevant_passage_is_told_with_the_question(tree: Settings) -> None:
    report = gold_report(tree, gold(), frozenset({"g4", "g5"}))
    assert told(report) == [("warning", "answers in the passages")]
    assert "question 'g4' ('最大扭矩是多少'): answer '2.3' stands in none" in report.findings[0].words


def test_a_gate_on_ranking_needs_relevant_passages_and_no_answers(tree: Settings) -> None:
    ranking = tree.model_copy(update={"promotion": tree.promotion.model_copy(update={"metrics": ("hit@1",)})})
    assert gold_report(ranking, changed(gold(), {1: {"accepted_answers": []}})).findings == ()
    report = gold_report(ranking, changed(gold(), {1: {"relevant_passage_ids": []}}))
    assert told(report) == [("critical", "relevant passages given")]


# -- what all have in common ----------------------------------------------------------------------------------------


def test_a_rule_that_cannot_be_evaluated_is_critical(tree: Settings) -> None:
    arguments = {"column": "a", "regex": "("}
    odd = suites.Rule("odd", "ExpectColumnValuesToMatchRegex", arguments, "it fits", "warning", pl.lit(True), "", "")
    view = suites.View("rows", pl.DataFrame({"where": ["row 1"], "a": ["x"]}), [odd])
    (finding,) = looked_at(Suite("any", [view], {})).findings
    assert (finding.severity, finding.observed) == ("critical", "not evaluated")
    assert "whether it fits could not be evaluated" in finding.words


def test_text_from_outside_is_escaped_in_data_docs(tree: Settings, tmp_path: Path) -> None:
    events_report(tree, changed(events(), {2: {"feedback": "<script>alert(1)</script>"}}), tmp_path)
    pages = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")]
    assert any("alert(1)" in page for page in pages)
    assert not any("<script>alert(1)" in page for page in pages)
