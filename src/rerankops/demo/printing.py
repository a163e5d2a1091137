"""Prints the manual: deals each topic's facts to the cars and renders its passages.

Slots are dealt like cards in one order of the cars, so that two phrase lists of coprime lengths give as many different
pairs as there are cars: a wrong car's passage then really says something else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rerankops.demo.forms import Num, Pick, Topic
from rerankops.demo.lineup import ALL_TRIMS, BRAND, Car, Model

SHORTEST = 60
"""A passage of fewer characters takes another of its topic's extra sentences."""


@dataclass(frozen=True)
class Printed:
    """A passage and what is true of it. companion: it goes with a topic without settling its facts."""

    passage_id: str
    title: str
    text: str
    section: str
    topic: Topic
    car: Car
    companion: bool


@dataclass(frozen=True)
class Manual:
    """All passages, and the dealt slots of every (topic, car)."""

    passages: tuple[Printed, ...]
    slots: Mapping[tuple[str, str], Mapping[str, str]]


def place(car: Car) -> str:
    """A car as identifiers spell it: g52-t3 is the third trim of g52, g52-all all of them."""
    if car.trim == ALL_TRIMS:
        return f"{car.model.key}-all"
    return f"{car.model.key}-t{car.model.trims.index(car.trim) + 1}"


def cars_of(topic: Topic, models: Iterable[Model]) -> list[Car]:
    """The cars for which the manual prints a passage of its own on this topic."""
    drives = {
        "any": ("fuel", "hybrid", "electric"),
        "engine": ("fuel", "hybrid"),
        "plug": ("hybrid", "electric"),
        "fuel": ("fuel",),
    }[topic.drive]
    first = {"every": 0, "upper": 1, "top": -1}[topic.trims]
    able = [model for model in models if model.drive in drives]
    if topic.scope == "model":
        return [Car(model, ALL_TRIMS) for model in able]
    return [Car(model, trim) for model in able for trim in model.trims[first:]]


def print_manual(topics: Sequence[Topic], models: Sequence[Model], seed: int) -> Manual:
    """The whole manual of these models. The same seed prints the same manual."""
    slots = {
        (topic.key, place(car)): values
        for topic in topics
        for car, values in _deal(topic, cars_of(topic, models), random.Random(f"{seed}:deal:{topic.key}"))
    }
    passages: list[Printed] = []
    for topic in topics:
        rng = random.Random(f"{seed}:print:{topic.key}")
        # neighbours in the line-up should not share a wording, so deal the variants rather than draw them
        start = rng.randrange(len(topic.passages))
        wording = {model.key: (start + i) % len(topic.passages) for i, model in enumerate(models)}
        extras = {model.key: rng.sample(topic.extras, len(topic.extras)) for model in models}
        cars = cars_of(topic, models)
        for car in cars:
            text = fill(topic.passages[wording[car.model.key]], car, _visible(slots, topic, car, topics))
            spare = extras[car.model.key]
            wanted = rng.choice((0, 1, 1, 2))
            for extra in spare:
                if wanted <= 0 and len(text) >= SHORTEST:
                    break
                text, wanted = text + extra, wanted - 1
            passages.append(_passage(topic, car, text, topic.section, companion=False))
        for i, model in enumerate(dict.fromkeys(car.model for car in cars)):
            if topic.companions:
                car = Car(model, ALL_TRIMS)
                text = fill(topic.companions[(start + i) % len(topic.companions)], car, {})
                passages.append(_passage(topic, car, text, topic.companion_section, companion=True))
    return Manual(tuple(passages), slots)


def fill(template: str, car: Car, slots: Mapping[str, str]) -> str:
    """A wording with its slots filled and the car named."""
    model = car.model
    names = {
        "car": car.name,
        "model": model.name,
        "base": model.trims[0],
        "upper": model.trims[1],
        "top": model.trims[-1],
        "trims": "、".join(model.trims),
        "count": "两三四"[len(model.trims) - 2],
    }
    return template.format_map(names | dict(slots))


def _passage(topic: Topic, car: Car, text: str, section: str, *, companion: bool) -> Printed:
    name = f"{BRAND} {car.model.name}" + ("" if car.trim == ALL_TRIMS else f" {car.trim}")
    suffix = "-more" if companion else ""
    passage_id = f"{place(car)}-{topic.key.replace('_', '-')}{suffix}"
    return Printed(passage_id, f"{name} | {section} | {topic.title}", text, section, topic, car, companion)


def _visible(
    slots: Mapping[tuple[str, str], Mapping[str, str]], topic: Topic, car: Car, topics: Sequence[Topic]
) -> dict[str, str]:
    """A topic's own slots, and every other topic's under topic__slot: the tables of the manual repeat facts."""
    visible = dict(slots[topic.key, place(car)])
    for other in topics:
        for name, value in slots.get((other.key, place(car)), {}).items():
            visible[f"{other.key}__{name}"] = value
    return visible


def _deal(topic: Topic, cars: Sequence[Car], rng: random.Random) -> Iterable[tuple[Car, dict[str, str]]]:
    hands: dict[Car, dict[str, str]] = {car: {} for car in cars}
    models = list(dict.fromkeys(car.model for car in cars))
    pending: list[tuple[str, Pick]] = []
    for name, slot in topic.slots.items():
        if isinstance(slot, Num):
            for car, value in zip(_ordered(cars, slot, rng), _numbers(slot, len(cars), rng), strict=True):
                hands[car][name] = value
        else:
            pending.append((name, slot))
    for name, slot in pending:
        phrases = rng.sample(slot.phrases, len(slot.phrases))
        for i, car in enumerate(cars):
            turn = models.index(car.model) if slot.per_model else i
            hands[car][name] = phrases[turn % len(phrases)]
    for car, hand in hands.items():
        # a phrase may name slots that are phrases themselves, as deep as three
        for _ in range(3):
            for name in hand:
                hand[name] = fill(hand[name], car, hand)
    return hands.items()


def _numbers(slot: Num, count: int, rng: random.Random) -> list[str]:
    options = slot.options()
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += rng.sample(options, min(len(options), count - len(drawn)))
    return sorted(drawn, key=float) if slot.by_size else drawn


def _ordered(cars: Sequence[Car], slot: Num, rng: random.Random) -> list[Car]:
    shuffled = rng.sample(list(cars), len(cars))
    return sorted(shuffled, key=lambda car: car.model.size) if slot.by_size else shuffled
