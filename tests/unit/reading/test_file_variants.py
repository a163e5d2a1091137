"""Every way in which a table may arrive is read, set aside with a count, or refused, by the reader itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from file_variants import LIMITS, READ, REFUSED, VARIANTS, Variant

from rerankops import reading
from rerankops.config import ReadingSettings
from rerankops.reading import Aside, Refused

ROWS: list[dict[str, Any]] = [
    {"name": "a-01", "text": "后备箱的容积是多少", "number": 12, "list": ["p01", "p02"], "empty": None},
    {"name": "a-02", "text": "how do I open the bonnet, please; today", "number": 7, "list": ["p03"], "empty": None},
    {"name": "a-03", "text": "轮胎的胎压怎么看", "number": 0, "list": ["p01", "p04"], "empty": None},
    {"name": "a-04", "text": '仪表盘上的"黄灯"', "number": 3, "list": [], "empty": None},
]


def take(path: Path, settings: ReadingSettings, aside: Aside) -> list[tuple[Any, ...]]:
    found = []
    with reading.opened(path, settings, known=list(ROWS[0])) as table:
        table.require({"name": "a.setting", "text": "another.setting"})
        for place, row in reading.strictly(table.rows, aside):
            assert str(path) in str(place)
            values = {name: row.get(name) for name in ROWS[0]}
            found.append(
                (
                    reading.identifier(values["name"]),
                    reading.text(values["text"]),
                    reading.whole(values["number"]),
                    reading.identifiers(values["list"]),
                    reading.text(values["empty"]),
                )
            )
    return found


def refused(path: Path, settings: ReadingSettings, aside: Aside) -> tuple[list[tuple[Any, ...]], str]:
    """What could be read before the file was refused, and the words."""
    try:
        return take(path, settings, aside), ""
    except Refused as error:
        return [], str(error)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_table_is_read_however_it_arrives(variant: Variant, tmp_path: Path, settings: ReadingSettings) -> None:
    path, aside = tmp_path / f"table{variant.ending}", Aside()
    path.write_bytes(variant.make(ROWS))
    limited = settings.model_copy(update=LIMITS)
    wanted = [tuple(row.values()) for row in ROWS]
    if variant.outcome == REFUSED:
        found, refusal = refused(path, limited, aside)
        assert path.name in refusal or aside.files_unusable == 1 or not (found or aside.count)
        return
    found = take(path, limited, aside)
    if variant.outcome == READ:
        assert found == wanted
        assert not aside.kept
    else:
        assert set(map(str, found)) <= set(map(str, wanted))
        assert len(found) == len(wanted) - variant.lost
        assert aside.count == 1
        assert aside.read == len(found) + 1
        assert str(path) in str(aside.kept[0].place)
        assert aside.kept[0].reason
