"""The whole demonstration world from a seed: manual, gold questions, raw query log, hidden truth, control pairs.

Everything is simulated and marked so. Nothing here is tuned to make a ranking number come out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.demo import phrasing
from rerankops.demo.forms import Stratum, Topic
from rerankops.demo.gold import Gold, ask_gold
from rerankops.demo.likeness import Likeness
from rerankops.demo.lineup import ALL_TRIMS, BRAND, MODELS, Car, Model
from rerankops.demo.log import NEAR_GOLD, write_log
from rerankops.demo.manual import TOPICS
from rerankops.demo.printing import Manual, cars_of, print_manual
from rerankops.demo.truth import Intent, Truth
from rerankops.records import GoldQuestion, Passage

Size = Literal["full", "small"]


@dataclass(frozen=True)
class Plan:
    """How large a world is. topics None: all; gold: questions wanted per stratum; asked: intents in the log."""

    models: int
    topics: tuple[str, ...] | None
    gold: Mapping[Stratum, int]
    asked: Mapping[Stratum, int]
    events: int
    controls: int


PLANS: Mapping[Size, Plan] = {
    "full": Plan(
        models=len(MODELS),
        topics=None,
        gold={"numeric": 240, "procedure": 200, "summary": 160},
        asked={"numeric": 150, "procedure": 120, "summary": 80},
        events=3600,
        controls=120,
    ),
    "small": Plan(
        models=4,
        topics=(
            "highlights", "comfort", "style", "safety", "versions", "winter", "storage", "warranty",
            "boot", "tank", "size", "pressure", "oil", "coolant", "fluids", "range",
            "esp", "autohold", "tailgate", "child_lock", "key_battery", "tpms", "defrost", "jump",
        ),
        gold={"numeric": 36, "procedure": 30, "summary": 30},
        asked={"numeric": 40, "procedure": 30, "summary": 20},
        events=520,
        controls=30,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """What build() makes.

    passages: records.Passage. gold: records.GoldQuestion. events: raw log rows as a source would hand them over,
    personal data still inside. The rest is hidden truth, for simulated annotators and for checks alone:
    intents (event_id, intent_id null for junk, stratum), gold_intents (question_id, intent_id), personal (event_id,
    kind, value: the personal data that was planted), controls (control_id, intent_id, query_text, stratum,
    passage_id, grade: pairs with a known grade for control tasks, worded as in the log and apart from gold).
    """

    passages: pa.Table
    gold: pa.Table
    events: list[dict[str, Any]]
    intents: pa.Table
    controls: pa.Table
    gold_intents: pa.Table
    personal: pa.Table
    truth: Truth


def build(seed: int, size: Size) -> World:
    """The world of this seed. size "full": the demonstration; "small": the same in little, for tests."""
    if size not in PLANS:
        raise ValueError(f"size is {size!r}; allowed are {sorted(PLANS)}")
    plan = PLANS[size]
    models = MODELS[: plan.models]
    topics = [topic for topic in TOPICS if plan.topics is None or topic.key in plan.topics]
    manual = print_manual(topics, models, seed)
    named = _named_intents(topics, models)
    truth = Truth(manual, [*named, *_vague_intents(topics, models)])
    gold = ask_gold(truth, named, plan.gold, seed)
    asked = _asked(list(truth.intents.values()), plan.asked, random.Random(f"{seed}:asked"))
    texts = [question.text for question in gold]
    log = write_log(truth, asked, models[-1], texts, plan.events, seed)
    ids = [str(event["event_id"]) for event in log.events]
    intents = pa.table(
        {
            "event_id": pa.array(ids, pa.string()),
            "intent_id": pa.array([i.intent_id if i else None for i in log.intents], pa.string()),
            "stratum": pa.array([i.fact.stratum if i else None for i in log.intents], pa.string()),
        }
    )
    planted = [
        (event_id, kind, value) for event_id, pairs in zip(ids, log.planted, strict=True) for kind, value in pairs
    ]
    return World(
        passages=_passages(manual),
        gold=_gold(gold),
        events=log.events,
        intents=intents,
        controls=_controls(truth, asked, texts, plan.controls, random.Random(f"{seed}:controls")),
        gold_intents=pa.table(
            {
                "question_id": pa.array([question.question_id for question in gold], pa.string()),
                "intent_id": pa.array([question.intent.intent_id for question in gold], pa.string()),
            }
        ),
        personal=pa.table(
            {
                name: pa.array([row[i] for row in planted], pa.string())
                for i, name in enumerate(("event_id", "kind", "value"))
            }
        ),
        truth=truth,
    )


def grade(world: World, intent_id: str, passage_id: str) -> int:
    """True relevance, 0 to 3, of a passage for an intent; truth.py states the guideline."""
    return world.truth.grade(intent_id, passage_id)


def grades(world: World, intent_ids: Sequence[str], passage_ids: Sequence[str]) -> NDArray[np.int8]:
    """grade() elementwise over equally long sequences."""
    return world.truth.grades(intent_ids, passage_ids)


def _named_intents(topics: Sequence[Topic], models: Sequence[Model]) -> list[Intent]:
    return [Intent(topic, fact, car) for topic in topics for fact in topic.facts for car in cars_of(topic, models)]


def _vague_intents(topics: Sequence[Topic], models: Sequence[Model]) -> list[Intent]:
    """Questions that leave out the version where it matters, or the car altogether: real logs are full of them."""
    vague = []
    for topic in topics:
        cars = cars_of(topic, models)
        for fact in topic.facts:
            if topic.scope == "trim":
                vague += [Intent(topic, fact, Car(m, ALL_TRIMS)) for m in dict.fromkeys(car.model for car in cars)]
            if len(cars) > 1 and "{lamp}" not in "".join(fact.log):
                vague.append(Intent(topic, fact, None))
    return vague


def _asked(intents: Sequence[Intent], shares: Mapping[Stratum, int], rng: random.Random) -> list[Intent]:
    """The intents that the log's users have: mostly named cars, some without the version, a few without the car."""
    chosen: list[Intent] = []
    for stratum, wanted in shares.items():
        mine = [intent for intent in intents if intent.fact.stratum == stratum]
        whole = [i for i in mine if i.car is not None and (i.car.trim != ALL_TRIMS or i.topic.scope == "model")]
        half = [i for i in mine if i.car is not None and i.car.trim == ALL_TRIMS and i.topic.scope == "trim"]
        bare = [i for i in mine if i.car is None]
        few, some = min(len(bare), round(wanted * 0.05)), min(len(half), round(wanted * 0.15))
        chosen += rng.sample(bare, few) + rng.sample(half, some)
        chosen += rng.sample(whole, min(len(whole), wanted - few - some))
    return chosen


def _controls(
    truth: Truth, asked: Sequence[Intent], gold_texts: Sequence[str], count: int, rng: random.Random
) -> pa.Table:
    """Pairs of every grade in turn. Only intents that name car and version: their grades are beyond dispute."""
    likeness = Likeness(gold_texts)
    clear = [i for i in asked if i.car is not None and (i.car.trim != ALL_TRIMS or i.topic.scope == "model")]
    everything = [p.passage_id for p in truth.manual.passages]
    rows: list[dict[str, Any]] = []
    for intent in rng.sample(clear, len(clear)) * 2:
        if len(rows) == count:
            break
        text = phrasing.core(intent, truth, False, rng)
        if likeness.closest(text) >= NEAR_GOLD:
            continue
        given = truth.grades([intent.intent_id] * len(everything), everything)
        wanted = (3, 1, 0)[len(rows) % 3]
        fitting = np.flatnonzero(given == wanted)
        if fitting.size:
            rows.append(
                {
                    "control_id": f"control-{len(rows) + 1:04d}",
                    "intent_id": intent.intent_id,
                    "query_text": text,
                    "stratum": intent.fact.stratum,
                    "passage_id": everything[int(rng.choice(fitting.tolist()))],
                    "grade": wanted,
                }
            )
    columns = ("control_id", "intent_id", "query_text", "stratum", "passage_id")
    schema = pa.schema([*((name, pa.string()) for name in columns), ("grade", pa.int8())])
    return pa.Table.from_pylist(rows, schema=schema)


def _passages(manual: Manual) -> pa.Table:
    return Passage.table(
        {
            "passage_id": p.passage_id,
            "title": p.title,
            "text": p.text,
            "metadata": list(
                {
                    "brand": BRAND,
                    "model": p.car.model.name,
                    "trim": p.car.trim,
                    "section": p.section,
                    "topic": p.topic.key,
                    "simulated": "true",
                }.items()
            ),
        }
        for p in manual.passages
    )


def _gold(questions: Sequence[Gold]) -> pa.Table:
    return GoldQuestion.table(
        {
            "question_id": question.question_id,
            "text": question.text,
            "accepted_answers": list(question.accepted_answers),
            "stratum": question.stratum,
            "relevant_passage_ids": list(question.relevant_passage_ids),
        }
        for question in questions
    )
