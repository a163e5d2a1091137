"""Labelled sets row by row: what is read, what is set aside and why, how scores become grades and labels judgments."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rerankops.annotation.imports import Labels, grade, merge_labels, read_labels
from rerankops.annotation.imports.readers import Format
from rerankops.config import load
from rerankops.errors import InputError, SettingsError
from rerankops.records import Judgment

QUERIES, HOW = load(environ={}).queries, load(environ={}).reading


def lines(path: Path, *rows: Any) -> Path:
    """A string stands as it is, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


def told(labels: Labels) -> list[tuple[str, str, float]]:
    return list(labels.rows.select("query", "text", "score").iter_rows())


def reasons(labels: Labels) -> list[tuple[str, str]]:
    return [(Path(row.place).name, row.words) for row in labels.rejected]


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz"])
def test_pairs_are_read_with_their_titles_and_scores(tmp_path: Path, name: str) -> None:
    path = lines(
        tmp_path / name,
        {"query": "后备箱多大", "passage": "450升", "score": 1},
        {"query": "后备箱多大", "passage": {"title": "轮胎", "text": "2.3bar"}, "score": 0.25},
        "",
        {"query": "boot size", "passage": "450 l", "score": True, "more": "ignored"},
    )
    read = read_labels("pairs", path, HOW)
    assert told(read) == [("后备箱多大", "450升", 1.0), ("后备箱多大", "2.3bar", 0.25), ("boot size", "450 l", 1.0)]
    assert read.rows["title"].to_list() == ["", "轮胎", ""]
    assert read.rows["place"].to_list() == [f"{path}:{line}" for line in (1, 2, 4)]
    assert (read.graded, read.rejected) == (False, ())


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ('{"query": "a", "passage": "b", "sco', "not valid JSON"),
        (["a", "b", 1], "expected an object"),
        ({"query": "a", "passage": "b"}, "score is None, expected a number"),
        ({"query": "a", "passage": "b", "score": "one"}, "score is 'one', expected a number"),
        ('{"query": "a", "passage": "b", "score": Infinity}', "not valid JSON (Infinity is no JSON number)"),
        ({"query": " ", "passage": "b", "score": 1}, "query and passage must be texts that are not empty"),
        ({"query": "a", "passage": {"title": "t"}, "score": 1}, "query and passage must be texts"),
        ({"query": 5, "passage": "b", "score": 1}, "query and passage must be texts"),
        ('{"query": "a", "passage": "\\ud800", "score": 1}', "holds half of a surrogate pair"),
    ],
)
def test_a_pair_that_is_none_is_set_aside_with_its_line_and_content(tmp_path: Path, bad: Any, words: str) -> None:
    path = lines(tmp_path / "set.jsonl", {"query": "a", "passage": "b", "score": 1}, bad)
    read = read_labels("pairs", path, HOW)
    assert read.rows.height == 1
    (row,) = read.rejected
    assert row.place == f"{path}:2"
    assert row.words.startswith(words)
    assert row.content.strip() == (bad if isinstance(bad, str) else json.dumps(bad, ensure_ascii=False))


def test_a_line_in_another_encoding_is_set_aside_and_the_rest_read(tmp_path: Path) -> None:
    path = lines(tmp_path / "set.jsonl", {"query": "a", "passage": "b", "score": 1})
    path.write_bytes(path.read_bytes() + "é\n".encode("cp1252") + path.read_bytes())
    read = read_labels("pairs", path, HOW)
    assert read.rows.height == 2
    ((place, words),) = reasons(read)
    assert place == "set.jsonl:2"
    assert "neither UTF-8 nor GB18030" in words


def test_a_cut_off_file_and_one_without_labels_are_refused(tmp_path: Path) -> None:
    cut = lines(tmp_path / "set.jsonl.gz", *({"query": str(n), "passage": "b", "score": 1} for n in range(99)))
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cannot be read: .*; is it complete"):
        read_labels("pairs", cut, HOW)
    empty = lines(tmp_path / "none.jsonl", "x")
    with pytest.raises(
        InputError, match=r"none\.jsonl has none of the columns query, passage, title, score; it has \['x'\]"
    ):
        read_labels("pairs", empty, HOW)
    with pytest.raises(SettingsError, match="no such file"):
        read_labels("pairs", tmp_path / "nowhere.jsonl", HOW)
    with pytest.raises(SettingsError, match="pairs has no splits"):
        read_labels("pairs", empty, HOW, split="train")


def test_triples_are_read_in_both_layouts_and_their_negatives_are_weak(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "t.jsonl",
        ["q", "yes", "no"],
        {"query": "r", "positives": ["a", {"title": "t", "text": "b"}], "negatives": "c"},
        {"query": "s", "pos": "d", "neg": ["e", "f"]},
        ["q", "yes"],
        ["q", "yes", 5],
        {"query": "u"},
    )
    read = read_labels("triples", path, HOW)
    expected = [("q", "yes", 3), ("q", "no", 0), ("r", "a", 3), ("r", "b", 3), ("r", "c", 0), ("s", "d", 3)]
    assert told(read) == [*expected, ("s", "e", 0), ("s", "f", 0)]
    assert read.rows["weak"].to_list() == [score == 0 for _, _, score in told(read)]
    assert [place for place, _ in reasons(read)] == ["t.jsonl:4", "t.jsonl:5", "t.jsonl:6"]
    assert read.graded


def beir(folder: Path, qrels: str) -> Path:
    lines(
        folder / "corpus.jsonl", {"_id": "d1", "title": "t", "text": "one"}, {"_id": "d2", "text": "two"}, {"_id": "d3"}
    )
    lines(folder / "queries.jsonl", {"_id": "q1", "text": "ask"}, {"_id": "q2"})
    (folder / "qrels").mkdir()
    (folder / "qrels" / "train.tsv").write_text(qrels, encoding="utf-8")
    return folder


def test_beir_is_read_with_its_zeros_and_every_broken_row_is_set_aside(tmp_path: Path) -> None:
    qrels = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq9\td1\t1\nq1\td9\t1\nq2 d1 1\n"
    read = read_labels("beir", beir(tmp_path, qrels), HOW, split="train")
    assert told(read) == [("ask", "one", 2), ("ask", "two", 0)]
    assert read.rows["title"].to_list() == ["t", ""]
    assert reasons(read) == [
        ("queries.jsonl:2", "a query needs _id and text"),
        ("corpus.jsonl:3", "a passage needs _id and text"),
        ("train.tsv:4", "query q9 is not in queries.jsonl"),
        ("train.tsv:5", "passage d9 is not in corpus.jsonl"),
        ("train.tsv:6", "query q2 is not in queries.jsonl"),
    ]
    with pytest.raises(SettingsError, match=re.escape("one of qrels/*.tsv; there are ['train']")):
        read_labels("beir", tmp_path, HOW, split="test")


def test_questions_with_relevant_passages_are_read_and_broken_rows_set_aside(tmp_path: Path) -> None:
    lines(tmp_path / "corpus.jsonl.gz", {"doc_id": "d1", "title": "t", "text": "one"}, {"doc_id": "d2", "text": "two"})
    lines(
        tmp_path / "questions.train.jsonl",
        {"query_id": "q1", "text": "ask", "relevant_doc_ids": ["d1", "d2"]},
        {"query_id": "q2", "text": "none", "relevant_doc_ids": []},
        {"query_id": "q3", "text": "lost", "relevant_doc_ids": ["d9"]},
        {"query_id": "q4", "relevant_doc_ids": ["d1"]},
    )
    read = read_labels("questions", tmp_path, HOW, split="train")
    assert told(read) == [("ask", "one", 3), ("ask", "two", 3)]
    assert reasons(read) == [
        ("questions.train.jsonl:3", "passage d9 is not in the corpus"),
        ("questions.train.jsonl:4", "a question needs text and a list relevant_doc_ids"),
    ]
    with pytest.raises(SettingsError, match=re.escape("there are ['questions.train.jsonl']")):
        read_labels("questions", tmp_path, HOW)


SQUAD = {
    "data": [
        {
            "title": "手册",
            "paragraphs": [
                {
                    "context": "后备箱450升",
                    "qas": [
                        {"id": "1", "question": "后备箱多大", "answers": [{"text": "450升", "answer_start": 3}]},
                        {"id": "2", "question": "车重多少", "answers": [], "is_impossible": True},
                        {"id": "3", "answers": []},
                    ],
                },
                {"qas": []},
            ],
        }
    ]
}
CMRC = [
    {
        "context_text": "后备箱450升",
        "title": "手册",
        "qas": [
            {"query_id": "1", "query_text": "后备箱多大", "answers": ["450升"]},
            {"query_id": "2", "query_text": "车重多少", "answers": []},
        ],
    }
]
FLAT = [
    {"id": "1", "title": "手册", "context": "后备箱450升", "question": "后备箱多大", "answers": {"text": ["450升"]}},
    {"title": "手册", "context": "后备箱450升", "question": "车重多少", "answers": []},
]


@pytest.mark.parametrize("layout", ["squad", "cmrc", "flat"])
def test_squad_and_its_kin_give_answered_and_unanswerable_contexts(tmp_path: Path, layout: str) -> None:
    path = tmp_path / ("set.jsonl" if layout == "flat" else "set.json")
    if layout == "flat":
        lines(path, *FLAT)
    else:
        path.write_text(json.dumps(SQUAD if layout == "squad" else CMRC), encoding="utf-8")
    read = read_labels("squad", path, HOW)
    assert told(read) == [("后备箱多大", "后备箱450升", 3), ("车重多少", "后备箱450升", 1)]
    assert read.rows["title"].to_list() == ["手册", "手册"]
    if layout == "squad":
        assert [row.place.partition(":")[2] for row in read.rejected] == [
            "data[0].paragraphs[0].qas[2]",
            "data[0].paragraphs[1]",
        ]


def test_a_squad_folder_is_read_by_the_split_that_a_file_name_holds(tmp_path: Path) -> None:
    for name in ("cars-train", "cars-dev"):
        (tmp_path / f"{name}.json").write_text(json.dumps(SQUAD), encoding="utf-8")
    assert read_labels("squad", tmp_path, HOW, split="dev").rows["place"][0].startswith(str(tmp_path / "cars-dev.json"))
    with pytest.raises(SettingsError, match=r"there are \['cars-dev.json', 'cars-train.json'\]"):
        read_labels("squad", tmp_path, HOW)


@pytest.mark.parametrize("form", ["squad", "qasper"])
def test_a_document_that_is_no_json_is_named(tmp_path: Path, form: Format) -> None:
    path = tmp_path / "set.json"
    path.write_text('{"data": [', encoding="utf-8")
    with pytest.raises(InputError, match=f"{re.escape(str(path))} is not valid JSON"):
        read_labels(form, path, HOW)


def test_qasper_takes_evidence_by_how_many_answerers_chose_it(tmp_path: Path) -> None:
    def answered(*evidence: str) -> dict[str, Any]:
        return {"answer": {"evidence": list(evidence), "unanswerable": not evidence}}

    paper = {
        "title": "Reranking",
        "full_text": [{"section_name": "Method", "paragraphs": ["we rank", "we train", ""]}],
        "qas": [
            {
                "question": "how?",
                "answers": [answered("we rank", "we train"), answered("we rank"), answered("we rank")],
            },
            {"question": "table?", "answers": [answered("FLOAT SELECTED: Table 1")]},
            {"question": "why?", "answers": [answered()]},
            {"answers": []},
        ],
    }
    path = tmp_path / "qasper.json"
    path.write_text(json.dumps({"p1": paper, "p2": {"qas": []}}), encoding="utf-8")
    read = read_labels("qasper", path, HOW)
    assert told(read) == [("how?", "we rank", 3), ("how?", "we train", 2)]
    assert set(read.rows["title"]) == {"Reranking / Method"}
    assert read.notes == {"evidence_not_in_text": 1, "without_evidence": 2}
    assert [row.place.removeprefix(f"{path}:") for row in read.rejected] == ["p1.qas[3]", "p2"]


def scores(*values: float) -> pl.DataFrame:
    places = [f"f:{number}" for number in range(1, len(values) + 1)]
    return pl.DataFrame({"score": values, "place": places}, schema_overrides={"score": pl.Float64})


@pytest.mark.parametrize(
    ("rule", "values", "grades", "came_to"),
    [
        ("auto", (0, 1, 1), (0, 3, 3), "binary"),
        ("auto", (0, 1, 2, 3), (0, 1, 2, 3), "graded"),
        ("auto", (0, 0.24, 0.25, 0.5, 0.74, 0.75, 1), (0, 0, 1, 2, 2, 3, 3), "share"),
        ("largest", (-1, 0, 1, 2), (0, 0, 2, 3), "largest"),
        ("binary", (0, 0.1, 7), (0, 3, 3), "binary"),
        ("graded", (0, 1, 2), (0, 1, 2), "graded"),
        ("-1,0,2.5", (-2, -1, 0, 3), (0, 1, 2, 3), "-1,0,2.5"),
    ],
)
def test_scores_become_grades_by_the_rule_stated(
    rule: str, values: tuple[float, ...], grades: tuple[int, ...], came_to: str
) -> None:
    found, said = grade(scores(*values), rule)
    assert (tuple(found), said, found.dtype) == (grades, came_to, pl.Int8)


@pytest.mark.parametrize(
    ("rule", "values", "words"),
    [
        ("auto", (0, 1, 5, 1), r"^f:3: scores are 0, 1, 5: what do they mean\? Say it with --grades"),
        ("auto", (0, 1, 2), r"^f:3: scores are 0, 1, 2: what do they mean"),
        ("auto", (0, 1, 2, 3, 4), r"^f:5: scores are 0, 1, 2, 3, 4: what do they mean"),
        ("auto", (0.2, 0.7, -1.5, 2.5), r"^f:4: scores are -1.5, 0.2, 0.7, 2.5: what do they mean"),
        ("graded", (1, 0.5), "^f:2: score 0.5 does not fit the rule graded"),
        ("share", (1, 1.5), "^f:2: score 1.5 does not fit the rule share"),
    ],
)
def test_a_score_that_fits_no_rule_is_named(rule: str, values: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        grade(scores(*values), rule)


@pytest.mark.parametrize("rule", ["best", "1,2", "3,2,1", "0.1,0.1,0.2", "a,b,c"])
def test_an_unknown_rule_is_refused(rule: str) -> None:
    with pytest.raises(SettingsError, match="expected one of auto, binary, graded, share, largest, or three rising"):
        grade(scores(0, 1), rule)


def label(
    query: str, passage: str, grade: int, confidence: float = 0.8, *, mined: bool | None = None
) -> dict[str, Any]:
    return {
        "query_text": query, "passage_id": passage, "grade": grade, "confidence": confidence, "mined": mined
    }  # fmt: skip


def merged(*labels: dict[str, Any], gold: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], dict[str, float]]:
    frame = pl.DataFrame(labels, schema_overrides={"grade": pl.Int8, "mined": pl.Boolean})
    known = {"id": [f"g{n}" for n in range(len(gold))], "normal": list(gold)}
    table, counts = merge_labels(frame, pl.DataFrame(known, schema={"id": pl.String, "normal": pl.String}), QUERIES)
    return Judgment.conform(table.to_arrow()).to_pylist(), counts


def test_a_positive_that_was_also_mined_as_a_negative_stays_one() -> None:
    """However often it was mined, and however the query was written there."""
    rows, counts = merged(
        label("后备箱多大", "p1", 3, mined=False),
        label("后备箱多大？", "p1", 0, 0.5, mined=True),
        label("后备箱多大", "p1", 0, 0.5, mined=True),
        label("后备箱多大", "p2", 0, 0.5, mined=True),
    )
    assert [(row["passage_id"], row["grade"], row["confidence"]) for row in rows] == [("p1", 3, 0.8), ("p2", 0, 0.5)]
    assert counts["mined_negatives_of_positives"] == 2


def test_labels_of_one_pair_become_the_judgment_that_most_of_them_give() -> None:
    rows, counts = merged(
        label("后备箱多大？", "p1", 3),
        label("后备箱多大", "p1", 3, 0.5),
        label("后备箱多大!", "p1", 0),
        label("后备箱多大", "p2", 2),
        label("后备箱多大", "p2", 1, 0.6),
    )
    first, second = rows
    assert (first["passage_id"], first["grade"], first["origin"]) == ("p1", 3, "imported")
    assert first["confidence"] == pytest.approx(0.8 * 2 / 3)
    assert (second["grade"], second["confidence"]) == (1, pytest.approx(0.3))
    assert (counts["duplicates"], counts["conflicting"], counts["queries"]) == (3, 2, 1)
    assert first["stratum"] == "numeric"


def test_gold_questions_and_their_near_duplicates_never_come_in() -> None:
    gold = ("后备箱的容积是多少升",)
    rows, counts = merged(
        label("后备箱的容积是多少升", "p1", 3),
        label("后备箱的容积是多少升呢", "p1", 3),
        label("天窗怎么打开", "p1", 3),
        gold=gold,
    )
    assert [row["query_text"] for row in rows] == ["天窗怎么打开"]
    assert counts["queries_near_gold"] == 2


def test_what_is_no_usable_query_is_counted_and_left_out() -> None:
    rows, counts = merged(label("5", "p1", 3), label("x" * 500, "p1", 3), label("胎压", "p1", 3))
    assert [row["query_text"] for row in rows] == ["胎压"]
    assert counts["unusable_queries"] == 2


@pytest.mark.parametrize(
    "row",
    [
        {"query": "q", "pos": ["yes"], "neg": ["no", "yes"]},
        {"query": "q", "response": "yes", "rejected_response": ["no", "yes"]},
        {"query": "q", "positive_passages": [{"docid": "1", "text": "yes"}], "negative_passages": [{"text": "no"}]},
        {"anchor": "q", "positive": "yes", "negative": "no"},
    ],
)
def test_triples_are_read_as_other_publishers_name_them_and_a_positive_is_no_negative(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    read = read_labels("triples", lines(tmp_path / "t.jsonl", row), HOW)
    assert told(read) == [("q", "yes", 3), ("q", "no", 0)]
    assert read.notes["negatives_that_are_positive"] in (0, 1)


def test_a_row_under_names_that_nobody_knows_is_told_with_the_names_found(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", {"query": "q", "pos": "a"}, {"query": "q", "chosen": "yes", "spurned": "no"})
    (row,) = read_labels("triples", path, HOW).rejected
    assert row.words.endswith("the line has ['chosen', 'query', 'spurned']")
