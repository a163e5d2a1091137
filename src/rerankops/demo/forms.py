"""The form in which the manual is written down: a topic, its slots, its facts and their wordings.

A topic is one section of the manual. It is printed once per trim or once per model; a slot is what differs between
the cars; a fact is something that somebody may ask, with the wordings of careful people (gold) and of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Stratum = Literal["numeric", "procedure", "summary"]
Scope = Literal["trim", "model"]
Drive = Literal["any", "engine", "plug", "fuel"]
Trims = Literal["every", "upper", "top"]


@dataclass(frozen=True)
class Num:
    """Numbers low, low + step … high, different for every car while they last. by_size: larger cars get larger ones."""

    low: float
    high: float
    step: float
    by_size: bool = False
    digits: int = 0

    def options(self) -> list[str]:
        count = round((self.high - self.low) / self.step) + 1
        return [f"{self.low + i * self.step:.{self.digits}f}" for i in range(count)]


@dataclass(frozen=True)
class Pick:
    """Phrases, dealt to the cars like cards; a phrase may name slots written before it. per_model: trims share it."""

    phrases: tuple[str, ...]
    per_model: bool = False


def pick(*phrases: str, per_model: bool = False) -> Pick:
    return Pick(phrases, per_model)


@dataclass(frozen=True)
class Fact:
    """One askable fact. answers: templates of what any right answer contains, as the manual writes it, then variants.

    gold and log: wordings with {car} where the user names the car. The last two of log are only heard in the second
    half of the period. also: other topics whose passages state the fact too.
    """

    key: str
    stratum: Stratum
    answers: tuple[str, ...]
    gold: tuple[str, ...]
    log: tuple[str, ...]
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topic:
    """One section. companions: a model-wide passage beside it that touches the facts named in hints without settling
    them; family: topics an annotator would call the same subject; late: nobody asks before the second half."""

    key: str
    family: str
    section: str
    title: str
    scope: Scope
    passages: tuple[str, ...]
    facts: tuple[Fact, ...]
    slots: Mapping[str, Num | Pick] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    companion_section: str = "常见问题"
    hints: tuple[str, ...] = ()
    drive: Drive = "any"
    trims: Trims = "every"
    late: bool = False
