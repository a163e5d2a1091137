"""Text from outside inside a prompt, so that it stays material and cannot become an order that counts.

A passage, a question or an answer may be written to be obeyed. Each stands between tags whose name holds a code that
depends on every text of the prompt, so that no text can hold its own; and no text holds a sign that opens a tag or a
chat template's control token. What a model makes of it is still its own affair: whoever reads its answer must take it
for what was asked, and nothing else in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal

from rerankops.plain import blanked

Language = Literal["zh", "en"]

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def language_of(setting: Literal["auto", "zh", "en"], text: str) -> Language:
    """The language of a prompt about a text: as set, or Chinese where the text has Chinese characters."""
    if setting != "auto":
        return setting
    return "zh" if _HAN.search(text) else "en"


def plain(text: str) -> str:
    """A text that opens no tag and no control token, such as <|im_end|>, [INST] or [gMASK], whatever the chat template,
    and hides nothing: control characters and invisible tags are spaces."""
    text = blanked(text).replace("<", "＜").replace(">", "＞")
    return re.sub(r"\[(?=\s*/?\s*[A-Za-z_]{2,}\s*\])", "[ ", text)


def shortened(text: str, most: int) -> str:
    """At most so many characters; … where some are left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def code_of(texts: Any) -> str:
    """The code of a prompt's tags: 12 hexadecimal digits that depend on all its texts (anything JSON can hold)."""
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()[:12]


def fenced(name: str, code: str, text: str, number: int | None = None) -> str:
    """The text between tags of its own. text: as `plain` makes it."""
    counted = "" if number is None else f' n="{number}"'
    return f"<{name}-{code}{counted}>\n{text}\n</{name}-{code}>"
