"""Personal data in messages: errors and log lines quote what people sent.

Quoted parts are redacted like any text. The words around them are ours and keep names, addresses of machines and of
artefacts, times and numbers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import polars as pl

from rerankops.privacy.redaction import redact

_QUOTED = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|“[^”\n]*”|「[^」\n]*」")
_MACHINE = re.compile(
    r"^(?:[a-z_]+/)?[0-9a-f]{32,64}$|^[\w./:@+-]*/[\w./:@+-]*$|^\d{4}-\d\d-\d\d[T ][\d:.,+Z-]*$|^[a-z][a-z0-9_.-]*$"
)
"""Quoted words that are ours: an address, a path, a time, or the name of a setting, column or kind."""
_OURS = ("EMAIL", "PHONE", "ID", "CARD", "PLATE", "VIN", "PASSPORT")
"""Kinds to look for outside of quotation marks."""
_PLACEHOLDER = re.compile(rf"\[(?!(?:{'|'.join(_OURS)})\])[A-Z]+\]")
_region: ContextVar[str] = ContextVar("region of telephone numbers", default="CN")


@contextmanager
def region_of_messages(region: str) -> Iterator[None]:
    """Sets the region of telephone numbers without a country code for the messages of the block."""
    token = _region.set(region)
    try:
        yield
    finally:
        _region.reset(token)


def clean(message: str) -> str:
    """The message without personal data."""
    pieces: list[tuple[str, bool]] = []
    at = 0
    for match in _QUOTED.finditer(message):
        pieces += [(message[at : match.start()], False), (match.group(), True)]
        at = match.end()
    pieces.append((message[at:], False))
    quoted = [text for text, is_quoted in pieces if is_quoted]
    plain = [text for text, is_quoted in pieces if not is_quoted]
    cleaned = iter(_redacted(quoted, "rules")), iter(_redacted(plain, "off"))
    return "".join(
        _of_quoted(text, next(cleaned[0])) if is_quoted else _of_plain(text, next(cleaned[1]))
        for text, is_quoted in pieces
    )


def clean_error(error: BaseException) -> BaseException:
    """The error, or one in its place, with no personal data in its message or its causes' messages. A cause that cannot
    be reworded is cut off."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        _reword(one)
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if cause is not None:
            _reword(cause)
            if clean(str(cause)) != str(cause):
                one.__cause__, one.__suppress_context__ = None, True
                one.__context__ = None
                cause = None
        one = cause
    words = str(error)
    return error if clean(words) == words else RuntimeError(f"{type(error).__name__}: {clean(words)}")


class RedactingFilter(logging.Filter):
    """Removes personal data from log records before any handler sees them."""

    def filter(self, record: logging.LogRecord) -> bool:
        words = record.getMessage()
        cleaned = clean(words)
        if cleaned != words:
            record.msg, record.args = cleaned, None
        return True


def _reword(error: BaseException) -> None:
    words = str(error)
    if clean(words) != words:
        error.args = tuple(clean(part) if isinstance(part, str) else part for part in error.args)


def _redacted(texts: list[str], names: str) -> list[str]:
    return list(redact(pl.Series(texts, dtype=pl.String), region=_region.get(), names=names)["text"])


def _of_quoted(before: str, after: str) -> str:
    return before if _MACHINE.match(before[1:-1]) and "@" not in before else after


def _of_plain(before: str, after: str) -> str:
    """Text outside of quotation marks, redacted only where a person's number or account was."""
    return before if after == before or _PLACEHOLDER.search(after) else after
