"""Reads a server's reply strictly: an answer, or one line that says why there is none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

import httpx

from rerankops import exchange
from rerankops.llm.asking import NoAnswer

SHOWN = 2000
"""Characters of a reply that are kept to show to a person."""
_REASONING = ("reasoning_content", "reasoning", "thinking")
"""Message fields in which servers send thinking separately: DeepSeek and vLLM, OpenRouter and Ollama, others."""
BROKEN_OFF = frozenset({"abort", "error", "network_error", "insufficient_system_resource"})
"""Finish reasons of a reply that the server did not complete, from vLLM, OpenRouter, Zhipu and DeepSeek."""


class NotThis(Exception):
    """There is no answer to this prompt, and another try would not bring one. reply: what came back."""

    def __init__(
        self, kind: Literal["refused", "unavailable", "malformed", "budget"], words: str, reply: str = ""
    ) -> None:
        super().__init__(words)
        self.outcome = NoAnswer(kind, words, reply)


class Again(NotThis):
    """Another try may succeed."""


class Unsent(Again):
    """Nothing reached the server, so nothing was spent."""


class FormRefused(NotThis):
    """The server will not answer this prompt in its form. lasting: other prompts in this form will fail too; if False,
    the server may have failed."""

    def __init__(self, words: str, *, lasting: bool) -> None:
        super().__init__("refused", words)
        self.lasting = lasting


class Said(NamedTuple):
    """Text, finish_reason and reasoning of an Answer."""

    text: str
    finish_reason: str
    reasoning: str


Tidy = Callable[[str], str]
"""Makes one short line of what a server said."""


def read(headers: httpx.Headers, raw: bytes, tidy: Tidy) -> Mapping[str, Any]:
    """The JSON object of a reply; some servers label theirs text/plain. Raises NotThis for a reply that is not one,
    Again for incomplete JSON."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    shown, whole = tidy(_visible(raw)), visible(raw)
    try:
        reply = exchange.parse(raw)
    except exchange.TooDeep as error:
        raise NotThis("malformed", f"a reply with {error}", whole) from error
    except (ValueError, RecursionError) as error:
        if "json" not in kind:
            raise NotThis(
                "malformed", f"a reply of type {kind or 'unknown'} instead of JSON: {shown!r}", whole
            ) from None
        raise Again("malformed", f"a reply that is no whole JSON: …{shown[-40:]!r}", whole) from error
    if not isinstance(reply, Mapping):
        if "json" not in kind:
            raise NotThis("malformed", f"a reply of type {kind or 'unknown'} instead of JSON: {shown!r}", whole)
        raise NotThis("malformed", f"a reply that is no object: {shown!r}", whole)
    return reply


def error_of(reply: Mapping[str, Any]) -> tuple[int | None, str, str] | None:
    """The error in a reply with status 200, if there is one: (status, words, code). status: the HTTP status that it
    stands for; None if it names none."""
    choice = _choice(reply)
    error = reply.get("error") or (choice or {}).get("error")
    if not error:
        return None
    words, code = _reason(error)
    status = int(code) if code.isascii() and code.isdecimal() and len(code) == 3 and code[0] in "45" else None
    return status, words, code


def content(reply: Mapping[str, Any], tidy: Tidy, raw: bytes) -> Said:
    """What the first choice says. raw: the reply, to show if it says nothing. Raises NotThis when there is no choice,
    or its content is not text."""
    first = _choice(reply)
    message = first.get("message") if first else None
    if first is None or not isinstance(message, Mapping):
        raise NotThis("malformed", f"a reply without choices: {tidy(_visible(raw))}", visible(raw))
    finish_reason = str(first.get("finish_reason") or "unknown")
    reasoning = "\n".join(text for name in _REASONING if isinstance(text := message.get(name), str) and text.strip())
    text, thought, declined = _parts(message.get("content"), tidy, raw)
    reasoning = "\n".join(filter(None, [reasoning, thought]))[:SHOWN]
    refusal = message.get("refusal")
    if declined or (isinstance(refusal, str) and refusal.strip()):
        return Said(declined or str(refusal), "refusal", reasoning)
    for name in ("tool_calls", "function_call"):
        if message.get(name):
            return Said(json.dumps(message[name], ensure_ascii=False)[:SHOWN], "tool_calls", reasoning)
    return Said(text, finish_reason, reasoning)


def usage(reply: Mapping[str, Any]) -> int | None:
    """Tokens of prompt and answer as the server counts them; None when it does not say."""
    said = reply.get("usage")
    if not isinstance(said, Mapping):
        return None
    total = said.get("total_tokens")
    numbers = [total] if total is not None else [said.get("prompt_tokens"), said.get("completion_tokens")]
    counts = [number for number in numbers if isinstance(number, int) and not isinstance(number, bool) and number >= 0]
    return sum(counts) if len(counts) == len(numbers) else None


def reason(raw: bytes) -> tuple[str, str]:
    """The message of an error reply, and its code."""
    try:
        error = exchange.parse(raw)
    except (ValueError, RecursionError):
        return _visible(raw) or "no reason given", ""
    return _reason(error.get("error", error) if isinstance(error, Mapping) else error)


def visible(raw: bytes) -> str:
    """What a person sees of a body."""
    return shown(raw.decode("utf-8", "replace"))


def shown(text: str) -> str:
    """A text, cut at SHOWN characters, with a count of what is left out."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text) - SHOWN:,} more characters)"


def retry_after(value: str | None) -> float:
    """Seconds, from a number of seconds or an HTTP date; 0 when there is no readable value."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value)) if math.isfinite(float(value)) else 0.0
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


# -- private ----------------------------------------------------------------------------------------------------------


def _choice(reply: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else None


def _parts(said: Any, tidy: Tidy, raw: bytes) -> tuple[str, str, str]:
    """(answer, thinking, refusal) of a message's content: a text, or a list of parts, each of which states its type."""
    found: dict[str, list[str]] = {"text": [], "thinking": [], "refusal": []}
    for part in said if isinstance(said, list) else [said or ""]:
        kind, text = ("text", part) if isinstance(part, str) else _part(part)
        if text is None:
            raise NotThis("malformed", f"a reply whose content is no text: {tidy(str(said))}", visible(raw))
        found[kind].append(text)
    return "".join(found["text"]), "\n".join(found["thinking"]), "\n".join(found["refusal"])


def _part(part: Any) -> tuple[str, str | None]:
    """(kind, text) of one part of a content; text None: it is not text."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str):
        return "text", None
    kind = {"output_text": "text", "reasoning": "thinking"}.get(kind, kind)
    if kind == "thinking":
        return kind, json.dumps(part, ensure_ascii=False)[:SHOWN]
    text = part.get(kind) if kind in ("text", "refusal") else None
    return (kind, text) if isinstance(text, str) else ("text", None)


def _reason(error: Any) -> tuple[str, str]:
    if isinstance(error, Mapping):
        words = error.get("message") or error.get("detail") or error
        return str(words), str(error.get("code") or error.get("type") or "")
    return str(error), ""


def _visible(raw: bytes) -> str:
    """The words of a body; for an HTML page, without its markup."""
    text = raw[: 16 * 1024].decode("utf-8", "replace")
    if "<html" in text.lower() or "<!doctype" in text.lower():
        text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(text.split())
