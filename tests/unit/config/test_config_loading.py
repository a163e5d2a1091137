"""Settings: which layer wins, and what a wrong one is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from rerankops.config import Settings, load
from rerankops.config.loading import config_folder
from rerankops.errors import SettingsError

CONFIGS = sorted(config_folder().glob("*.yaml"))


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def leaves(tree: dict[str, Any], whole: set[str], above: str = "") -> set[str]:
    """Dotted names of every setting; a list is one setting, and so is a mapping that is in `whole`."""
    found: set[str] = set()
    for key, value in tree.items():
        below = isinstance(value, dict) and above + key not in whole
        found |= leaves(value, whole, f"{above}{key}.") if below else {above + key}
    return found


def fields(model: type[BaseModel], above: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        below = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= fields(kind, f"{above}{name}.") if below else {above + name}
    return found


def one_line(error: pytest.ExceptionInfo[SettingsError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# -- the files that are shipped


def test_every_key_of_base_yaml_is_in_the_model_and_the_other_way_round() -> None:
    base = yaml.safe_load((config_folder() / "base.yaml").read_text(encoding="utf-8"))
    assert leaves(base, fields(Settings)) == fields(Settings)


def test_the_model_holds_no_defaults_of_its_own() -> None:
    def required(model: type[BaseModel]) -> bool:
        return all(
            field.is_required() and (not hasattr(field.annotation, "model_fields") or required(field.annotation))
            for field in model.model_fields.values()
        )

    assert required(Settings)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_shipped_file_loads_by_path_and_by_name(file: Path) -> None:
    assert load(file, environ={}) == load(file.stem, environ={}) == load(environ={"RERANKOPS_CONFIG": file.stem})


def test_settings_cannot_be_changed() -> None:
    settings = load(environ={})
    with pytest.raises(ValidationError, match="frozen"):
        settings.retrieval.bm25_k = 3


# -- which layer wins


def test_overlay_beats_base_environment_beats_overlay_and_parameters_beat_all(overlay: Path) -> None:
    overlay.write_text("retrieval: {bm25_k: 2, dense_k: 2, rrf_k: 2}\n")
    environ = {"RERANKOPS__RETRIEVAL__DENSE_K": "3", "RERANKOPS__RETRIEVAL__RRF_K": "3"}
    settings = load(overlay, environ=environ, overrides={"retrieval": {"rrf_k": 4}}).retrieval
    base = load(environ={}).retrieval
    assert (settings.bm25_k, settings.dense_k, settings.rrf_k) == (2, 3, 4)
    assert settings.hnsw_m == base.hnsw_m
    assert (base.bm25_k, base.dense_k, base.rrf_k) == (15, 15, 60)


def test_a_named_overlay_beats_the_one_of_the_environment(overlay: Path) -> None:
    overlay.write_text("retrieval: {bm25_k: 2}\n")
    environ = {"RERANKOPS_CONFIG": "production"}
    assert load(environ=environ).encoder.model == "moka-ai/m3e-base"
    assert load(overlay, environ=environ).encoder.model is None


def test_the_environment_of_the_process_counts_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKOPS__TRAINING__EPOCHS", "7")
    assert load().training.epochs == 7
    assert load(environ={}).training.epochs == 3


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("TRAINING__LEARNING_RATE", "1e-5", 1e-5),
        ("TRAINING__DEVICE", "cuda", "cuda"),
        ("TRAINING__DEVICE", "null", None),
        ("TRAINING__DEVICE", "", None),
        ("SCORING__SIGNALS", "[bm25, cross_encoder]", ("bm25", "cross_encoder")),
        ("ANNOTATION__POSITIVE_SHARE", "[0.1, 0.5]", (0.1, 0.5)),
        ("ENCODER__QUERY_PROMPT", '"query: "', "query: "),
    ],
)
def test_a_variable_holds_a_yaml_value(name: str, text: str, value: object) -> None:
    section, key = name.lower().split("__")
    assert getattr(getattr(load(environ={f"RERANKOPS__{name}": text}), section), key) == value


def test_loading_leaves_the_environment_and_the_folder_alone(tmp_path: Path) -> None:
    code = "import rerankops.config as c, sys; c.load(); print([m for m in ('torch', 'pandas') if m in sys.modules])"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RERANKOPS")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
    assert list(tmp_path.iterdir()) == []


# -- what a wrong one is told


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("retrievel: {bm25_k: 2}", "retrievel"),
        ("retrieval: {bm25: 2}", "retrieval.bm25"),
        ("queries: {strata: [{name: a, share: 1, patterns: [], colour: red}]}", "queries.strata.0.colour"),
        ("defaults: 3", "defaults"),
    ],
)
def test_an_unknown_key_of_an_overlay_is_named_with_its_file(overlay: Path, text: str, key: str) -> None:
    overlay.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(overlay, environ={})
    assert f"unknown setting {key!r} ({overlay}); see configs/base.yaml" in one_line(error)


@pytest.mark.parametrize(
    ("name", "key"),
    [("RERANKOPS__RETREIVAL__BM25_K", "retreival"), ("RERANKOPS__RETRIEVAL__BM25", "retrieval.bm25")],
)
def test_an_unknown_variable_is_named(name: str, key: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(environ={name: "2", "RERANKOPS__RETRIEVAL__BM25_K": "3"})
    assert f"unknown setting {key!r} (environment variable {name})" in one_line(error)


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting 'training.epoch' \(parameters\)"):
        load(environ={}, overrides={"training": {"epoch": 1}})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("retrieval: {bm25_k: 0}", "setting 'retrieval.bm25_k' is 0 ({file}): Input should be greater than or equal"),
        ("retrieval: {bm25_k: 1.5}", "setting 'retrieval.bm25_k' is 1.5 ({file}): Input should be a valid integer"),
        ("retrieval: {bm25_k: many}", "setting 'retrieval.bm25_k' is 'many' ({file})"),
        ("retrieval: {bm25_k: null}", "setting 'retrieval.bm25_k' is None ({file})"),
        ("retrieval: {bm25_b: 1.1}", "setting 'retrieval.bm25_b' is 1.1 ({file}): Input should be less than or equal"),
        ("retrieval: {bm25_k1: -1}", "setting 'retrieval.bm25_k1' is -1 ({file})"),
        ("retrieval: {backend: solr}", "setting 'retrieval.backend' is 'solr' ({file}): Input should be 'embedded"),
        ("training: {learning_rate: 0}", "setting 'training.learning_rate' is 0 ({file}): Input should be greater"),
        ("training: {learning_rate: .nan}", "setting 'training.learning_rate' is nan ({file})"),
        ("training: {dev_share: 1.0}", "setting 'training.dev_share' is 1.0 ({file}): Input should be less than 1"),
        ("promotion: {max_latency_ms: 0}", "setting 'promotion.max_latency_ms' is 0 ({file})"),
        ("scoring: {signals: [bm25, tfidf]}", "setting 'scoring.signals.1' is 'tfidf' ({file})"),
        ("scoring: {signals: [bm25, bm25]}", "scoring.signals must name at least one signal, each once; it is ['bm25"),
        ("scoring: {signals: []}", "scoring.signals must name at least one signal"),
        ("queries: {strata: []}", "the shares of queries.strata sum to 0, they must sum to 1"),
        ("queries: {strata: [{name: a, share: 0.5, patterns: []}]}", "sum to 0.5, they must sum to 1"),
        (
            "queries: {strata: [{name: a, share: 0.5, patterns: []}, {name: a, share: 0.5, patterns: []}]}",
            "queries.strata must have distinct names; they are ['a', 'a']",
        ),
        ("queries: {strata: [{name: a, share: 1}]}", "setting 'queries.strata.0.patterns' is missing"),
        ("queries: {min_characters: 300}", "queries.min_characters is 300, above max_characters 200"),
        ("annotation: {positive_share: [0.9, 0.1]}", "annotation.positive_share must be [lowest, highest]; it is [0.9"),
        ("annotation: {positive_share: [0.9]}", "setting 'annotation.positive_share"),
        ("training: 3", "training is a section with settings under it, found 3 ({file})"),
        ("training:", "training is a section with settings under it, found None ({file})"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_its_file(overlay: Path, text: str, said: str) -> None:
    overlay.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(overlay, environ={})
    assert said.format(file=overlay) in one_line(error)


def test_a_value_is_traced_to_the_last_layer_that_set_it(overlay: Path) -> None:
    overlay.write_text("retrieval: {bm25_k: 0, dense_k: 0}")
    environ = {"RERANKOPS__RETRIEVAL__DENSE_K": "-1"}
    with pytest.raises(SettingsError) as error:
        load(overlay, environ=environ, overrides={"retrieval": {"rrf_k": -2}})
    said = one_line(error)
    assert f"'retrieval.bm25_k' is 0 ({overlay})" in said
    assert "'retrieval.dense_k' is -1 (environment variable RERANKOPS__RETRIEVAL__DENSE_K)" in said
    assert "'retrieval.rrf_k' is -2 (parameters)" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"retrieval: {bm25_k: 2", "is not valid YAML"),
        (b"retrieval:\n\tbm25_k: 2", "is not valid YAML"),
        ("encoder: {query_prompt: 怎么开}".encode("gbk"), "is not valid YAML"),
        (b"retrieval: !!python/object/apply:os.system ['true']", "is not valid YAML"),
        (b"- retrieval", "must hold sections, found list"),
        (b"", "must hold sections, found NoneType"),
        (b"2", "must hold sections, found int"),
    ],
)
def test_a_file_that_is_no_settings_file_is_named(overlay: Path, text: bytes, said: str) -> None:
    overlay.write_bytes(text)
    with pytest.raises(SettingsError) as error:
        load(overlay, environ={})
    assert f"settings file {overlay} {said}" in one_line(error)


def test_an_overlay_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"settings file .*/absent\.yaml cannot be read: No such file"):
        load(tmp_path / "absent.yaml", environ={})
    with pytest.raises(SettingsError, match=r"no settings overlay 'staging'; give a YAML file or one of \['demo', "):
        load(environ={"RERANKOPS_CONFIG": "staging"})


def test_a_folder_is_no_overlay(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load(tmp_path / "x.yaml", environ={})


@pytest.mark.parametrize("text", ["[1", "{a: ", "!!python/object/apply:os.system ['true']"])
def test_a_variable_that_is_no_yaml_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match="environment variable RERANKOPS__TRAINING__EPOCHS is not a YAML value"):
        load(environ={"RERANKOPS__TRAINING__EPOCHS": text})


def test_a_variable_for_a_whole_section_is_named() -> None:
    environ = {"RERANKOPS__WORKSPACE": "x", "RERANKOPS__WORKSPACE__ROOT": "y"}
    with pytest.raises(SettingsError, match=r"workspace is a section .* \(environment variable RERANKOPS__WORKSPACE\)"):
        load(environ=environ)
