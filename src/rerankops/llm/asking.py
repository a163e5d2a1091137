"""What is asked, what comes back, where it is kept and what it may cost."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

_CJK = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
OVERHEAD = 64
"""Tokens that a chat template may add to a message."""


@dataclass(frozen=True)
class Message:
    """One turn. role: system, user or assistant."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Form:
    """The form of an answer: a JSON schema, and a name for it (letters, digits, _ and -). The server is asked to keep
    to it where it can (llm.structured_output); what comes back is read as strictly as without."""

    name: str
    schema: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Prompt:
    """What is asked. max_tokens, seed: None is what the settings say; another seed is another opinion. form: None: any
    text."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    seed: int | None = None
    form: Form | None = None


@dataclass(frozen=True)
class Answer:
    """What came back, as the server sent it; rerankops.llm.final takes from it what the model says in the end.

    text may be empty. finish_reason: stop, length (cut at max_tokens), content_filter, tool_calls, refusal (text says
    what the model declined with), … tokens: of prompt and answer, as the server says, else estimated. cached: nothing
    was sent for it. seconds: how long its request took, among llm.concurrency others, also where it was kept since;
    None where nobody knows. reasoning: what the server sent apart as the model's thinking; never part of an answer."""

    text: str
    finish_reason: str
    tokens: int
    cached: bool = False
    seconds: float | None = field(default=None, compare=False)
    reasoning: str = ""


@dataclass(frozen=True)
class NoAnswer:
    """Why there is none. refused: the server will not answer this prompt; unavailable: it did not, however often it
    was asked; malformed: what came back is no answer; budget: it was not asked any more. reply: what came back, where
    something did."""

    kind: Literal["refused", "unavailable", "malformed", "budget"]
    words: str
    reply: str = field(default="", compare=False)


class Cache(Protocol):
    """Answers by the content of their question. Called from several threads; an entry is whole or not there."""

    def get(self, key: str) -> Mapping[str, Any] | None: ...

    def put(self, key: str, value: Mapping[str, Any]) -> None: ...


class Budget:
    """Requests and tokens that may be spent, None: without limit. Shared between threads.

    A request is sent only if what it may cost at most still fits, so neither limit is ever exceeded as long as the
    server keeps to max_tokens. The first one that does not fit ends it for all: else short prompts would go on while
    long ones are left out, and what was answered would not be a fair share of what was asked.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None) -> None:
        self.limits = (requests, tokens)
        self.requests = self.tokens = self._reserved = 0
        self.spent = False
        self._lock = threading.Lock()

    def reserve(self, tokens: int) -> bool:
        """Counts one request and puts so many tokens aside; False when that does not fit."""
        requests, most = self.limits
        with self._lock:
            over = requests is not None and self.requests + 1 > requests
            over |= most is not None and self.tokens + self._reserved + tokens > most
            self.spent |= over
            if not self.spent:
                self.requests += 1
                self._reserved += tokens
            return not self.spent

    def settle(self, reserved: int, tokens: int) -> None:
        """The request that `reserved` was put aside for cost `tokens`."""
        with self._lock:
            self._reserved -= reserved
            self.tokens += tokens

    def __str__(self) -> str:
        parts = [
            f"{number:,} {name}{'' if most is None else f' of {most:,}'}"
            for number, name, most in zip(
                (self.requests, self.tokens), ("requests", "tokens"), self.limits, strict=True
            )
        ]
        return " and ".join(parts)


def estimated_tokens(text: str) -> int:
    """About what a text costs where the server does not say: a token a CJK character, one for four others."""
    wide = len(_CJK.findall(text))
    return wide + math.ceil((len(text) - wide) / 4)
