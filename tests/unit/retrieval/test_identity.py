"""Which encoder it was is told by its files where they are known, else by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rerankops import config
from rerankops.config import EncoderSettings
from rerankops.retrieval import identity


def model(folder: Path, weights: str = "one") -> Path:
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "model.safetensors").write_text(weights)
    return folder


def settings(name: Path | str, **changed: Any) -> EncoderSettings:
    return config.load(environ={}, overrides={"encoder": {"model": str(name), **changed}}).encoder


def test_weights_and_configuration_count_and_what_is_not_read_does_not(tmp_path: Path) -> None:
    folder = model(tmp_path / "a")
    first = identity.fingerprint(str(folder))
    assert first == identity.fingerprint(str(model(tmp_path / "b")))
    (folder / "README.md").write_text("another text")
    assert identity.fingerprint(str(folder)) == first
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    assert identity.fingerprint(str(folder)) != first
    assert identity.fingerprint(str(model(tmp_path / "c", "two"))) != first


def test_a_model_of_a_hub_is_told_by_the_files_that_were_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert identity.fingerprint("maker/encoder") is None
    repository = tmp_path / "hub" / "models--maker--encoder"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    model(repository / "snapshots" / "abc123")
    assert identity.fingerprint("maker/encoder") == identity.fingerprint(str(model(tmp_path / "a")))


def test_an_encoder_is_the_same_by_its_files_or_where_they_are_not_known_by_its_name(tmp_path: Path) -> None:
    here, copy, other = model(tmp_path / "a"), model(tmp_path / "b"), model(tmp_path / "c", "two")
    said = identity.record(settings(here))
    assert identity.same(said, settings(here))
    assert identity.same(said, settings(copy))
    assert not identity.same(said, settings(other))
    assert not identity.same(said, settings(here, query_prompt="query: "))
    assert not identity.same(said, settings(here, max_length=7))
    older = settings(here).model_dump(mode="json")
    assert identity.same(older, settings(here, batch_size=3)), "how vectors are computed does not change them"
    assert not identity.same(older, settings(copy)), "nobody can tell"
    assert not identity.same({}, settings(here))
