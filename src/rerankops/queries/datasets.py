"""Labelled question sets in the shapes that the field publishes them in: JSON lines, BEIR, SQuAD."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from rerankops.errors import InputError, SchemaMismatch, SettingsError
from rerankops.queries import question_sets
from rerankops.queries.sources import json_lines, read_corpus
from rerankops.records import GRADES, GoldQuestion, Passage

Questions = list[dict[str, Any]]


@dataclass(frozen=True)
class Dataset:
    """passages: records.Passage. train, gold: records.GoldQuestion of the two splits."""

    passages: pa.Table
    train: pa.Table
    gold: pa.Table


def read_dataset(folder: Path, *, train_split: str, gold_split: str) -> Dataset:
    """The set in `folder`, whichever layout it has:

    - JSON lines: `corpus.jsonl[.gz]` (doc_id, title, text), `questions.SPLIT.jsonl[.gz]` (query_id, text, answers,
      relevant_doc_ids)
    - BEIR: `corpus.jsonl[.gz]` (_id), `queries.jsonl[.gz]`, `qrels/SPLIT.tsv` (query-id, corpus-id, score); the
      largest score becomes grade 3, smaller positive ones grade 2
    - SQuAD: one `*SPLIT*.json` a split; every context is a passage

    Raises SettingsError when no layout fits or a split is absent or given twice, InputError naming file and line
    otherwise.
    """
    if not folder.is_dir():
        raise SettingsError(f"--dataset {folder} is no folder")
    if train_split == gold_split:
        raise SettingsError(f"--train-split and --gold-split are both {gold_split!r}; gold is never trained on")
    if (folder / "qrels").is_dir():
        return _of_corpus(folder, (train_split, gold_split), _beir)
    if _present(folder, "corpus"):
        return _of_corpus(folder, (train_split, gold_split), _json_lines)
    return _squad(folder, train_split, gold_split)


def _of_corpus(folder: Path, splits: tuple[str, str], read: Callable[[Path, str], Questions]) -> Dataset:
    corpus = _present(folder, "corpus")
    if corpus is None:
        raise SettingsError(f"{folder} has no corpus.jsonl or corpus.jsonl.gz")
    passages = read_corpus(str(corpus))
    known = set(passages["passage_id"].to_pylist())
    train, gold = (_questions(read(folder, split), known, f"{folder}, split {split}") for split in splits)
    return Dataset(passages, train, gold)


def _questions(rows: Questions, known: set[str], where: str) -> pa.Table:
    if not rows:
        raise InputError(f"{where}: no questions")
    for row in rows:
        unknown = [passage for passage in row["relevant_passage_ids"] if passage not in known]
        if unknown:
            raise InputError(f"{where}: question {row['question_id']} names passage {unknown[0]}, not in the corpus")
    try:
        return GoldQuestion.table(rows)
    except SchemaMismatch as error:
        raise InputError(f"{where}: {error}") from error


def _present(folder: Path, stem: str) -> Path | None:
    return next((path for ending in (".jsonl", ".jsonl.gz") if (path := folder / f"{stem}{ending}").is_file()), None)


def _json_lines(folder: Path, split: str) -> Questions:
    path = _present(folder, f"questions.{split}")
    if path is None:
        there = sorted(file.name for file in folder.glob("questions.*"))
        raise SettingsError(f"{folder} has no questions.{split}.jsonl[.gz]; it has {there}")
    rows = []
    for place, row in json_lines(str(path), setting="--dataset"):
        missing = [name for name in ("query_id", "text", "relevant_doc_ids") if name not in row]
        if missing:
            raise InputError(f"{place}: {missing[0]} is missing; the line has {sorted(row)}")
        answers, relevant = row.get("answers") or [], row["relevant_doc_ids"]
        for name, value in (("answers", answers), ("relevant_doc_ids", relevant)):
            if not isinstance(value, list):
                raise InputError(f"{place}: {name} must be a list, found {type(value).__name__}")
        rows.append(_question(row["query_id"], row["text"], answers, relevant))
    return rows


def _beir(folder: Path, split: str) -> Questions:
    queries, qrels = _present(folder, "queries"), folder / "qrels" / f"{split}.tsv"
    if queries is None:
        raise SettingsError(f"{folder} has no queries.jsonl or queries.jsonl.gz")
    if not qrels.is_file():
        there = sorted(file.name for file in qrels.parent.iterdir())
        raise SettingsError(f"{folder} has no qrels/{split}.tsv; qrels/ has {there}")
    texts: dict[str, str] = {}
    for place, row in json_lines(str(queries), setting="--dataset"):
        if row.get("_id") is None or not isinstance(row.get("text"), str):
            raise InputError(f"{place}: a query needs _id and text; the line has {sorted(row)}")
        texts[str(row["_id"])] = row["text"]
    scores: dict[str, dict[str, int]] = {}
    try:
        lines = qrels.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{qrels} is not UTF-8; convert the file and try again") from error
    for line in question_sets.qrels(enumerate(lines, start=1), texts, of=queries.name):
        if isinstance(line, question_sets.Bad):
            raise InputError(f"{qrels}:{line.where}: {line.words}")
        scores.setdefault(line.query_id, {})[line.passage_id] = line.score
    largest = max((score for judged in scores.values() for score in judged.values()), default=1)
    rows = []
    for query_id, judged in scores.items():
        relevant = {passage: score for passage, score in judged.items() if score > 0}
        grades = [GRADES[3] if score == largest else GRADES[2] for score in relevant.values()]
        if relevant:
            rows.append(_question(query_id, texts[query_id], [], list(relevant), grades))
    return rows


def _squad(folder: Path, train_split: str, gold_split: str) -> Dataset:
    passages: dict[str, dict[str, Any]] = {}
    train, gold = (_squad_split(folder, split, passages) for split in (train_split, gold_split))
    known = set(passages)
    return Dataset(
        Passage.table(passages.values()),
        _questions(train, known, f"{folder}, split {train_split}"),
        _questions(gold, known, f"{folder}, split {gold_split}"),
    )


def _squad_split(folder: Path, split: str, passages: dict[str, dict[str, Any]]) -> Questions:
    files = sorted(file for file in folder.glob("*.json") if split in file.stem)
    if len(files) != 1:
        raise SettingsError(
            f"{folder} fits no layout (corpus.jsonl, qrels/, SQuAD): {len(files)} files match *{split}*.json, "
            "one is needed"
        )
    try:
        document = json.loads(files[0].read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{files[0]} is not SQuAD JSON: {type(error).__name__} {error}") from error
    rows: Questions = []
    for found in question_sets.squad(document):
        if isinstance(found, question_sets.Bad):
            raise InputError(f"{files[0]} is not SQuAD JSON: {found.where}: {found.words}")
        passage_id = sha256(found.context.encode()).hexdigest()[:16]
        passages.setdefault(
            passage_id, {"passage_id": passage_id, "title": found.title, "text": found.context, "metadata": []}
        )
        if found.answers:
            rows.append(_question(found.question_id, found.question, list(found.answers), [passage_id]))
    return rows


def _question(
    question_id: Any, text: str, answers: list[str], relevant: list[str], grades: list[int] | None = None
) -> dict[str, Any]:
    return {
        "question_id": str(question_id),
        "text": text,
        "accepted_answers": [str(answer) for answer in answers],
        "stratum": "all",
        "relevant_passage_ids": [str(passage) for passage in relevant],
        "relevant_grades": grades,
    }
