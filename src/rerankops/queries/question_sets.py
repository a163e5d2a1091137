"""Published question sets, item by item: SQuAD and its kin, BEIR's qrels. What cannot be read comes as a `Bad`, so that
the caller decides whether one is too many."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple

from rerankops import reading
from rerankops.reading import Unfit

_SPACES = re.compile(r"[ \t]+")
_TREC = ("0", "Q0")


class Bad(NamedTuple):
    """Something that is no item: where in its file, and why."""

    where: str
    words: str


class Question(NamedTuple):
    """A question about one context. answers: () when the context does not answer it."""

    where: str
    question_id: str
    question: str
    title: str
    context: str
    answers: tuple[str, ...]


class Relevance(NamedTuple):
    """A line of qrels."""

    where: str
    query_id: str
    passage_id: str
    score: int


def squad(document: Any) -> Iterator[Question | Bad]:
    """Questions of a document in SQuAD's layout, versions 1 and 2 (DRCD and the squad-style CMRC have the same):
    data[], paragraphs[] with `context`, qas[] with `id`, `question` and answers[] with `text`; or in CMRC 2018's own:
    a list of `context_text`, qas[] with `query_id`, `query_text` and answers[], which are texts."""
    if isinstance(document, list) and document:
        for number, paragraph in enumerate(document):
            yield from _paragraph(paragraph, f"[{number}]", _title(paragraph), "context_text", "query_id", "query_text")
        return
    articles = document.get("data") if isinstance(document, dict) else None
    if not isinstance(articles, list):
        yield Bad("", "there is no list `data`")
        return
    for number, article in enumerate(articles):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            yield Bad(f"data[{number}]", "there is no list `paragraphs`")
            continue
        for place, paragraph in enumerate(paragraphs):
            where = f"data[{number}].paragraphs[{place}]"
            yield from _paragraph(paragraph, where, _title(article), "context", "id", "question")


def flat(row: Mapping[str, Any], where: str) -> Question | Bad:
    """A row of {context, question, answers}, answers being a list of texts or {"text": [texts]}, as data sets are often
    exported; `id` and `title` may be absent."""
    answers = row.get("answers")
    if isinstance(answers, dict):
        answers = answers.get("text")
    context, question = row.get("context"), row.get("question")
    if not isinstance(context, str) or not isinstance(question, str) or not context.strip() or not question.strip():
        return Bad(where, "context and question must be texts that are not empty")
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        return Bad(where, "answers must be a list of texts, or an object with such a list `text`")
    kept = tuple(dict.fromkeys(filter(str.strip, answers)))
    return Question(where, str(row.get("id") or where), question, _title(row), context, kept)


def qrels(lines: Iterator[tuple[int, str]], queries: Container[str], *, of: str) -> Iterator[Relevance | Bad]:
    """The lines of a qrels file, BEIR's (query-id, corpus-id, score) or TREC's (query, 0, document, relevance), tabs,
    spaces, commas or semicolons between; the first may be a heading. A score below 0, TREC's mark of junk, is 0.

    lines: number and text, the end of the line included or not. queries: the ids there are. of: the file they are in.
    """
    for number, text in lines:
        cells = _cells(text.strip("\ufeff\r\n"))
        if len(cells) == 4 and cells[1] in _TREC:
            del cells[1]
        if not text.strip() or (number == 1 and not (cells[0] in queries and len(cells) == 3) and not _scored(cells)):
            continue
        if len(cells) != 3:
            yield Bad(str(number), f"expected query-id, corpus-id, score separated by tabs, found {len(cells)} parts")
            continue
        try:
            score = reading.whole(cells[2])
        except Unfit:
            score = None
        if score is None:
            yield Bad(str(number), f"score is {cells[2]!r}, expected a whole number such as 0, 1 or 1.0")
        elif cells[0] not in queries:
            yield Bad(str(number), f"query {cells[0]} is not in {of}")
        else:
            yield Relevance(str(number), cells[0], cells[1], max(score, 0))


def _cells(line: str) -> list[str]:
    for separator in ("\t", ",", ";"):
        if line.count(separator) >= 2:
            return [cell.strip().strip('"') for cell in line.split(separator)]
    return _SPACES.split(line.strip())


def _scored(cells: list[str]) -> bool:
    try:
        return len(cells) == 3 and reading.whole(cells[2]) is not None
    except Unfit:
        return False


def _paragraph(
    paragraph: Any, where: str, title: str, context_key: str, id_key: str, question_key: str
) -> Iterator[Question | Bad]:
    context = paragraph.get(context_key) if isinstance(paragraph, dict) else None
    if not isinstance(context, str) or not context.strip():
        yield Bad(where, f"there is no text `{context_key}`")
        return
    asked = paragraph.get("qas")
    if not isinstance(asked, list):
        yield Bad(where, "there is no list `qas`")
        return
    for number, question in enumerate(asked):
        place = f"{where}.qas[{number}]"
        text = question.get(question_key) if isinstance(question, dict) else None
        answers = (question.get("answers") or []) if isinstance(question, dict) else None
        if not isinstance(text, str):
            yield Bad(place, f"there is no text `{question_key}`")
        elif question.get(id_key) is None:
            yield Bad(place, f"there is no `{id_key}`")
        elif not isinstance(answers, list) or not all(_is_answer(answer, context_key) for answer in answers):
            yield Bad(place, "there is no list `answers` of texts")
        else:
            texts = (answer if isinstance(answer, str) else str(answer["text"]) for answer in answers)
            kept = () if question.get("is_impossible") is True else tuple(sorted({one for one in texts if one.strip()}))
            yield Question(place, str(question[id_key]), text, title, context, kept)


def _is_answer(answer: Any, context_key: str) -> bool:
    if context_key == "context_text":
        return isinstance(answer, str)
    return isinstance(answer, dict) and answer.get("text") is not None


def _title(row: Any) -> str:
    return str(row.get("title") or "") if isinstance(row, dict) else ""
