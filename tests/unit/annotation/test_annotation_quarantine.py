"""A quarantined delivery is kept whole, with reasons that people and programs can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerankops.annotation import Finding, Validation, quarantine, read

CONTENT = b'{"batch_id": "batch-1", "grade": "<b>9</b>"}\nrubbish\xff\n'


@pytest.fixture
def refused() -> Validation:
    return Validation(
        outcome="quarantine",
        annotations=None,
        findings=(
            Finding("expect_x", "critical", "grade", "1 of 1 lines", "batch-1.jsonl: line 1 has grade '<b>9</b>'; fix"),
            Finding("expect_y", "warning", "controls", "0", "batch-1.jsonl: no control task"),
        ),
        data_docs=Path("docs/index.html"),
        metrics={"completeness": 0.5},
    )


def test_bytes_and_reasons_are_written(refused, now, tmp_path):
    delivery = read(CONTENT, source="batch-1.jsonl")
    document = quarantine.write(tmp_path / "q", delivery, refused, when=now)
    assert (tmp_path / "q" / "raw.jsonl").read_bytes() == CONTENT
    assert json.loads((tmp_path / "q" / "reasons.json").read_text()) == document
    assert document["reasons"] == ["batch-1.jsonl: line 1 has grade '<b>9</b>'; fix"]
    assert document["sha256"] == delivery.sha256
    assert document["quarantined_at"] == "2026-05-01T00:00:00+00:00"
    assert document == quarantine.dossier(delivery, refused, when=now)
    text = (tmp_path / "q" / "reasons.md").read_text()
    assert text.index("## Reasons") < text.index("line 1 has grade") < text.index("## Also noticed")
    assert "completeness: 0.5" in text
    assert "<b>" not in text


def test_writing_twice_changes_nothing(refused, now, tmp_path):
    delivery = read(CONTENT, source="batch-1.jsonl")
    contents = []
    for _ in range(2):
        quarantine.write(tmp_path, delivery, refused, when=now)
        contents.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"raw.jsonl", "reasons.md", "reasons.json"}
