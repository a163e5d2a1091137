"""Every door takes the same table however it arrives: each of file_variants is read, set aside with a count, or
refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from doors import DOORS, Door
from file_variants import LIMITS, READ, REFUSED, VARIANTS, Variant

from rerankops import config

UNREAD = {("delivery", "an over-long line"), ("delivery", "half of a surrogate pair")}
"""The fault stands in a field that the door leaves unread, and the rest of the line is whole."""
HOW = config.load(environ={}).reading.model_copy(update=LIMITS)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_every_door_reads_sets_aside_or_refuses_every_variant(door: Door, variant: Variant, tmp_path: Path) -> None:
    path = tmp_path / f"table{variant.ending}"
    path.write_bytes(variant.make(door.rows))
    found = door(path, HOW)
    assert "\n" not in found.refusal
    if variant.outcome == REFUSED:
        assert not found.rows
        assert path.name in found.refusal or found.whole or found.aside or not path.stat().st_size
    elif variant.outcome == READ or (door.name, variant.name) in UNREAD:
        assert found == (door.wanted, 0, False, "")
    else:
        per_row = len(door.wanted) // len(door.rows)
        assert len(found.rows) == len(door.wanted) - variant.lost * per_row
        assert all(row in door.wanted for row in found.rows)
        assert found.aside == 1
