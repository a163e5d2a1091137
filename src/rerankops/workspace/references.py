"""References, `ROOT/refs/NAME.json`: the only mutable part of a workspace."""

from __future__ import annotations

from datetime import UTC, datetime

from rerankops.workspace.manifest import Address
from rerankops.workspace.sealed import seal, unseal

_KEYS = {"address", "moved_at"}


def to_json(address: Address) -> bytes:
    return seal({"address": address, "moved_at": datetime.now(UTC).isoformat()})


def from_json(data: bytes) -> Address:
    """The address of a reference; format 1 has no check and is accepted as it is. Raises ValueError, in words."""
    tree, _ = unseal(data)
    if set(tree) != _KEYS or not all(isinstance(value, str) for value in tree.values()):
        raise ValueError(f"it has {sorted(tree)}, expected {sorted(_KEYS)}, both texts")
    return str(tree["address"])
