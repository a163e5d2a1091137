"""The doors through which tables arrive, each with a small table for it: what programs send, and what people send."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from file_variants import Rows

from rerankops import annotation, config
from rerankops.annotation.gold import forms
from rerankops.annotation.gold.forms import ANNOTATOR, Asked
from rerankops.annotation.imports import read_labels
from rerankops.config import ReadingSettings
from rerankops.errors import InputError, SettingsError
from rerankops.evaluation import agreement
from rerankops.queries.logs import open_log
from rerankops.queries.sources import read_corpus, read_gold
from rerankops.reading import Aside

TEXTS = ("后备箱容积多少", "how do I open it, please; today", "胎压怎么看", '仪表上的"黄灯"')


class Taken(NamedTuple):
    """rows: as the door gives them. aside: how many it set aside. whole: whether it set the file aside. refusal: what
    it says where it takes nothing."""

    rows: list[tuple[Any, ...]]
    aside: int = 0
    whole: bool = False
    refusal: str = ""


class Door(NamedTuple):
    """rows: of the table that arrives. wanted: as the door gives them. take: reads a file and sets rows aside."""

    name: str
    rows: Rows
    wanted: list[tuple[Any, ...]]
    take: Callable[[Path, ReadingSettings], Taken]

    def __call__(self, path: Path, how: ReadingSettings) -> Taken:
        try:
            return self.take(path, how)
        except (InputError, SettingsError) as error:
            return Taken([], refusal=str(error))


def _log(path: Path, how: ReadingSettings) -> Taken:
    settings = config.load(environ={}, overrides={"query_log": {"location": str(path)}}).query_log
    aside = Aside()
    pages = open_log(settings, how, {}, _no_server).read(aside=aside)
    columns = ("event_id", "text", "shown_passage_ids", "feedback")
    rows = [tuple(row[name] for name in columns) for page in pages for row in page.to_pylist()]
    return Taken(rows, aside.count, bool(aside.files_unusable))


def _no_server() -> Any:
    raise AssertionError("files need no server")


def _corpus(path: Path, how: ReadingSettings) -> Taken:
    aside = Aside()
    table = read_corpus(str(path), how, aside=aside)
    rows = [(row["passage_id"], row["title"], row["text"]) for row in table.to_pylist()]
    return Taken(rows, aside.count, bool(aside.files_unusable))


def _gold(path: Path, how: ReadingSettings) -> Taken:
    aside = Aside()
    columns = ("question_id", "text", "accepted_answers", "relevant_passage_ids")
    rows = [tuple(row[name] for name in columns) for row in read_gold(str(path), how, aside=aside).to_pylist()]
    return Taken(rows, aside.count, bool(aside.files_unusable))


def _labels(form: Any) -> Callable[[Path, ReadingSettings], Taken]:
    def take(path: Path, how: ReadingSettings) -> Taken:
        labels = read_labels(form, path, how)
        return Taken(list(labels.rows.select("query", "text", "score").iter_rows()), len(labels.rejected))

    return take


def _delivery(path: Path, how: ReadingSettings) -> Taken:
    found = annotation.read(path.read_bytes(), source=path.name, settings=how)
    kept = [row for row in found.rows.to_pylist() if row["task_id"] is not None]  # validation sets the others aside
    rows = [(row["task_id"], row["grade"], str(row["annotated_at"])[:16]) for row in kept]
    return Taken(rows, len(found.unreadable) + found.rows.num_rows - len(kept))


def _gold_form(path: Path, how: ReadingSettings) -> Taken:
    header, aside = forms.header_of(path.read_bytes(), path.name, how), Aside()
    found = forms.parse(path.read_bytes(), path.name, header, ASKED, how, aside)
    rows = [(row["question_id"], row["accepted_answers"]) for row in found.to_pylist()]
    return Taken(rows, aside.count, bool(aside.files_unusable))


def _judge_sample(path: Path, how: ReadingSettings) -> Taken:
    aside = Aside()
    found = agreement.parse(path.read_bytes(), path.name, how, aside)
    columns = ("question", "accepted_answers", "answer", "correct")
    rows = [tuple(row[name] for name in columns) for row in found.to_pylist()]
    return Taken(rows, aside.count, bool(aside.files_unusable))


def _events() -> list[dict[str, Any]]:
    shown = (["p01", "p02"], ["p03"], ["p01", "p04"], [])
    feedback = ("up", "none", "down", "none")
    return [
        {"event_id": f"e-{n}", "text": TEXTS[n], "issued_at": f"2026-09-01T08:3{n}:00Z", "feedback": feedback[n],
         "shown_passage_ids": shown[n]}
        for n in range(4)
    ]  # fmt: skip


EVENTS = _events()
PASSAGES = [{"passage_id": f"p0{n}", "title": f"section {n}", "text": text} for n, text in enumerate(TEXTS)]
QUESTIONS = [
    {
        "question_id": f"g{n}",
        "text": text,
        "accepted_answers": [f"{n} 升", f"{n} L"],
        "relevant_passage_ids": [f"p0{n}"],
    }
    for n, text in enumerate(TEXTS)
]
PAIRS = [{"query": text, "passage": f"passage {n}", "score": n % 2} for n, text in enumerate(TEXTS)]
TRIPLES = [{"query": text, "positive": f"right {n}", "negative": f"wrong {n}"} for n, text in enumerate(TEXTS)]
ASKED = {name: Asked(name, text, "numeric") for name, text in zip(("0012", "q2", "q3", "q4"), TEXTS, strict=True)}
FORM = [
    {
        "draft": "autumn", "annotator": "anna", "role": ANNOTATOR, "question_id": name, "stratum": "numeric",
        "question": asked.text, "candidates": None, "accepted_answers": "450升；450 L", "grades": None,
        "other_passages": "p9=2", "unanswerable": None, "discard": None, "comment": "见手册",
    }
    for name, asked in ASKED.items()
]  # fmt: skip
DELIVERY = [
    {"batch_id": "b-1", "task_id": f"0{n}e5", "annotator_id": "张三", "grade": n % 4, "annotated_at": "2026/11/30 8:54"}
    for n in range(4)
]
SAMPLE = [{"question": f"多大{n}", "accepted_answers": "450升", "answer": "450 L", "correct": "是"} for n in range(4)]
DOORS = (
    Door(
        "query log",
        EVENTS,
        [(row["event_id"], row["text"], row["shown_passage_ids"], row["feedback"]) for row in EVENTS],
        _log,
    ),
    Door("corpus", PASSAGES, [tuple(row.values()) for row in PASSAGES], _corpus),
    Door("gold questions", QUESTIONS, [tuple(row.values()) for row in QUESTIONS], _gold),
    Door("pairs", PAIRS, [(row["query"], row["passage"], float(str(row["score"]))) for row in PAIRS], _labels("pairs")),
    Door(
        "triples",
        TRIPLES,
        [(r["query"], text, grade) for r in TRIPLES for text, grade in ((r["positive"], 3.0), (r["negative"], 0.0))],
        _labels("triples"),
    ),
    Door("delivery", DELIVERY, [(f"0{n}e5", str(n % 4), "2026-11-30T08:54") for n in range(4)], _delivery),
    Door("gold form", FORM, [(name, ["450升；450 L"]) for name in ASKED], _gold_form),
    Door("judge sample", SAMPLE, [(f"多大{n}", ["450升"], "450 L", True) for n in range(4)], _judge_sample),
)
