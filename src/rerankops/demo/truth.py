"""The hidden truth: what an intent asks for, and how well each passage answers it.

Grades as the annotators' guideline has them. 3: the very car's passage that settles the fact. 2: a companion passage
that touches the fact, or a passage for one version when the question names none. 1: the same topic for another car or
version, or the same subject of the same car. 0: anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rerankops.demo.forms import Fact, Topic
from rerankops.demo.lineup import ALL_TRIMS, Car
from rerankops.demo.printing import Manual, Printed, place

ANY = -1
"""In the code arrays: no car named, or no trim named."""


@dataclass(frozen=True)
class Intent:
    """What somebody wants to know. car None: none was named; its trim "all": no trim was named, or none matters."""

    topic: Topic
    fact: Fact
    car: Car | None

    @property
    def intent_id(self) -> str:
        where = "any" if self.car is None else place(self.car)
        return f"{self.topic.key}.{self.fact.key}@{where}"


class Truth:
    """Grades of any (intent, passage), one by one or by the million."""

    def __init__(self, manual: Manual, intents: Iterable[Intent]) -> None:
        self.manual = manual
        self.intents: Mapping[str, Intent] = {intent.intent_id: intent for intent in intents}
        self._passage_row = {p.passage_id: row for row, p in enumerate(manual.passages)}
        self._intent_row = {intent_id: row for row, intent_id in enumerate(self.intents)}
        topics = {p.topic.key: p.topic for p in manual.passages}
        topics |= {intent.topic.key: intent.topic for intent in self.intents.values()}
        codes = _Codes(topics.values())
        self._passages = np.array([codes.passage(p) for p in manual.passages], dtype=np.int32).reshape(-1, 5)
        rows = [codes.intent(intent) for intent in self.intents.values()]
        self._intents = np.array(rows, dtype=np.int32).reshape(-1, 5)
        printed = Counter((p.topic.key, p.car.model.key) for p in manual.passages if not p.companion)
        # where one version alone has the thing, leaving the version out leaves nothing open
        self._sole = np.array(
            [i.car is not None and printed[i.topic.key, i.car.model.key] == 1 for i in self.intents.values()],
            dtype=bool,
        )
        # which topics state an intent's fact, and whether the topic's companion touches it
        self._answering: dict[tuple[str, int], list[str]] = {}
        self._states = np.zeros((len(self.intents), len(topics)), dtype=bool)
        self._touched = np.zeros(len(self.intents), dtype=bool)
        for row, intent in enumerate(self.intents.values()):
            for key in (intent.topic.key, *intent.fact.also):
                if key in codes.topics:
                    self._states[row, codes.topics[key]] = True
            self._touched[row] = intent.fact.key in intent.topic.hints

    def grades(self, intent_ids: Sequence[str], passage_ids: Sequence[str]) -> NDArray[np.int8]:
        """True grades of the pairs, elementwise. Raises KeyError for an id this world does not have."""
        which = np.fromiter((self._intent_row[i] for i in intent_ids), dtype=np.int64, count=len(intent_ids))
        where = np.fromiter((self._passage_row[p] for p in passage_ids), dtype=np.int64, count=len(passage_ids))
        topic, family, model, trim, by_trim = self._intents[which].T
        p_topic, p_family, p_model, p_trim, companion = self._passages[where].T
        named = model != ANY
        same_model = named & (model == p_model)
        same_trim = (p_trim == ANY) | (trim == p_trim) | ((trim == ANY) & self._sole[which] & (topic == p_topic))
        open_trim = (trim == ANY) & (by_trim == 1)
        states = self._states[which, p_topic]
        main = np.where(same_model & same_trim, 3, np.where(same_model & open_trim, 2, np.where(named, 1, 2)))
        beside = np.where(same_model & self._touched[which] & (topic == p_topic), 2, 1)
        related = (family == p_family) & same_model & (same_trim | open_trim)
        result = np.where(states, np.where(companion == 1, beside, main), np.where(related, 1, 0))
        return result.astype(np.int8)

    def grade(self, intent_id: str, passage_id: str) -> int:
        return int(self.grades([intent_id], [passage_id])[0])

    def answering(self, intent_id: str, at_least: int) -> list[str]:
        """Passages with at least this grade, in the order of print."""
        if (intent_id, at_least) not in self._answering:
            everything = [p.passage_id for p in self.manual.passages]
            given = self.grades([intent_id] * len(everything), everything)
            good = [passage_id for passage_id, grade in zip(everything, given, strict=True) if grade >= at_least]
            self._answering[intent_id, at_least] = good
        return self._answering[intent_id, at_least]


class _Codes:
    """Small integers for topics, families, models and trims."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self.topics: dict[str, int] = {}
        self.families: dict[str, int] = {}
        self.models: dict[str, int] = {}
        for topic in topics:
            self.topics[topic.key] = len(self.topics)
            self.families.setdefault(topic.family, len(self.families))

    def _car(self, car: Car | None) -> tuple[int, int]:
        if car is None:
            return ANY, ANY
        model = self.models.setdefault(car.model.key, len(self.models))
        return model, ANY if car.trim == ALL_TRIMS else car.model.trims.index(car.trim)

    def passage(self, p: Printed) -> tuple[int, int, int, int, int]:
        return self.topics[p.topic.key], self.families[p.topic.family], *self._car(p.car), int(p.companion)

    def intent(self, intent: Intent) -> tuple[int, int, int, int, int]:
        topic = intent.topic
        by_trim = int(topic.scope == "trim")
        return self.topics[topic.key], self.families[topic.family], *self._car(intent.car), by_trim
