"""Gold versions, plans and evaluations as looks at gold find them, without anything being trained or measured."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rerankops import config
from rerankops.pipeline.context import Context
from rerankops.pipeline.looks import COMPARISONS, Look, record
from rerankops.pipeline.training import Plan
from rerankops.records import GoldQuestion, Judgment
from rerankops.workspace import Address, Workspace

TEXTS = {f"q{number:03d}": f"Which {word} does trim {number} of the car have?" for number, word in enumerate(
    itertools.islice(itertools.cycle(["tyre pressure", "boot volume", "battery capacity", "coolant"]), 40)
)}  # fmt: skip


def here(folder: Path, **promotion: Any) -> Context:
    return Context(config.load(environ={}, overrides={"promotion": promotion}), Workspace(folder / "workspace"))


def gold(context: Context, texts: dict[str, str] = TEXTS, **columns: Any) -> Address:
    blank = dict.fromkeys(GoldQuestion.schema.names)
    rows = [
        blank
        | {"question_id": name, "text": text, "stratum": ("numeric", "procedure")[place % 2]}
        | {"accepted_answers": ["2.3"], "relevant_passage_ids": ["p1"]}
        | columns
        for place, (name, text) in enumerate(texts.items())
    ]
    return context.workspace.publish(GoldQuestion, GoldQuestion.table(rows), step="load_gold")


def plan(context: Context, questions: Address, name: str = "", *, judgments: Address = "judgments/j") -> Plan:
    settings = context.settings.model_dump(mode="json")
    document = {"judgments": judgments, "gold": questions, "index": "indexes/i", "settings": settings}
    address = context.workspace.publish_document(
        "plans", document, step="plan_retraining", inputs=[questions], settings={"settings": settings, "again": name}
    )
    return Plan(address, judgments, None, questions, "indexes/i", None, None, context)


def look(context: Context, questions: Address, name: str = "one", *, judgments: Address = "judgments/j") -> Look:
    """The look that an evaluation called `name` is."""
    return record(plan(context, questions, name, judgments=judgments), f"evaluations/{name}")


def finished_look(
    context: Context, questions: Address, name: str = "one", *, judgments: Address = "judgments/j"
) -> Look:
    """The look of an evaluation whose results are there."""
    planned = plan(context, questions, name, judgments=judgments)
    there = context.workspace.publish_folder("evaluations", lambda _: None, step="evaluate", inputs=[planned.address])
    return record(planned, there)


def compared_before_looks_were_stored(
    context: Context, questions: Address, name: str, *, judgments: Address = "judgments/j"
) -> Address:
    """What older workspaces hold of an evaluation: its folder and a reference."""
    workspace, planned = context.workspace, plan(context, questions, name, judgments=judgments)
    evaluation = workspace.publish_folder("evaluations", lambda _: None, step="evaluate", inputs=[planned.address])
    workspace.point(f"{COMPARISONS}/{evaluation.split('/')[1]}", evaluation)
    return evaluation


def labels(context: Context, rows: Iterable[tuple[str, str, int]], origin: str = "human") -> Address:
    """Judgments of (query_id, passage_id, grade)."""
    blank = dict.fromkeys(Judgment.schema.names)
    told = {"query_text": "text", "stratum": "numeric", "confidence": 1.0, "annotator_count": 1, "origin": origin}
    table = [
        blank | told | {"query_id": query, "passage_id": passage, "grade": grade} for query, passage, grade in rows
    ]
    return context.workspace.publish(Judgment, Judgment.table(table), step="merge_judgments")


TOUCHES_THE_DISK = frozenset({"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"})


def look_in_a_process(folder: str, name: str, barrier: Any = None) -> None:
    """A look in a process of its own, at the same moment as the others that wait at the barrier."""
    context = here(Path(folder))
    questions = gold(context)
    if barrier is not None:
        barrier.wait(timeout=120)
    look(context, questions, name)


def look_and_die_at_every_point(parent: str) -> None:
    """Leaves `parent/0`, `parent/1`, … for each point of a look at which its process is killed; the last one lived."""
    for point in itertools.count():
        folder = Path(parent, str(point))
        child = os.fork()
        if child == 0:
            touched = itertools.count()

            def watch(event: str, arguments: tuple[object, ...], touched: Any = touched, point: int = point) -> None:
                inside = "looks" in str(arguments)
                if event in TOUCHES_THE_DISK and inside and next(touched) == point:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(watch)
            look_in_a_process(str(folder), "killed")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
