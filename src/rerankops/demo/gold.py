"""Gold questions: careful wordings of facts, the passages that settle them, what a right answer contains."""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rerankops.demo.forms import Stratum
from rerankops.demo.lineup import ALL_TRIMS, BRAND, Car
from rerankops.demo.printing import fill, place
from rerankops.demo.truth import Intent, Truth


@dataclass(frozen=True)
class Gold:
    """A gold question and the intent behind it."""

    question_id: str
    text: str
    accepted_answers: tuple[str, ...]
    stratum: Stratum
    relevant_passage_ids: tuple[str, ...]
    intent: Intent


def squeezed(text: str) -> str:
    """NFKC, lower case, no white space: how an answer is looked for in a text."""
    return "".join(unicodedata.normalize("NFKC", text).lower().split())


def answers(intent: Intent, slots: Mapping[tuple[str, str], Mapping[str, str]]) -> tuple[str, ...]:
    """What any right answer to a car's question contains. The intent names a car."""
    if intent.car is None:
        raise ValueError(f"{intent.intent_id} names no car, so it has no answer")
    values = slots[intent.topic.key, place(intent.car)]
    return tuple(dict.fromkeys(fill(template, intent.car, values) for template in intent.fact.answers))


def ask_gold(truth: Truth, intents: Sequence[Intent], shares: Mapping[Stratum, int], seed: int) -> list[Gold]:
    """As many questions per stratum as asked, or as there are, no fact twice, spread evenly over the topics."""
    rng = random.Random(f"{seed}:gold")
    chosen: list[Gold] = []
    for stratum, wanted in shares.items():
        for intent in _spread([i for i in intents if i.fact.stratum == stratum], rng)[:wanted]:
            question = Gold(
                question_id=f"gold-{intent.intent_id}",
                text=_wording(intent, truth, rng),
                accepted_answers=answers(intent, truth.manual.slots),
                stratum=stratum,
                relevant_passage_ids=tuple(truth.answering(intent.intent_id, 3)),
                intent=intent,
            )
            chosen.append(question)
    return chosen


def _spread(intents: Sequence[Intent], rng: random.Random) -> list[Intent]:
    """The intents in rounds, each round one of every fact, so that a prefix holds all topics alike."""
    by_fact: dict[str, list[Intent]] = defaultdict(list)
    for intent in rng.sample(list(intents), len(intents)):
        by_fact[f"{intent.topic.key}.{intent.fact.key}"].append(intent)
    rounds = max((len(group) for group in by_fact.values()), default=0)
    return [group[i] for i in range(rounds) for group in by_fact.values() if i < len(group)]


def _wording(intent: Intent, truth: Truth, rng: random.Random) -> str:
    car = intent.car
    if car is None:
        raise ValueError(f"{intent.intent_id} names no car; a gold question has to")
    slots = dict(truth.manual.slots[intent.topic.key, place(car)])
    return fill(rng.choice(intent.fact.gold), car, slots | {"car": _name(car, rng)})


def _name(car: Car, rng: random.Random) -> str:
    model, trim = car.model, "" if car.trim == ALL_TRIMS else car.trim
    return rng.choices(
        (model.name + trim, model.code + trim, BRAND + model.name + trim, f"{model.name} {trim}".strip()),
        weights=(5, 3, 1, 1),
    )[0]
