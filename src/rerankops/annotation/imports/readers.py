"""Reading labelled sets row by row: whatever cannot be read is set aside with its place and the reason.

| format    | what it is                                                                                      |
|-----------|-------------------------------------------------------------------------------------------------|
| pairs     | lines {"query", "passage", "score"}; a passage is a text or {"title", "text"}                    |
| triples   | lines [query, positive, negative], or {"query", "positives", "negatives"}, texts or lists         |
| beir      | a folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv                                          |
| questions | a folder: corpus.jsonl, questions.SPLIT.jsonl {"text", "relevant_doc_ids"}                       |
| squad     | JSON in SQuAD's layout or CMRC's, or JSON lines {"context", "question", "answers"}               |
| qasper    | JSON {paper: {"title", "full_text", "qas"}}; evidence paragraphs are what is relevant           |

Lines are JSON lines, and as well whatever else `rerankops.reading` reads: an array, CSV, a workbook, Parquet, whose
columns have the same names. Names of other publishers: see QUERY, POSITIVES and NEGATIVES. Files may be gzipped.

Grades that follow from the format: positives and relevant passages 3, negatives 0; the context of an answered question
3, of an unanswerable one 1 (same topic); a paragraph that at least half of QASPER's answerers took for evidence 3,
other evidence 2.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from rerankops import reading
from rerankops.config import ReadingSettings
from rerankops.errors import InputError, SettingsError
from rerankops.queries import question_sets
from rerankops.queries.question_sets import Bad
from rerankops.reading import Refused, Unfit, Unusable
from rerankops.records import GRADES

Format = Literal["pairs", "triples", "beir", "questions", "squad", "qasper"]
FORMATS: tuple[str, ...] = get_args(Format)
SCHEMA = {
    "query": pl.String, "title": pl.String, "text": pl.String, "score": pl.Float64, "weak": pl.Boolean,
    "place": pl.String,
}  # fmt: skip
QUERY = ("query", "anchor", "question")
POSITIVES = ("positives", "positive", "pos", "positive_passages", "response")
NEGATIVES = ("negatives", "negative", "neg", "negative_passages", "rejected_response")
"""What FlagEmbedding, sentence-transformers, Tevatron (Mr. TyDi) and ms-swift call a query and its passages."""
_PAIR = ("query", "passage", "title", "score")
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
    how: ReadingSettings
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


def read_labels(form: Format, path: Path, how: ReadingSettings, *, split: str | None = None) -> Labels:
    """The labels at `path`. how: files are read. split: of qrels, or what the name of a SQuAD or QASPER file holds.

    Raises SettingsError when there is nothing of that format, InputError when a file ends early or no row is a label.
    Rows that are none are in `rejected`.
    """
    labels = _Reading(how)
    graded = _READERS[form](path, split, labels)
    rows = pl.DataFrame(labels.columns, schema=SCHEMA)
    if rows.is_empty():
        first = f"; the first row: {labels.rejected[0].place}: {labels.rejected[0].words}" if labels.rejected else ""
        raise InputError(f"{path} holds no label of format {form}{first}")
    return Labels(rows, graded, tuple(labels.rejected), dict(labels.notes))


def _pairs(path: Path, split: str | None, labels: _Reading) -> bool:
    _no_split("pairs", split)
    for place, line, row in _rows(path, labels, _PAIR):
        if type(row) is not dict:
            labels.reject(place, 'expected an object {"query", "passage", "score"}', line)
            continue
        query, score = row.get("query"), row.get("score")
        title, text = _passage(row.get("passage"))
        if not isinstance(query, str) or not query.strip() or text is None:
            labels.reject(place, f"query and passage must be texts that are not empty{_found(row)}", line)
            continue
        try:
            number = reading.number(int(score) if isinstance(score, bool) else score)
        except Unfit as error:
            labels.reject(place, f"score {error}", line)
            continue
        if number is None:
            labels.reject(place, f"score is {score!r}, expected a number", line)
        else:
            labels.add(query, title or _title(row), text, number, False, place)
    return False


def _triples(path: Path, split: str | None, labels: _Reading) -> bool:
    _no_split("triples", split)
    for place, line, row in _rows(path, labels, (*QUERY, *POSITIVES, *NEGATIVES)):
        if type(row) is list and len(row) == 3:
            query, positives, negatives = row[0], [row[1]], [row[2]]
        elif type(row) is dict:
            query = next((row[name] for name in QUERY if row.get(name) is not None), None)
            positives, negatives = (_listed(row, names) for names in (POSITIVES, NEGATIVES))
        else:
            labels.reject(place, "expected [query, positive, negative] or an object", line)
            continue
        right = [_passage(one) for one in positives]
        wrong = [_passage(one) for one in negatives]
        if not _filled(query) or not (right or wrong) or any(text is None for _, text in right + wrong):
            labels.reject(place, f"query, positives and negatives must be texts that are not empty{_found(row)}", line)
            continue
        known = {text for _, text in right}
        mined = [(title, text) for title, text in wrong if text not in known]
        labels.notes["negatives_that_are_positive"] += len(wrong) - len(mined)
        for read, positive in ((right, True), (mined, False)):
            for title, text in read:
                labels.add(query, title, str(text), GRADES[3] if positive else GRADES[0], not positive, place)
    return True


def _beir(path: Path, split: str | None, labels: _Reading) -> bool:
    folder = path / "qrels"
    qrels = folder / f"{split}.tsv"
    if not folder.is_dir() or not qrels.is_file():
        there = sorted(file.stem for file in folder.glob("*.tsv")) if folder.is_dir() else []
        raise SettingsError(f"{path}: --format beir needs --split, one of qrels/*.tsv; there are {there}")
    texts: dict[str, str] = {}
    for place, line, row in _rows(_stem(path, "queries"), labels, ("_id", "text")):
        if type(row) is not dict or row.get("_id") is None or not _filled(row.get("text")):
            labels.reject(place, "a query needs _id and text", line)
        else:
            texts[str(row["_id"])] = row["text"]
    passages = _corpus(path, labels)
    for found in question_sets.qrels(_lines(qrels, labels), texts, of="queries.jsonl"):
        place = f"{qrels}:{found.where}"
        if isinstance(found, Bad):
            labels.reject(place, found.words)
        elif found.passage_id not in passages:
            labels.reject(place, f"passage {found.passage_id} is not in corpus.jsonl")
        else:
            labels.add(texts[found.query_id], *passages[found.passage_id], float(found.score), False, place)
    return False


def _questions(path: Path, split: str | None, labels: _Reading) -> bool:
    asked = _stem(path, f"questions.{split}")
    if not asked.is_file():
        there = sorted(file.name for file in path.glob("questions.*"))
        raise SettingsError(f"{path}: --format questions needs --split, one of questions.*.jsonl; there are {there}")
    passages = _corpus(path, labels)
    for place, line, row in _rows(asked, labels, ("query_id", "text", "relevant_doc_ids")):
        relevant = row.get("relevant_doc_ids") if type(row) is dict else None
        if not isinstance(relevant, list) or not _filled(row.get("text")):
            labels.reject(place, "a question needs text and a list relevant_doc_ids", line)
            continue
        unknown = [name for name in map(str, relevant) if name not in passages]
        if unknown:
            labels.reject(place, f"passage {unknown[0]} is not in the corpus", line)
            continue
        labels.notes["without_relevant"] += not relevant
        for name in map(str, relevant):
            labels.add(row["text"], *passages[name], GRADES[3], False, place)
    return True


def _corpus(path: Path, labels: _Reading) -> dict[str, tuple[str, str]]:
    """Title and text by id."""
    passages: dict[str, tuple[str, str]] = {}
    for place, line, row in _rows(_stem(path, "corpus"), labels, ("_id", "doc_id", "passage_id", "title", "text")):
        title, text = _passage(row)
        identity = next((row[key] for key in ("_id", "doc_id", "passage_id") if row.get(key)), None) if text else None
        if text is None or identity is None:
            labels.reject(place, "a passage needs _id and text", line)
        else:
            passages[str(identity)] = (title, text)
    return passages


def _squad(path: Path, split: str | None, labels: _Reading) -> bool:
    file = _document(path, split, (".json", ".jsonl", ".jsonl.gz", ".json.gz"))
    items: Iterator[question_sets.Question | Bad]
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        items = (
            question_sets.flat(row, str(place)) if type(row) is dict else Bad(str(place), "expected an object")
            for place, _, row in _rows(file, labels)
        )
    else:
        items = (one._replace(where=f"{file}:{one.where}") for one in question_sets.squad(_json(file, labels)))
    for found in items:
        if isinstance(found, Bad):
            labels.reject(found.where, found.words)
        elif not _filled(found.question):
            labels.reject(found.where, "the question is empty")
        else:
            grade = GRADES[3] if found.answers else GRADES[1]
            labels.add(found.question, found.title, found.context, grade, False, found.where)
    return True


def _qasper(path: Path, split: str | None, labels: _Reading) -> bool:
    file = _document(path, split, (".json", ".json.gz"))
    papers = _json(file, labels)
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
            labels.reject(where, "a paper needs full_text[].paragraphs and qas")
            continue
        for number, question in enumerate(asked):
            _evidence(question, f"{where}.qas[{number}]", title, sections, labels)
    return True


def _evidence(question: Any, place: str, title: str, sections: dict[str, str], labels: _Reading) -> None:
    try:
        text = question["question"]
        given = [set(answer["answer"]["evidence"]) for answer in question["answers"]]
    except (LookupError, TypeError):
        labels.reject(place, "a question needs question and answers[].answer.evidence")
        return
    if not _filled(text):
        labels.reject(place, "the question is empty")
        return
    chosen = Counter(paragraph for evidence in given for paragraph in evidence)
    found = {paragraph: count for paragraph, count in chosen.items() if paragraph in sections}
    labels.notes["evidence_not_in_text"] += len(chosen) - len(found)  # tables, figures, abstracts
    labels.notes["without_evidence"] += not found
    for paragraph, count in sorted(found.items()):
        heading = " / ".join(part for part in (title, sections[paragraph]) if part)
        labels.add(text, heading, paragraph, GRADES[3] if 2 * count >= len(given) else GRADES[2], False, place)


_READERS: dict[Format, Callable[[Path, str | None, _Reading], bool]] = {
    "pairs": _pairs,
    "triples": _triples,
    "beir": _beir,
    "questions": _questions,
    "squad": _squad,
    "qasper": _qasper,
}


def _rows(path: Path, labels: _Reading, known: Sequence[str] = ()) -> Iterator[tuple[str, str, Any]]:
    """(place, the row as text, value) of each row; those that cannot be read are rejected. Raises InputError when the
    file is no table, or ends early."""
    if not path.is_file():
        raise SettingsError(f"{path}: no such file")
    try:
        with reading.opened(path, labels.how, known=known, objects=False) as table:
            if table.columns and known and not set(known) & set(table.columns):
                names = reading.shortly(str(list(table.columns)), 1000)
                raise InputError(f"{path} has none of the columns {', '.join(known)}; it has {names}; rename them")
            for item in table.rows:
                if isinstance(item, Unusable):
                    if item.of_file:
                        raise InputError(str(item))
                    labels.reject(str(item.place), item.reason, item.content)
                else:
                    yield str(item.place), json.dumps(item.values, ensure_ascii=False, default=str), item.values
    except Refused as error:
        raise InputError(str(error)) from error


def _lines(path: Path, labels: _Reading) -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file; those that cannot be read are rejected."""
    if not path.is_file():
        raise SettingsError(f"{path}: no such file")
    for number, text, shown in reading.text_lines(path, labels.how):
        if isinstance(text, Unfit):
            labels.reject(f"{path}:{number}", str(text), shown)
        else:
            yield number, text


def _json(path: Path, labels: _Reading) -> Any:
    """The document of a whole file. Raises InputError when it is none."""
    return reading.whole_document(path, labels.how)


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
    """What stands under the first of the names that is there; a cell of a table may hold a JSON list."""
    value: Any = next((row[name] for name in names if row.get(name) is not None), [])
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value]  # a text that begins with a bracket
    return value if isinstance(value, list) else [value]


def _found(row: Any) -> str:
    return f"; the line has {sorted(map(str, row))}" if isinstance(row, dict) else ""


def _title(row: dict[str, Any]) -> str:
    title = row.get("title")
    return title if isinstance(title, str) else ""


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
