"""docs/security.md says nothing without a test that would fail when it were no longer so."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_every_test_that_it_names_is_there() -> None:
    named = REFERENCE.findall(PAGE)
    assert named
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in source(PROJECT / "tests" / file)] == []


def source(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def test_every_line_of_its_tables_names_one() -> None:
    header = False
    for line in PAGE.splitlines():
        if line.startswith("|") and "| test |" in line:
            header = True
        elif not line.startswith("|"):
            header = False
        elif header and not set(line) <= set("|- ") and "see the next table" not in line:
            assert REFERENCE.search(line), line
