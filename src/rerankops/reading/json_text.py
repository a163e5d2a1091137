"""JSON as people send it: one value a line, an array, objects one after the other; and Elasticsearch's formats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rerankops.reading.encodings import Line
from rerankops.reading.places import Place, Row, Unfit, Unusable, shortly, unusable

_BLANK = frozenset("\ufeff \t\r\n\x1a")
_SPACE = re.compile(r"[ \t\r\n,\ufeff]*")
_BULK = {"index", "create", "update", "delete"}
_BULK_KEYS = {
    "_index", "_id", "_type", "routing", "_routing", "pipeline", "require_alias", "version", "version_type",
    "dynamic_templates", "if_seq_no", "if_primary_term", "retry_on_conflict", "list_executed_pipelines",
}  # fmt: skip


def parse(text: str, *, depth: int) -> Any:
    """The value of a JSON text; NaN, which Python writes for a missing number, becomes null.

    Raises Unfit when the text is not JSON, is nested deeper than `depth`, repeats a name in one object, or holds half
    of a surrogate pair.
    """
    if text.count("[") + text.count("{") > depth and _depth(text) > depth:
        raise Unfit("JSON nested too deep", f"is nested deeper than {depth} levels; see reading.max_json_depth")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except Unfit:
        raise
    except (ValueError, RecursionError) as error:
        raise Unfit("not valid JSON", f"not valid JSON ({error})") from error
    if "\\u" in text:
        _refuse_halves(value)
    return value


def lines(
    source: Iterator[Line], file: str, *, depth: int, objects: bool, finished: bool = False
) -> Iterator[Row | Unusable]:
    """A row for each line that is not empty. objects: a line that is not an object is unusable. finished: an error in
    the last line is final even if the line has no line end."""
    bulk: Mapping[str, Any] | None = None
    for number, text, shown in source:
        place = Place(file, number)
        if isinstance(text, Unfit):
            yield unusable(place, text, shown)
            continue
        if _BLANK.issuperset(text):
            continue
        try:
            value = parse(text, depth=depth)
        except Unfit as error:
            if error.kind == "not valid JSON" and not text.endswith("\n") and not finished:
                words = f"{error}; the file ends in the middle of the line: is it still being written?"
                error = Unfit("an unfinished last line", words)
            yield unusable(place, error, text)
            continue
        action = bulk_action(value)
        if action is not None:
            bulk = action
            continue
        if isinstance(value, dict):
            value = unwrapped(value, bulk)
        elif objects:
            yield unusable(place, not_an_object(value), text)
            continue
        bulk = None
        yield Row(place, value)


def document(text: str, file: str, *, depth: int, objects: bool) -> Iterator[Row | Unusable]:
    """The items of an array, or objects one after the other over several lines. A broken item is unusable; reading goes
    on with the next line that begins like it."""
    start = next((at for at, letter in enumerate(text) if letter not in _BLANK), len(text))
    array = text[start : start + 1] == "["
    at, line, counted = start + array, 1, 0
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        line, counted = line + text.count("\n", counted, at), at
        if at >= len(text) or (array and text[at] == "]"):
            if array and at >= len(text):
                words = "the array has no end; is the file complete? What was read so far counts"
                yield Unusable(Place(file), "an unfinished array", words)
            return
        place = Place(file, line)
        try:
            value, end = decoder.raw_decode(text, at)
            if _depth(text[at:end]) > depth:
                raise Unfit("JSON nested too deep", f"is nested deeper than {depth} levels; see reading.max_json_depth")
            if "\\u" in text[at:end]:
                _refuse_halves(value)
        except (ValueError, RecursionError) as error:
            told = error if isinstance(error, Unfit) else Unfit("not valid JSON", f"not valid JSON ({error})")
            yield unusable(place, told, text[at : at + 2000])
            following = _next_item(text, at)
            if following is None:
                yield Unusable(Place(file), "a broken document", f"nothing after line {line} could be read")
                return
            at = following
            continue
        if isinstance(value, dict) or not objects:
            yield Row(place, unwrapped(value, None) if isinstance(value, dict) else value)
        else:
            yield unusable(place, not_an_object(value), text[at:end])
        at = end


def bulk_action(value: Any) -> Mapping[str, Any] | None:
    """What an action line of Elasticsearch's bulk format says about the next line; None if it is not an action line."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    ((name, inner),) = value.items()
    if name in _BULK and isinstance(inner, dict) and inner.keys() <= _BULK_KEYS and (inner or name == "index"):
        return inner
    return None


def unwrapped(value: dict[str, Any], bulk: Mapping[str, Any] | None) -> dict[str, Any]:
    """A document without Elasticsearch's wrapping: `_source` of a hit, `_id` of an action line."""
    if isinstance(value.get("_source"), dict) and ("_id" in value or "_index" in value):
        return {"_id": value.get("_id"), **value["_source"]}
    if bulk and "_id" in bulk and "_id" not in value:
        return {"_id": bulk["_id"], **value}
    return value


def not_an_object(value: Any) -> Unfit:
    return Unfit("not an object", f"expected an object, found {type(value).__name__} {shortly(repr(value))}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unfit("a name twice in one object", f"holds the name {twice!r} twice; which one counts?")
    return found


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is no JSON number")


def _refuse_halves(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unfit("a damaged character", "holds half of a surrogate pair, which is no text") from None


def _depth(text: str) -> int:
    """How deep the brackets are nested, not counting those in strings."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"?', "", text)
    deepest = level = 0
    for sign in re.findall(r"[\[\]{}]", bare):
        level += 1 if sign in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _next_item(text: str, at: int) -> int | None:
    """Where the next line that begins like the item at `at` does: it is an item as well."""
    begin = text.rfind("\n", 0, at) + 1
    indent = text[begin:at]
    if indent.strip(" \t"):
        return None
    found = text.find(f"\n{indent}{text[at]}", at)
    return None if found < 0 else found + 1 + len(indent)
