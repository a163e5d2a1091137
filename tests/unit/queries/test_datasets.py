"""Labelled sets in the three layouts of the field, and the file and line of everything that cannot be read."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rerankops.config import load
from rerankops.errors import InputError, SettingsError
from rerankops.queries.datasets import Dataset, read_dataset
from rerankops.reading import Aside
from rerankops.records import GoldQuestion, Passage

Row = dict[str, Any]
HOW = load(environ={}).reading
CORPUS: list[Row] = [
    {"doc_id": "d1", "title": "胎压", "text": "前轮2.3bar"},
    {"doc_id": "d2", "title": "后备箱", "text": "后备箱容积450升"},
    {"doc_id": "d3", "title": "", "text": "按住ESP键三秒"},
]
TRAIN: list[Row] = [
    {"query_id": "q1", "text": "后备箱多大", "answers": ["450升", "450 L"], "relevant_doc_ids": ["d2"]},
    {"query_id": "q2", "text": "如何开启ESP", "relevant_doc_ids": ["d3", "d1"]},
]
GOLD: list[Row] = [{"query_id": "q3", "text": "胎压多少", "answers": [2.3], "relevant_doc_ids": ["d1"]}]


def write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_json_lines(folder: Path, ending: str = "jsonl") -> None:
    write(folder / f"corpus.{ending}", CORPUS)
    write(folder / f"questions.train.{ending}", TRAIN)
    write(folder / f"questions.gold.{ending}", GOLD)


def write_beir(folder: Path, ending: str = "jsonl") -> None:
    write(folder / f"corpus.{ending}", [{"_id": row["doc_id"], **row} for row in CORPUS])
    write(folder / f"queries.{ending}", [{"_id": row["query_id"], "text": row["text"]} for row in TRAIN + GOLD])
    header = "query-id\tcorpus-id\tscore\n"
    write_qrels(folder, "train", header + "q1\td2\t3\nq1\td1\t0\nq2\td3\t3.0\nq2\td1\t2\nq2\td2\t-1\n")
    write_qrels(folder, "gold", header + "q3\td1\t3\nq3\td2\t1\n")


def write_qrels(folder: Path, split: str, text: str) -> None:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    (folder / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8", newline="")


def squad(*paragraphs: tuple[str, list[Row]], title: str = "手册") -> Row:
    listed = [{"context": context, "qas": asked} for context, asked in paragraphs]
    return {"version": "1.1", "data": [{"title": title, "paragraphs": listed}]}


def write_squad(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    two = [{"text": "450升", "answer_start": 0}, {"text": "450升", "answer_start": 9}, {"text": "450"}]
    train = squad(
        ("后备箱容积450升", [{"id": "q1", "question": "后备箱多大", "answers": two}]),
        ("按住ESP键三秒", [{"id": "q2", "question": "没有答案", "answers": [], "is_impossible": True}]),
    )
    gold = squad(
        ("前轮2.3bar", [{"id": "q3", "question": "胎压多少", "answers": [{"text": "2.3bar"}]}]),
        ("后备箱容积450升", [{"id": "q4", "question": "几升", "answers": [{"text": "450"}]}]),
    )
    (folder / "set-train-v1.json").write_text(json.dumps(train, ensure_ascii=False), encoding="utf-8")
    (folder / "set-gold-v1.json").write_text(json.dumps(gold), encoding="utf-8")


def read(folder: Path) -> Dataset:
    return read_dataset(folder, HOW, train_split="train", gold_split="gold")


def relevance(questions: pa.Table) -> dict[str, dict[str, int | None]]:
    """question_id to passage_id to grade; None where the grades are left to their default."""
    found = {}
    for row in questions.to_pylist():
        grades = row["relevant_grades"] or [None] * len(row["relevant_passage_ids"])
        found[row["question_id"]] = dict(zip(row["relevant_passage_ids"], grades, strict=True))
    return found


def refused(folder: Path, error: type[Exception], words: str, **splits: str) -> None:
    """Reading fails with one line that starts with these words."""
    with pytest.raises(error, match=re.escape(words)) as caught:
        read_dataset(folder, HOW, **{"train_split": "train", "gold_split": "gold", **splits})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_json_lines_are_read(tmp_path: Path, ending: str) -> None:
    write_json_lines(tmp_path, ending)
    found = read(tmp_path)
    assert found.passages["passage_id"].to_pylist() == ["d1", "d2", "d3"]
    assert found.train["question_id"].to_pylist() == ["q1", "q2"]
    assert found.train["accepted_answers"].to_pylist() == [["450升", "450 L"], []]
    assert found.gold["accepted_answers"].to_pylist() == [["2.3"]]
    assert relevance(found.train) == {"q1": {"d2": None}, "q2": {"d3": None, "d1": None}}


@pytest.mark.parametrize(
    ("scores", "grades"), [((1, 2, 0), None), ((1, 4, 0), None), ((1, 1, 0), (3, 3)), ((1, 2, 0), "largest")]
)
def test_a_scale_that_scores_do_not_tell_is_asked_for(
    tmp_path: Path, scores: tuple[int, ...], grades: tuple[int, ...] | str | None
) -> None:
    write_beir(tmp_path)
    write_qrels(tmp_path, "train", "".join(f"q1\td{at}\t{score}\n" for at, score in enumerate(scores, start=1)))
    write_qrels(tmp_path, "gold", "q3\td1\t1\n")
    if grades is None:
        place = f"{tmp_path / 'qrels' / 'train.tsv'}:2"
        refused(tmp_path, InputError, f"{place}: scores are 0, 1, {scores[1]}: what do they mean? Say it with --grades")
        return
    rule = grades if isinstance(grades, str) else "auto"
    found = read_dataset(tmp_path, HOW, train_split="train", gold_split="gold", grades=rule)
    assert list(relevance(found.train)["q1"].values()) == (list(grades) if isinstance(grades, tuple) else [2, 3])


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_beir_is_read_with_grades_of_0_to_3_as_they_are(tmp_path: Path, ending: str) -> None:
    write_beir(tmp_path, ending)
    found = read(tmp_path)
    assert found.passages["text"].to_pylist() == [row["text"] for row in CORPUS]
    assert found.train["text"].to_pylist() == ["后备箱多大", "如何开启ESP"]
    assert relevance(found.train) == {"q1": {"d2": 3}, "q2": {"d3": 3, "d1": 2}}
    assert relevance(found.gold) == {"q3": {"d1": 3}}
    assert found.gold["accepted_answers"].to_pylist() == [[]]


def test_squad_is_read_with_every_context_of_both_splits_as_a_passage_once(tmp_path: Path) -> None:
    write_squad(tmp_path)
    found = read(tmp_path)
    assert sorted(found.passages["text"].to_pylist()) == sorted(["后备箱容积450升", "按住ESP键三秒", "前轮2.3bar"])
    assert set(found.passages["title"].to_pylist()) == {"手册"}
    assert found.train["question_id"].to_pylist() == ["q1"]
    assert found.train["accepted_answers"].to_pylist() == [["450", "450升"]]
    texts = dict(zip(found.passages["passage_id"].to_pylist(), found.passages["text"].to_pylist(), strict=True))
    answers = {question: [texts[key] for key in keys] for question, keys in relevance(found.gold).items()}
    assert answers == {"q3": ["前轮2.3bar"], "q4": ["后备箱容积450升"]}


def test_cmrc_s_own_layout_is_read_like_squad_s(tmp_path: Path) -> None:
    write_squad(tmp_path)
    asked = [
        {"query_id": "q1", "query_text": "后备箱多大", "answers": ["450升", "450", "450升"]},
        {"query_id": "q2", "query_text": "没有答案", "answers": []},
    ]
    paragraphs = [{"context_id": "c1", "title": "手册", "context_text": "后备箱容积450升", "qas": asked}]
    (tmp_path / "set-train-v1.json").write_text(json.dumps(paragraphs), encoding="utf-8")
    found = read(tmp_path)
    assert found.train["question_id"].to_pylist() == ["q1"]
    assert found.train["accepted_answers"].to_pylist() == [["450", "450升"]]
    assert sorted(found.passages["text"].to_pylist()) == sorted(["后备箱容积450升", "前轮2.3bar"])
    assert set(found.passages["title"].to_pylist()) == {"手册"}


@pytest.mark.parametrize("layout", [write_json_lines, write_beir, write_squad])
def test_every_layout_gives_records_and_relevant_passages_that_are_in_the_corpus(
    tmp_path: Path, layout: Callable[[Path], None]
) -> None:
    layout(tmp_path)
    found = read(tmp_path)
    assert found.passages.schema == Passage.schema
    assert found.train.schema == found.gold.schema == GoldQuestion.schema
    known = set(found.passages["passage_id"].to_pylist())
    named = {key for table in (found.train, found.gold) for keys in relevance(table).values() for key in keys}
    assert named <= known
    assert set(found.gold["stratum"].to_pylist()) == {"all"}


@pytest.mark.parametrize("header", ["", "query-id\tcorpus-id\tscore\n", "\ufeffquery-id\tcorpus-id\tscore\r\n", "\n"])
def test_qrels_may_lack_a_header_and_hold_blank_lines(tmp_path: Path, header: str) -> None:
    write_beir(tmp_path)
    write_qrels(tmp_path, "gold", header + 'q3\td1\t3\r\n\nq3\td"2\t0\n')
    assert relevance(read(tmp_path).gold) == {"q3": {"d1": 3}}


def test_a_beir_query_whose_passages_are_all_irrelevant_is_left_out(tmp_path: Path) -> None:
    write_beir(tmp_path)
    write_qrels(tmp_path, "gold", "q3\td1\t3\nq1\td1\t0\n")
    assert read(tmp_path).gold["question_id"].to_pylist() == ["q3"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", SettingsError, f"--dataset {tmp_path / 'nowhere'} is no folder")


def test_a_folder_of_no_layout_is_refused_with_the_layouts_there_are(tmp_path: Path) -> None:
    refused(tmp_path, SettingsError, f"{tmp_path} fits no layout (corpus.jsonl, qrels/, SQuAD): 0 files match")


@pytest.mark.parametrize("layout", [write_json_lines, write_beir, write_squad])
def test_one_split_cannot_be_both_training_and_gold(tmp_path: Path, layout: Callable[[Path], None]) -> None:
    layout(tmp_path)
    refused(tmp_path, SettingsError, "--train-split and --gold-split are both 'gold'", train_split="gold")


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (write_json_lines, "has no questions.dev.jsonl[.gz]; it has ['questions.gold.jsonl', 'questions.train.jsonl']"),
        (write_beir, "has no qrels/dev.tsv; qrels/ has ['gold.tsv', 'train.tsv']"),
        (write_squad, "0 files match *dev*.json, one is needed"),
    ],
)
def test_a_missing_split_is_refused_with_those_there_are(
    tmp_path: Path, layout: Callable[[Path], None], words: str
) -> None:
    layout(tmp_path)
    refused(tmp_path, SettingsError, words, gold_split="dev")


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_beir_without_corpus_or_queries_is_refused(tmp_path: Path, name: str) -> None:
    write_beir(tmp_path)
    (tmp_path / name).unlink()
    refused(tmp_path, SettingsError, f"{tmp_path} has no {name} or {name}.gz")


def test_a_split_without_questions_is_refused(tmp_path: Path) -> None:
    write_json_lines(tmp_path)
    (tmp_path / "questions.gold.jsonl").write_text("\n")
    refused(tmp_path, InputError, f"{tmp_path}, split gold: no questions")


def test_a_relevant_passage_that_is_not_in_the_corpus_is_named(tmp_path: Path) -> None:
    write_json_lines(tmp_path)
    write(tmp_path / "questions.gold.jsonl", [GOLD[0] | {"relevant_doc_ids": ["d1", "d9"]}])
    refused(tmp_path, InputError, f"{tmp_path}, split gold: question q3 names passage d9, not in the corpus")


def test_a_relevant_beir_passage_that_is_not_in_the_corpus_is_named(tmp_path: Path) -> None:
    write_beir(tmp_path)
    write_qrels(tmp_path, "gold", "q3\td9\t3\n")
    refused(tmp_path, InputError, "split gold: question q3 names passage d9, not in the corpus")


@pytest.mark.parametrize("layout", [write_json_lines, write_squad])
def test_a_question_given_twice_is_named_with_its_split(tmp_path: Path, layout: Callable[[Path], None]) -> None:
    layout(tmp_path)
    again = [{"id": "q3", "question": "胎压", "answers": [{"text": "2.3bar"}]}] * 2
    write(tmp_path / "questions.gold.jsonl", GOLD * 2)
    (tmp_path / "set-gold-v1.json").write_text(json.dumps(squad(("前轮2.3bar", again))))
    refused(tmp_path, InputError, f"{tmp_path}, split gold: gold_questions: 1 repeated key(s)")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "胎压", "relevant_doc_ids": []}, "query_id is missing"),
        ({"query_id": "q3", "relevant_doc_ids": []}, "text is missing"),
        ({"query_id": "q3", "text": "胎压"}, "relevant_doc_ids is missing; the line has ['query_id', 'text']"),
        (GOLD[0] | {"relevant_doc_ids": "d1"}, "relevant_doc_ids must be a list, found str"),
        (GOLD[0] | {"relevant_doc_ids": None}, "relevant_doc_ids must be a list, found NoneType"),
        (GOLD[0] | {"answers": "2.3bar"}, "answers must be a list, found str"),
    ],
)
def test_a_question_line_that_lacks_something_is_named(tmp_path: Path, row: Row, words: str) -> None:
    write_json_lines(tmp_path)
    path = tmp_path / "questions.gold.jsonl"
    write(path, [row])
    refused(tmp_path, InputError, f"{path}:1: {words}")


def test_a_question_whose_text_is_no_text_is_named_with_its_split(tmp_path: Path) -> None:
    write_json_lines(tmp_path)
    write(tmp_path / "questions.gold.jsonl", [GOLD[0] | {"text": 5}])
    refused(tmp_path, InputError, f"{tmp_path}, split gold: gold_questions: column 'text'")


def test_a_broken_line_is_named_in_any_file(tmp_path: Path) -> None:
    write_json_lines(tmp_path)
    for name in ("corpus.jsonl", "questions.train.jsonl"):
        path = tmp_path / name
        whole = path.read_bytes()
        path.write_bytes(whole + b'{"doc_id": "d4", "te')
        refused(tmp_path, InputError, f"{path}:{whole.count(b'{') + 1}: not valid JSON")
        path.write_bytes(whole)


def test_bad_rows_of_a_set_can_be_set_aside(tmp_path: Path) -> None:
    write_beir(tmp_path)
    for name in ("corpus.jsonl", "queries.jsonl"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes() + b'{"_id": "x", "te\n')
    write_qrels(tmp_path, "gold", "q3\td1\t3\nq9\td1\t1\n")
    aside = Aside()
    found = read_dataset(tmp_path, HOW, train_split="train", gold_split="gold", aside=aside)
    assert relevance(found.gold) == {"q3": {"d1": 3}}
    assert aside.count == 4  # the queries are read for both splits


def test_a_cut_off_gzip_is_named(tmp_path: Path) -> None:
    write_json_lines(tmp_path, "jsonl.gz")
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    refused(tmp_path, InputError, f"{path} cannot be read")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("q3\tx\td1\t1", "expected query-id, corpus-id, score separated by tabs"),
        ("q3\td1", "expected query-id, corpus-id, score separated by tabs"),
        ("q3\td1\tyes", "score is 'yes', expected a whole number"),
        ("q3\td1\t0.5", "score is '0.5', expected a whole number"),
        ("q3\td1\t--1", "score is '--1', expected a whole number"),
        ("q3\td1\t²", "score is '²', expected a whole number"),
        ("q9\td1\t1", "query q9 is not in queries.jsonl"),
    ],
)
def test_a_bad_qrels_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    write_beir(tmp_path)
    write_qrels(tmp_path, "gold", f"query-id\tcorpus-id\tscore\nq3\td1\t1\n{line}\n")
    refused(tmp_path, InputError, f"{tmp_path / 'qrels' / 'gold.tsv'}:3: {words}")


def test_a_first_qrels_line_that_judges_a_query_is_no_header(tmp_path: Path) -> None:
    write_beir(tmp_path)
    write_qrels(tmp_path, "gold", "q3\td1\tyes\nq3\td1\t1\n")
    refused(tmp_path, InputError, "gold.tsv:1: score is 'yes', expected a whole number")


@pytest.mark.parametrize("line", ["q3 d1 1", "q3\td1\t1.0", "q3 0 d1 1", "q3,d1,1", "q3\tQ0\td1\t１", "q3;d1;1"])
def test_qrels_are_read_with_any_separator_and_in_trec_s_columns(tmp_path: Path, line: str) -> None:
    write_beir(tmp_path)
    write_qrels(tmp_path, "train", "q1\td2\t1\n")
    write_qrels(tmp_path, "gold", f"{line}\n")
    assert relevance(read(tmp_path).gold) == {"q3": {"d1": 3}}


def test_qrels_with_a_broken_byte_are_named(tmp_path: Path) -> None:
    write_beir(tmp_path)
    path = tmp_path / "qrels" / "gold.tsv"
    path.write_bytes(b"q3\td1\t1\n\xff\td1\t1\n")
    refused(tmp_path, InputError, f"{path}:2: byte 0xff at 0 is neither UTF-8 nor GB18030")


@pytest.mark.parametrize("row", [{"text": "胎压"}, {"_id": "q3"}, {"_id": "q3", "text": None}])
def test_a_beir_query_without_id_or_text_is_named(tmp_path: Path, row: Row) -> None:
    write_beir(tmp_path)
    path = tmp_path / "queries.jsonl"
    write(path, [{"_id": "q1", "text": "后备箱多大"}, row])
    refused(tmp_path, InputError, f"{path}:2: a query needs _id and text")


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"data": [',
        "[]",
        "{}",
        '{"data": 3}',
        '{"data": [[]]}',
        '{"data": [{"title": "a"}]}',
        '{"data": [{"paragraphs": ["text"]}]}',
        '{"data": [{"paragraphs": [{"qas": []}]}]}',
        '{"data": [{"paragraphs": [{"context": 3, "qas": []}]}]}',
        '{"data": [{"paragraphs": [{"context": "c", "qas": ["q"]}]}]}',
        '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": 1, "answers": [{"text": "c"}]}]}]}]}',
        '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": 1, "question": "q", "answers": ["c"]}]}]}]}',
        "[" * 20_000,
    ],
)
def test_broken_squad_is_named(tmp_path: Path, content: str) -> None:
    write_squad(tmp_path)
    path = tmp_path / "set-gold-v1.json"
    path.write_text(content)
    refused(tmp_path, InputError, f"{path} is not SQuAD JSON")


def test_squad_with_a_broken_byte_is_named(tmp_path: Path) -> None:
    write_squad(tmp_path)
    path = tmp_path / "set-gold-v1.json"
    path.write_bytes(json.dumps(squad(("前轮", [])), ensure_ascii=False).encode().replace("前".encode(), b"\xff"))
    refused(tmp_path, InputError, f"{path} is not SQuAD JSON: line 1 byte 0xff")


def test_a_split_that_two_squad_files_fit_is_refused(tmp_path: Path) -> None:
    write_squad(tmp_path)
    (tmp_path / "other-gold.json").write_text("{}")
    refused(tmp_path, SettingsError, "2 files match *gold*.json, one is needed")
