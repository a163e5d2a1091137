"""What a reader is asked, what it replies, and each reading done once."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

Passages = Sequence[tuple[str, str]]
"""(title, text), best first."""

TRANSIENT = frozenset({"unavailable", "budget"})
"""Kinds of reasons that another run may mend: the server was away, or the budget spent."""


@dataclass(frozen=True)
class Asked:
    """A question and what a system put on top for it. Nothing else reaches a reader: no accepted answers, no scores."""

    question_id: str
    question: str
    passages: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reply:
    """What a reader said.

    text: the answer, or the words of a refusal; "" when it found nothing to say; None when no answer could be had,
    which is a missing verdict and never a wrong one.
    refused: it says that the passages do not answer.
    reason: "KIND: WORDS" where text is None, such as "unavailable: status 503"; else "".
    reply: what came back where text is None, to be shown to a person.
    seconds: what the reading took, from a reader that has several at once, or had some before; nan where that is not
    known. None: as long as it was waited for.
    """

    text: str | None
    refused: bool = False
    reason: str = ""
    seconds: float | None = field(default=None, compare=False)
    reply: str = field(default="", compare=False)


class Problems:
    """Answers or verdicts that are missing, by kind of reason, with the first of each kind.

    counts: how many of each kind. examples: {kind: {"reason": what was wrong and what helps, "reply": what came back}}.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, dict[str, str]] = {}

    def note(self, reason: str, reply: str = "") -> None:
        """Counts one. reason: "KIND: WORDS"."""
        kind, _, words = reason.partition(": ")
        self.counts[kind] += 1
        if kind not in self.examples or (reply and not self.examples[kind]["reply"]):
            self.examples[kind] = {"reason": words, "reply": reply}

    def __add__(self, other: Problems) -> Problems:
        both = Problems()
        both.counts = self.counts + other.counts
        both.examples = other.examples | self.examples
        return both


class Reader(Protocol):
    """Whatever answers questions from ranked passages.

    A reply depends on the question and its passages alone, not on what else is asked with it.
    can_refuse: whether it ever says that the passages do not answer.
    """

    @property
    def can_refuse(self) -> bool: ...

    def answers(self, asked: Sequence[Asked]) -> list[Reply]:
        """A reply to each, in their order."""
        ...


class Remembered:
    """A reader that reads the same passages for the same question once, whichever system shows them.

    asked: how often it was asked; read: how often it had to read; problems: replies without a text, by kind of reason,
    each reading counted once.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], Reply] = {}
        self.asked = self.read = 0
        self._seconds: list[float] = []
        self.problems = Problems()

    @property
    def can_refuse(self) -> bool:
        return self._reader.can_refuse

    @property
    def milliseconds(self) -> float | None:
        """Median time of a reading that brought an answer; None where none was timed."""
        return 1000 * median(self._seconds) if self._seconds else None

    def answers(self, asked: Sequence[Asked]) -> list[Reply]:
        """A reply to each, in their order. The inner reader gets all that is new in one batch."""
        keys = [(one.question, one.passages) for one in asked]
        new = {key: one for key, one in zip(keys, asked, strict=True) if key not in self._known}
        self.asked += len(keys)
        if new:
            started = time.perf_counter()
            replies = self._reader.answers(list(new.values()))
            share = (time.perf_counter() - started) / len(new)
            self.read += len(new)
            for key, reply in zip(new, replies, strict=True):
                self._known[key] = reply
                taken = share if reply.seconds is None else reply.seconds
                if reply.text is not None and not math.isnan(taken):
                    self._seconds.append(taken)
                if reply.text is None:
                    self.problems.note(reply.reason, reply.reply)
        return [self._known[key] for key in keys]
