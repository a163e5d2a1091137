"""Files for people: replaced whole, and never what is no file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rerankops.files import as_json_lines, write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    write_whole(path, "old\r\n")
    assert path.read_bytes() == b"old\r\n"
    with path.open() as reader:
        write_whole(path, as_json_lines([{"问": "机油"}, {"a": 1}]))
        assert reader.read() == "old\n"  # whoever reads sees the old one to its end
    assert path.read_text(encoding="utf-8") == '{"问": "机油"}\n{"a": 1}\n'
    assert [file.name for file in tmp_path.iterdir()] == ["gold.jsonl"]


def test_two_that_write_a_file_at_once_do_not_take_each_other_s_half_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "gold.jsonl", Path.replace

    def after_another(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        write_whole(path, "another")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", after_another)
    write_whole(path, "one")
    assert path.read_text() == "one"
    assert [file.name for file in tmp_path.iterdir()] == ["gold.jsonl"]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "ladder")
    reader.join(60)
    assert seen == ["ladder"]
    assert pipe.is_fifo()
