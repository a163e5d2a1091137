"""Pages of checks are artefacts: the same table and the same rules are the same bytes, whenever they are written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from rerankops.annotation import _great_expectations as great_expectations
from rerankops.annotation._great_expectations import Expectation, Suite

WHEN = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)


def pages(folder: Path, run_time: datetime = WHEN) -> dict[str, bytes]:
    table = pl.DataFrame({"text": ["胎压" * 200, "<b>", None], "grade": [1, 2, 9]})
    rules = [
        Expectation("text", "ExpectColumnValuesToNotBeNull", {"column": "text"}, "there is a text", "critical"),
        Expectation("grade", "ExpectColumnMaxToBeBetween", {"column": "grade", "max_value": 3}, "0 to 3", "warning"),
    ]
    suites = [Suite("delivery.lines", table, rules)]
    great_expectations.run(suites, data_docs=folder, run_name="1a2b", run_time=run_time)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pages_of_the_same_results_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = pages(tmp_path / "first"), pages(tmp_path / "second")
    assert first == second
    assert any(b"there is a text" in page for page in first.values())


def test_folded_parts_can_still_be_told_apart(tmp_path: Path) -> None:
    (page,) = (page for name, page in pages(tmp_path).items() if name.startswith("validations/"))
    text = page.decode()
    for number in range(text.count('data-toggle="collapse"')):
        if f'href="#section-1-content-block-3-collapse-body-{number}"' in text:
            assert f"id=section-1-content-block-3-collapse-body-{number} " in text
    assert 'collapse-body-0"' in text
