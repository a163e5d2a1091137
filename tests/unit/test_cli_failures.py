"""What a user reads when a library gives up: what it means, in one line, and where the trace is."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors import safe_open

from rerankops.cli.failures import ACT, explain


def nested() -> None:
    json.loads("[" * 100_000)


def broken_table() -> None:
    pq.read_table(Path("broken"))


def broken_frame() -> None:
    pl.read_parquet("broken")


def broken_weights() -> None:
    safe_open("broken", framework="numpy").__enter__()


def broken_text() -> None:
    Path("broken").read_text(encoding="utf-8")


def broken_archive() -> None:
    gzip.decompress(b"\x1f\x8b\x08\x00" + b"\xff" * 20)


def nobody_answers() -> None:
    httpx.get("http://127.0.0.1:1", trust_env=False)


def no_yaml() -> None:
    yaml.safe_load("a: [")


MEANINGS = {
    nested: "nested too deeply",
    broken_table: "a table cannot be read",
    broken_frame: "a table cannot be read",
    broken_weights: "the weights of a model cannot be read",
    broken_text: "not in the encoding",
    nobody_answers: "a server did not answer",
    no_yaml: "not valid YAML",
    broken_archive: "a compressed file is damaged",
}


@pytest.mark.parametrize("give_up", MEANINGS, ids=lambda give_up: give_up.__name__)
def test_an_error_of_a_library_is_one_line_of_meaning(
    give_up: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Path("broken").write_bytes(b"\xff\xfe\x00\x00broken" * 10)
    with pytest.raises(Exception) as raised:
        give_up()
    told = explain(raised.value)
    assert told.words.startswith(("something that was", "a ", "the "))
    assert MEANINGS[give_up] in told.words
    assert (told.status, "\n" in told.words) == (ACT, False)
    (trace,) = tmp_path.glob("rerankops/traces/*.log")
    assert f"trace is in {trace}" in told.words


def test_old_traces_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    traces = tmp_path / "rerankops" / "traces"
    traces.mkdir(parents=True)
    for day in range(10, 40):
        (traces / f"202601{day}-000000-1.log").write_text("old")
    explain(KeyError("k"))
    assert len(list(traces.iterdir())) == 20


def test_a_place_that_cannot_be_written_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    assert explain(KeyError("k")).words == "a defect of rerankops, please report it: KeyError: 'k'"
