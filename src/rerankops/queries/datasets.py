"""Labelled question sets in the shapes that the field publishes them in: JSON lines, BEIR, SQuAD."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops import reading
from rerankops.config import ReadingSettings
from rerankops.errors import InputError, SchemaMismatch, SettingsError
from rerankops.queries import question_sets
from rerankops.queries.grading import grade
from rerankops.queries.sources import read_corpus, table_rows
from rerankops.reading import Aside, Place, Unfit, Unusable
from rerankops.records import RELEVANT_GRADE, GoldQuestion, Passage

Questions = list[dict[str, Any]]


@dataclass(frozen=True)
class Dataset:
    """passages: records.Passage. train, gold: records.GoldQuestion of the two splits."""

    passages: pa.Table
    train: pa.Table
    gold: pa.Table


def read_dataset(
    folder: Path,
    how: ReadingSettings,
    *,
    train_split: str,
    gold_split: str,
    grades: str = "auto",
    aside: Aside | None = None,
) -> Dataset:
    """The set in `folder`, whichever layout it has:

    - JSON lines: `corpus.jsonl[.gz]` (doc_id, title, text), `questions.SPLIT.jsonl[.gz]` (query_id, text, answers,
      relevant_doc_ids)
    - BEIR: `corpus.jsonl[.gz]` (_id), `queries.jsonl[.gz]`, `qrels/SPLIT.tsv` (query-id, corpus-id, score); `grades`
      says how scores become grades (queries.grading), and grade 2 or more is relevant
    - SQuAD: one `*SPLIT*.json` a split; every context is a passage

    aside: takes rows of the corpus, questions and queries that cannot be read, which without it are errors.
    Raises SettingsError when no layout fits or a split is absent or given twice, InputError naming file and line
    otherwise.
    """
    if not folder.is_dir():
        raise SettingsError(f"--dataset {folder} is no folder")
    if train_split == gold_split:
        raise SettingsError(f"--train-split and --gold-split are both {gold_split!r}; gold is never trained on")
    if (folder / "qrels").is_dir():
        scores = [_qrels(folder, split, how, aside) for split in (train_split, gold_split)]
        by_split = dict(zip((train_split, gold_split), _graded(scores, grades), strict=True))
        return _of_corpus(folder, (train_split, gold_split), how, aside, lambda _, split: by_split[split])
    if _present(folder, "corpus"):
        return _of_corpus(
            folder, (train_split, gold_split), how, aside, lambda at, split: _json_lines(at, split, how, aside)
        )
    return _squad(folder, train_split, gold_split, how)


def _of_corpus(
    folder: Path,
    splits: tuple[str, str],
    how: ReadingSettings,
    aside: Aside | None,
    read: Callable[[Path, str], Questions],
) -> Dataset:
    corpus = _present(folder, "corpus")
    if corpus is None:
        raise SettingsError(f"{folder} has no corpus.jsonl or corpus.jsonl.gz")
    passages = read_corpus(str(corpus), how, aside=aside)
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


def _json_lines(folder: Path, split: str, how: ReadingSettings, aside: Aside | None) -> Questions:
    path = _present(folder, f"questions.{split}")
    if path is None:
        there = sorted(file.name for file in folder.glob("questions.*"))
        raise SettingsError(f"{folder} has no questions.{split}.jsonl[.gz]; it has {there}")
    rows = []
    for place, row, _ in table_rows(str(path), how, setting="--dataset", aside=aside):
        missing = [name for name in ("query_id", "text", "relevant_doc_ids") if name not in row]
        if missing:
            raise InputError(f"{place}: {missing[0]} is missing; the line has {sorted(row)}")
        answers, relevant = row.get("answers") or [], row["relevant_doc_ids"]
        for name, value in (("answers", answers), ("relevant_doc_ids", relevant)):
            if not isinstance(value, list):
                raise InputError(f"{place}: {name} must be a list, found {type(value).__name__}")
        rows.append(_question(row["query_id"], row["text"], answers, relevant))
    return rows


def _qrels(folder: Path, split: str, how: ReadingSettings, aside: Aside | None) -> pl.DataFrame:
    """query_id, text, passage_id, score and place of every line of a split."""
    queries, qrels = _present(folder, "queries"), folder / "qrels" / f"{split}.tsv"
    if queries is None:
        raise SettingsError(f"{folder} has no queries.jsonl or queries.jsonl.gz")
    if not qrels.is_file():
        there = sorted(file.name for file in qrels.parent.iterdir())
        raise SettingsError(f"{folder} has no qrels/{split}.tsv; qrels/ has {there}")
    texts: dict[str, str] = {}
    for place, row, _ in table_rows(str(queries), how, setting="--dataset", aside=aside):
        if row.get("_id") is None or not isinstance(row.get("text"), str):
            raise InputError(f"{place}: a query needs _id and text; the line has {sorted(row)}")
        texts[str(row["_id"])] = row["text"]
    rows = []
    for line in question_sets.qrels(_text_lines(qrels, how), texts, of=queries.name):
        if isinstance(line, question_sets.Bad):
            if aside is None:
                raise InputError(f"{qrels}:{line.where}: {line.words}")
            aside.read += 1
            aside.put(Unusable(Place(str(qrels), int(line.where)), "no line of qrels", line.words))
            continue
        rows.append((line.query_id, texts[line.query_id], line.passage_id, float(line.score), f"{qrels}:{line.where}"))
    schema = {
        "query_id": pl.String, "text": pl.String, "passage_id": pl.String, "score": pl.Float64, "place": pl.String
    }  # fmt: skip
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.unique(["query_id", "passage_id"], keep="last", maintain_order=True)


def _text_lines(path: Path, how: ReadingSettings) -> Iterator[tuple[int, str]]:
    for number, text, _ in reading.text_lines(path, how):
        if isinstance(text, Unfit):
            raise InputError(f"{path}:{number}: {text}")
        yield number, text


def _graded(splits: list[pl.DataFrame], rule: str) -> list[Questions]:
    """The questions of each split with their relevant passages. One rule for all: they are of one scale."""
    every = pl.concat([frame.with_columns(split=pl.lit(number)) for number, frame in enumerate(splits)])
    if every.is_empty():
        return [[] for _ in splits]
    grades, _ = grade(every, rule)
    relevant = every.with_columns(grades).filter(pl.col("grade") >= RELEVANT_GRADE)
    told: list[Questions] = []
    for number in range(len(splits)):
        groups = relevant.filter(pl.col("split") == number).group_by("query_id", maintain_order=True)
        told.append(
            [
                _question(query_id, rows["text"][0], [], rows["passage_id"].to_list(), rows["grade"].to_list())
                for (query_id,), rows in groups
            ]
        )
    return told


def _squad(folder: Path, train_split: str, gold_split: str, how: ReadingSettings) -> Dataset:
    passages: dict[str, dict[str, Any]] = {}
    train, gold = (_squad_split(folder, split, passages, how) for split in (train_split, gold_split))
    known = set(passages)
    return Dataset(
        Passage.table(passages.values()),
        _questions(train, known, f"{folder}, split {train_split}"),
        _questions(gold, known, f"{folder}, split {gold_split}"),
    )


def _squad_split(folder: Path, split: str, passages: dict[str, dict[str, Any]], how: ReadingSettings) -> Questions:
    files = sorted(file for file in folder.glob("*.json") if split in file.stem)
    if len(files) != 1:
        raise SettingsError(
            f"{folder} fits no layout (corpus.jsonl, qrels/, SQuAD): {len(files)} files match *{split}*.json, "
            "one is needed"
        )
    try:
        document = reading.whole_document(files[0], how)
    except InputError as error:
        raise InputError(f"{files[0]} is not SQuAD JSON: {str(error).removeprefix(f'{files[0]} ')}") from error
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
