"""Reading labelled sets row by row: whatever cannot be read is set aside with its place and the reason.

| format    | what it is                                                                                      |
|-----------|-------------------------------------------------------------------------------------------------|
| pairs     | JSON lines {"query", "passage", "score"}; a passage is a text or {"title", "text"}               |
| triples   | JSON lines [query, positive, negative], or {"query", "positives", "negatives"}, texts or lists    |
| beir      | a folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv                                          |
| questions | a folder: corpus.jsonl, questions.SPLIT.jsonl {"text", "relevant_doc_ids"}                       |
| squad     | JSON in SQuAD's layout or CMRC's, or JSON lines {"context", "question", "answers"}               |
| qasper    | JSON {paper: {"title", "full_text", "qas"}}; evidence paragraphs are what is relevant           |

Files may be gzipped. Grades that follow from the format: positives and relevant passages 3, negatives 0; the context of
an answered question 3, of an unanswerable one 1 (same topic); a paragraph that at least half of QASPER's answerers took
for evidence 3, other evidence 2.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from rerankops.errors import InputError, SettingsError
from rerankops.queries import question_sets
from rerankops.queries.question_sets import Bad
from rerankops.records import GRADES

Format = Literal["pairs", "triples", "beir", "questions", "squad", "qasper"]
FORMATS: tuple[str, ...] = get_args(Format)
SCHEMA = {
    "query": pl.String, "title": pl.String, "text": pl.String, "score": pl.Float64, "weak": pl.Boolean,
    "place": pl.String,
}  # fmt: skip
_POSITIVES = ("positives", "positive", "pos")
_NEGATIVES = ("negatives", "negative", "neg")
_BLANK = frozenset("\ufeff \t\r\n")
_EXCERPT = 2000


@dataclass(frozen=True)
class Rejected:
    """A row that is no label. place: FILE:LINE, or FILE and the path in its JSON. content: the row, cut if long."""

    place: str
    words: str
    content: str


@dataclass(frozen=True)
class Labels:
    """rows: SCHEMA, in the order read; weak: a set only calls it negative, nobody graded it. graded: score is a grade
    already, else it waits for a rule (see grading). notes: what was passed over, counted."""

    rows: pl.DataFrame
    graded: bool
    rejected: tuple[Rejected, ...]
    notes: dict[str, int]


@dataclass
class _Reading:
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in SCHEMA})
    rejected: list[Rejected] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, query: str, title: str, text: str, score: float, weak: bool, place: str) -> None:
        columns = self.columns
        columns["query"].append(query)
        columns["title"].append(title)
        columns["text"].append(text)
        columns["score"].append(score)
        columns["weak"].append(weak)
        columns["place"].append(place)

    def reject(self, place: str, words: str, content: str = "") -> None:
        self.rejected.append(Rejected(place, words, content[:_EXCERPT]))


def read_labels(form: Format, path: Path, *, split: str | None = None) -> Labels:
    """The labels at `path`. split: of qrels, or what the name of a SQuAD or QASPER file in a folder holds.

    Raises SettingsError when there is nothing of that format, InputError when a file ends early or no row is a label.
    Rows that are none are in `rejected`.
    """
    reading = _Reading()
    graded = _READERS[form](path, split, reading)
    rows = pl.DataFrame(reading.columns, schema=SCHEMA)
    if rows.is_empty():
        first = f"; the first row: {reading.rejected[0].place}: {reading.rejected[0].words}" if reading.rejected else ""
        raise InputError(f"{path} holds no label of format {form}{first}")
    return Labels(rows, graded, tuple(reading.rejected), dict(reading.notes))


def _pairs(path: Path, split: str | None, reading: _Reading) -> bool:
    _no_split("pairs", split)
    for place, line, row in _json_lines(path, reading):
        if type(row) is not dict:
            reading.reject(place, 'expected an object {"query", "passage", "score"}', line)
            continue
        query, score = row.get("query"), row.get("score")
        title, text = _passage(row.get("passage"))
        if not isinstance(query, str) or not query.strip() or text is None:
            reading.reject(place, "query and passage must be texts that are not empty", line)
        elif not isinstance(score, int | float) or not math.isfinite(score):
            reading.reject(place, f"score is {score!r}, expected a number", line)
        else:
            reading.add(query, title, text, float(score), False, place)
    return False


def _triples(path: Path, split: str | None, reading: _Reading) -> bool:
    _no_split("triples", split)
    for place, line, row in _json_lines(path, reading):
        if type(row) is list and len(row) == 3:
            query, positives, negatives = row[0], [row[1]], [row[2]]
        elif type(row) is dict:
            query = row.get("query")
            positives, negatives = (_listed(row, names) for names in (_POSITIVES, _NEGATIVES))
        else:
            reading.reject(place, "expected [query, positive, negative] or an object", line)
            continue
        read = [(*_passage(one), True) for one in positives] + [(*_passage(one), False) for one in negatives]
        if not _filled(query) or not read or any(text is None for _, text, _ in read):
            reading.reject(place, "query, positives and negatives must be texts that are not empty", line)
            continue
        for title, text, positive in read:
            reading.add(query, title, str(text), GRADES[3] if positive else GRADES[0], not positive, place)
    return True


def _beir(path: Path, split: str | None, reading: _Reading) -> bool:
    folder = path / "qrels"
    qrels = folder / f"{split}.tsv"
    if not folder.is_dir() or not qrels.is_file():
        there = sorted(file.stem for file in folder.glob("*.tsv")) if folder.is_dir() else []
        raise SettingsError(f"{path}: --format beir needs --split, one of qrels/*.tsv; there are {there}")
    texts: dict[str, str] = {}
    for place, line, row in _json_lines(_stem(path, "queries"), reading):
        if type(row) is not dict or row.get("_id") is None or not _filled(row.get("text")):
            reading.reject(place, "a query needs _id and text", line)
        else:
            texts[str(row["_id"])] = row["text"]
    passages = _corpus(path, reading)
    for found in question_sets.qrels(_lines(qrels, reading), texts, of="queries.jsonl"):
        place = f"{qrels}:{found.where}"
        if isinstance(found, Bad):
            reading.reject(place, found.words)
        elif found.passage_id not in passages:
            reading.reject(place, f"passage {found.passage_id} is not in corpus.jsonl")
        else:
            reading.add(texts[found.query_id], *passages[found.passage_id], float(found.score), False, place)
    return False


def _questions(path: Path, split: str | None, reading: _Reading) -> bool:
    asked = _stem(path, f"questions.{split}")
    if not asked.is_file():
        there = sorted(file.name for file in path.glob("questions.*"))
        raise SettingsError(f"{path}: --format questions needs --split, one of questions.*.jsonl; there are {there}")
    passages = _corpus(path, reading)
    for place, line, row in _json_lines(asked, reading):
        relevant = row.get("relevant_doc_ids") if type(row) is dict else None
        if not isinstance(relevant, list) or not _filled(row.get("text")):
            reading.reject(place, "a question needs text and a list relevant_doc_ids", line)
            continue
        unknown = [name for name in map(str, relevant) if name not in passages]
        if unknown:
            reading.reject(place, f"passage {unknown[0]} is not in the corpus", line)
            continue
        reading.notes["without_relevant"] += not relevant
        for name in map(str, relevant):
            reading.add(row["text"], *passages[name], GRADES[3], False, place)
    return True


def _corpus(path: Path, reading: _Reading) -> dict[str, tuple[str, str]]:
    """Title and text by id."""
    passages: dict[str, tuple[str, str]] = {}
    for place, line, row in _json_lines(_stem(path, "corpus"), reading):
        title, text = _passage(row)
        identity = next((row[key] for key in ("_id", "doc_id", "passage_id") if row.get(key)), None) if text else None
        if text is None or identity is None:
            reading.reject(place, "a passage needs _id and text", line)
        else:
            passages[str(identity)] = (title, text)
    return passages


def _squad(path: Path, split: str | None, reading: _Reading) -> bool:
    file = _document(path, split, (".json", ".jsonl", ".jsonl.gz", ".json.gz"))
    items: Iterator[question_sets.Question | Bad]
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        items = (
            question_sets.flat(row, str(place)) if type(row) is dict else Bad(str(place), "expected an object")
            for place, _, row in _json_lines(file, reading)
        )
    else:
        items = (one._replace(where=f"{file}:{one.where}") for one in question_sets.squad(_json(file)))
    for found in items:
        if isinstance(found, Bad):
            reading.reject(found.where, found.words)
        elif not _filled(found.question):
            reading.reject(found.where, "the question is empty")
        else:
            grade = GRADES[3] if found.answers else GRADES[1]
            reading.add(found.question, found.title, found.context, grade, False, found.where)
    return True


def _qasper(path: Path, split: str | None, reading: _Reading) -> bool:
    file = _document(path, split, (".json", ".json.gz"))
    papers = _json(file)
    if not isinstance(papers, dict):
        raise InputError(f"{file} is not QASPER JSON: expected an object of papers by id")
    for paper_id, paper in papers.items():
        where = f"{file}:{paper_id}"
        try:
            sections = {
                paragraph: str(section.get("section_name") or "")
                for section in paper["full_text"]
                for paragraph in section["paragraphs"]
                if _filled(paragraph)
            }
            title, asked = str(paper.get("title") or ""), paper["qas"]
        except (LookupError, TypeError, AttributeError):
            reading.reject(where, "a paper needs full_text[].paragraphs and qas")
            continue
        for number, question in enumerate(asked):
            _evidence(question, f"{where}.qas[{number}]", title, sections, reading)
    return True


def _evidence(question: Any, place: str, title: str, sections: dict[str, str], reading: _Reading) -> None:
    try:
        text = question["question"]
        given = [set(answer["answer"]["evidence"]) for answer in question["answers"]]
    except (LookupError, TypeError):
        reading.reject(place, "a question needs question and answers[].answer.evidence")
        return
    if not _filled(text):
        reading.reject(place, "the question is empty")
        return
    chosen = Counter(paragraph for evidence in given for paragraph in evidence)
    found = {paragraph: count for paragraph, count in chosen.items() if paragraph in sections}
    reading.notes["evidence_not_in_text"] += len(chosen) - len(found)  # tables, figures, abstracts
    reading.notes["without_evidence"] += not found
    for paragraph, count in sorted(found.items()):
        heading = " / ".join(part for part in (title, sections[paragraph]) if part)
        reading.add(text, heading, paragraph, GRADES[3] if 2 * count >= len(given) else GRADES[2], False, place)


_READERS: dict[Format, Callable[[Path, str | None, _Reading], bool]] = {
    "pairs": _pairs,
    "triples": _triples,
    "beir": _beir,
    "questions": _questions,
    "squad": _squad,
    "qasper": _qasper,
}


def _json_lines(path: Path, reading: _Reading) -> Iterator[tuple[str, str, Any]]:
    """(FILE:LINE, line, value); lines that are no JSON are rejected."""
    for number, line in _lines(path, reading):
        if _BLANK.issuperset(line):
            continue
        place = f"{path}:{number}"
        try:
            value = json.loads(line)
            if "\\u" in line:
                json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            reading.reject(place, "holds half of a surrogate pair, which is no text", line)
        except (ValueError, RecursionError) as error:
            reading.reject(place, f"not valid JSON ({error})", line)
        else:
            yield place, line, value


def _lines(path: Path, reading: _Reading) -> Iterator[tuple[int, str]]:
    """Numbered lines of a file, *.gz unpacked; those that are not UTF-8 are rejected."""
    if not path.is_file():
        raise SettingsError(f"{path}: no such file")
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    reading.reject(f"{path}:{number}", "not UTF-8", line.decode(errors="replace"))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}; is it complete?") from error


def _json(path: Path) -> Any:
    """The document of a whole file. Raises InputError when it is none."""
    reading = _Reading()
    text = "".join(line for _, line in _lines(path, reading))
    if reading.rejected:
        raise InputError(f"{reading.rejected[0].place}: not UTF-8; convert the file and try again")
    try:
        value = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path} holds half of a surrogate pair, which is no text") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    return value


def _document(path: Path, split: str | None, endings: tuple[str, ...]) -> Path:
    if not path.is_dir():
        _no_split("a file", split)
        if not path.is_file():
            raise SettingsError(f"{path}: no such file or folder")
        return path
    files = sorted(file for file in path.iterdir() if file.name.endswith(endings) and (split or "") in file.name)
    if len(files) != 1:
        there = [file.name for file in files]
        raise SettingsError(f"{path}: one file whose name holds --split {split!r} is needed; there are {there}")
    return files[0]


def _stem(folder: Path, stem: str) -> Path:
    names = (folder / f"{stem}{ending}" for ending in (".jsonl", ".jsonl.gz"))
    return next((path for path in names if path.is_file()), folder / f"{stem}.jsonl")


def _no_split(what: str, split: str | None) -> None:
    if split is not None:
        raise SettingsError(f"--split is {split!r}, but {what} has no splits; name the file itself")


def _listed(row: dict[str, Any], names: tuple[str, ...]) -> list[Any]:
    value: Any = next((row[name] for name in names if row.get(name) is not None), [])
    return value if isinstance(value, list) else [value]


def _passage(value: Any) -> tuple[str, str | None]:
    """Title and text of a passage given as a text or an object; the text is None when it is neither."""
    if type(value) is str:
        return "", value if value.strip() else None
    if type(value) is dict and _filled(value.get("text")):
        title = value.get("title")
        return (title if isinstance(title, str) else ""), value["text"]
    return "", None


def _filled(value: Any) -> bool:
    return type(value) is str and bool(value.strip())
