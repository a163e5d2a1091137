"""JSON documents that carry the hash of their content: a changed byte is noticed anywhere in the file.

A sealed document is an object whose last key, `check`, is the SHA-256 of the text of the other keys. The reader writes
the document again and compares. This also detects changes that JSON would accept (white space, a repeated key).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECK = "check"


def seal(document: Mapping[str, Any]) -> bytes:
    """The document as UTF-8 JSON with its hash. Raises ValueError when it has a key `check`."""
    if CHECK in document:
        raise ValueError(f"a sealed document has a key {CHECK!r} of its own")
    return _text({**document, CHECK: hashlib.sha256(_text(document)).hexdigest()})


def unseal(data: bytes) -> tuple[dict[str, Any], bool]:
    """(document without its hash, whether it had one). Raises ValueError with a message in words when the data are not
    a JSON object or not what was sealed."""
    try:
        tree = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - a file is wrong, not a caller
    if CHECK not in tree:
        return tree, False
    document = {name: value for name, value in tree.items() if name != CHECK}
    if seal(document) != data:
        raise ValueError("it is not what was written: its check does not fit")
    return document, True


def _text(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree, ensure_ascii=False, indent=1).encode(errors="surrogatepass")
