"""What a cell says: texts, identifiers, numbers, truth values and lists as people and programs write them.

Each function takes what the reader found in a cell. It raises Unfit, naming the value and what to do, where it would
have to guess.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from rerankops.reading.places import Unfit, shortly

TRUE = frozenset({"true", "yes", "y", "x", "1", "是", "√", "✓", "✔", "t", "on"})
FALSE = frozenset({"false", "no", "n", "0", "否", "×", "f", "off"})
_SCIENTIFIC = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+?\d{2,}", re.IGNORECASE)
_LIST = re.compile(r"[|｜]")
_ASKED = re.compile(r"[,;，；、\s]")
_LARGEST_EXACT = 2**53
_PLAIN: dict[int, int] = {0x3000: 0x20, **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}}


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: null, only spaces, or not-a-number."""
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def same_signs(text: str) -> str:
    """Full-width digits, letters and separators (１，；｜＝) as their plain forms. Nothing else changes; Unicode's
    compatibility forms would also turn ² into 2."""
    return text if text.isascii() else text.translate(_PLAIN)


def text(value: Any, *, numbers: bool = False) -> str | None:
    """Text as it is; None for an empty cell. numbers: a number is also text, as in a spreadsheet cell: a spreadsheet
    turns every text that looks like a number into one."""
    if is_empty(value):
        return None
    if numbers and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.15g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        raise Unfit("no text", f"must be text, found {type(value).__name__}")
    return _encodable(value)


def identifier(value: Any) -> str | None:
    """An identifier; None for an empty cell. A whole number gives its digits. Raises Unfit for a number that a
    spreadsheet has rounded."""
    if is_empty(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal | UUID):
        raise Unfit("no identifier", f"must be text or a whole number, found {type(value).__name__}")
    if isinstance(value, float | Decimal):
        exact = float(value)
        if not exact.is_integer() or abs(exact) > _LARGEST_EXACT:
            raise Unfit(
                "no identifier", f"is the number {value!r}; is it an identifier that a program took for a number?"
            )
        return str(int(exact))
    if isinstance(value, str) and _SCIENTIFIC.fullmatch(value.strip()) and ("." in value or "+" in value):
        words = (
            f"is {value!r}, which a spreadsheet has made of an identifier; format the column as text and fill it anew"
        )
        raise Unfit("an identifier that became a number", words)
    return _encodable(str(value).strip())


def identifiers(value: Any, *, separator: str | None = None) -> list[str]:
    """Identifiers from a list, JSON text of a list, or text with `separator` between them. None: the separator is | or
    ｜, and any other usual separator raises Unfit. [] for an empty cell."""
    if is_empty(value):
        return []
    if isinstance(value, str):
        value = _split(value.strip(), separator)
    elif isinstance(value, int | float | UUID) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list | tuple):
        raise Unfit("no list", f"must be a list, found {type(value).__name__}")
    found = []
    for one in value:
        if isinstance(one, bool) or not isinstance(one, str | int | float | UUID):
            raise Unfit("no list", f"must hold texts or whole numbers, found {type(one).__name__}")
        name = identifier(one)
        if name is not None:
            found.append(name)
    return found


def _split(value: str, separator: str | None) -> list[Any]:
    written = 'write ["p01", "p02"], or p01|p02'
    if value.startswith("["):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError) as error:
            words = f"is no list: {shortly(repr(value))} is no JSON ({error}); {written}"
            raise Unfit("a list that is no JSON", words) from error
        return list(found)
    if separator is not None:
        return [part.strip() for part in value.split(separator) if part.strip()]
    if _LIST.search(value):
        return [part.strip() for part in _LIST.split(value) if part.strip()]
    found_sign = _ASKED.search(value)
    if found_sign:
        words = f"is {shortly(repr(value))}: one identifier, or several with {found_sign[0]!r} between them? {written}"
        raise Unfit("a separator inside an identifier", words)
    return [value]


def number(value: Any) -> float | None:
    """A finite number, also in full-width digits; None for an empty cell."""
    if is_empty(value):
        return None
    if isinstance(value, str):
        plain = same_signs(value).strip()
        try:
            value = float(plain)
        except ValueError:
            raise Unfit("no number", f"is {shortly(repr(value))}, expected a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        raise Unfit("no number", f"is {shortly(repr(value))}, expected a number")
    return float(value)


def whole(value: Any) -> int | None:
    """A whole number, also as 1.0 or in full-width digits; None for an empty cell."""
    found = number(value)
    if found is None:
        return None
    if not found.is_integer() or abs(found) > _LARGEST_EXACT:
        raise Unfit("no whole number", f"is {shortly(repr(value))}, expected a whole number")
    return int(found)


def flag(value: Any) -> bool | None:
    """True or false in the usual words; None for an empty cell."""
    if is_empty(value):
        return None
    if isinstance(value, bool):
        return value
    word = same_signs(str(value)).strip().casefold()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise Unfit("neither true nor false", f"is {shortly(repr(value))}, expected true or false (yes, no, 是, 否)")


def mapped(value: Any, meanings: Mapping[str, Any]) -> Any:
    """The meaning that a setting gives to a log's own value; the value itself if the setting gives none. 1, 1.0 and "1"
    are the same value."""
    if not meanings or isinstance(value, list | dict):
        return value
    plain = int(value) if isinstance(value, float) and value.is_integer() else value
    written = "" if is_empty(value) else same_signs(str(plain)).strip()
    return meanings.get(written, meanings.get(written.casefold(), value))


def _encodable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit("a damaged character", "holds half of a surrogate pair, which is no text") from None
    return value
