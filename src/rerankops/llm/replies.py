"""What a server sent, read strictly: an answer, or in one line why it is none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx

from rerankops.llm.asking import NoAnswer


class NotThis(Exception):
    """No answer to this prompt, and another try would bring none."""

    def __init__(self, kind: Literal["refused", "unavailable", "malformed", "budget"], words: str) -> None:
        super().__init__(words)
        self.outcome = NoAnswer(kind, words)


class Again(NotThis):
    """Another try may succeed."""


class Unsent(Again):
    """Nothing reached the server, so nothing was spent."""


Tidy = Callable[[str], str]
"""Makes one short line of what a server said."""


def read(headers: httpx.Headers, raw: bytes, tidy: Tidy) -> Mapping[str, Any]:
    """The JSON object of a reply."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    shown = tidy(_visible(raw))
    if "json" not in kind:
        raise NotThis("malformed", f"a reply of type {kind or 'unknown'} instead of JSON: {shown!r}")
    try:
        reply = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Again("malformed", f"a reply that is no whole JSON: …{shown[-40:]!r}") from error
    if not isinstance(reply, Mapping):
        raise NotThis("malformed", f"a reply that is no object: {shown!r}")
    return reply


def content(reply: Mapping[str, Any], tidy: Tidy) -> tuple[str, str]:
    """Text and finish_reason of the first choice."""
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    if not isinstance(first, Mapping) or not isinstance(message, Mapping):
        raise NotThis("malformed", f"a reply without choices: {tidy(str(reply.get('error') or dict(reply)))}")
    text, finish_reason = message.get("content"), first.get("finish_reason")
    if not isinstance(text, str | None):
        raise NotThis("malformed", f"a reply whose content is no text: {tidy(str(text))}")
    return text or "", str(finish_reason or "unknown")


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
    """What an error reply says, and its code."""
    try:
        error = json.loads(raw)
    except (ValueError, RecursionError):
        return _visible(raw) or "no reason given", ""
    inner = error.get("error", error) if isinstance(error, Mapping) else error
    if isinstance(inner, Mapping):
        words = inner.get("message") or inner.get("detail") or inner
        return str(words), str(inner.get("code") or inner.get("type") or "")
    return str(inner), ""


def _visible(raw: bytes) -> str:
    """The words of a body, of an HTML page without its markup."""
    text = raw[: 64 * 1024].decode("utf-8", "replace")
    if "<html" in text.lower() or "<!doctype" in text.lower():
        text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(text.split())


def retry_after(value: str | None) -> float:
    """Seconds, from a number of them or an HTTP date; 0 when there is none that can be read."""
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
