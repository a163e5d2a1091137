"""Makes text from outside safe to show to people: characters that could steer a terminal, forge a log line or reverse
the reading order are written out, as \\x1b or \\u202e. All other text is unchanged."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

_STEERING = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, which also begin escape sequences; not tab and line feed
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls (Unicode TR 36, TR 39)
    r"\u2028\u2029\ud800-\udfff\ufff9-\ufffb"  # other line ends, lone surrogates, annotations
    r"\U000e0000-\U000e007f"  # invisible tags
)
_MANY_LINES = re.compile(f"[{_STEERING}]")
_ONE_LINE = re.compile(f"[{_STEERING}\\n\\t]")


def shown(text: str) -> str:
    """A text of several lines, safe to print."""
    return _MANY_LINES.sub(_written_out, text)


def one_line(text: str) -> str:
    """A text on one line of a log or a message: line ends are written out too."""
    return _ONE_LINE.sub(_written_out, text)


FORMULA = r"[\s\u200b\ufeff]*[=+\-@＝＋－＠]|[\t\r\n]"
"""How a cell that a spreadsheet may calculate begins: OWASP's list, full-width signs, and blanks before a sign."""


def blanked(text: str) -> str:
    """A text of several lines with a space in place of each steering character."""
    return _MANY_LINES.sub(" ", text)


def in_markdown(text: str) -> str:
    """A text for one line of Markdown: it starts no tag, code, link or picture, wherever it is rendered."""
    escaped = re.sub(r"([\[\]`\\])", r"\\\1", one_line(" ".join(text.split())))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def as_json(document: Any, **options: Any) -> str:
    """JSON that is safe to print and means the same: steering characters become JSON escapes."""
    return _MANY_LINES.sub(
        lambda found: json.dumps(found[0])[1:-1], json.dumps(document, ensure_ascii=False, **options)
    )


class LineFormatter(logging.Formatter):
    """Writes one line a record, whatever its message quotes; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return shown(super().formatException(ei))


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
