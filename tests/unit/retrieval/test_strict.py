"""Models are loaded whole or not at all: tensors that are gone, foreign, or no numbers; and what is no damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
)

from rerankops import config
from rerankops.errors import ModelUnavailable, NotFinite, RerankopsError
from rerankops.evaluation.readers import spans
from rerankops.retrieval.encoder import Encoder
from rerankops.scoring import cross_encoder
from rerankops.scoring.cross_encoder import CrossEncoderScorer
from rerankops.scoring.maxsim import WEIGHTS

WORDS = ["trunk", "tyre", "litres"]
Tensors = dict[str, torch.Tensor]


def made(folder: Path, kind: type = BertModel) -> Path:
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    about = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        num_labels=2 if kind is BertForQuestionAnswering else 1,
    )
    kind(about).save_pretrained(folder)
    return folder


def edit(folder: Path, change: Callable[[Tensors], object], name: str = "model.safetensors") -> None:
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / name, {"format": "pt"})


def encode(folder: Path) -> object:
    settings = config.load(environ={}, overrides={"encoder": {"model": str(folder), "device": "cpu"}})
    return Encoder(settings.encoder).encode_queries(["trunk litres"])


def score(folder: Path) -> object:
    return CrossEncoderScorer(folder, max_length=32, batch_size=2, device="cpu").logits([("trunk", "litres")])


def names(folder: Path) -> list[str]:
    return sorted(load_file(folder / "model.safetensors"))


def test_each_tensor_that_an_encoder_lacks_is_an_error(tmp_path: Path) -> None:
    folder = made(tmp_path)
    whole = load_file(folder / "model.safetensors")
    assert len(whole) == 23
    for name in whole:
        save_file({key: value for key, value in whole.items() if key != name}, folder / "model.safetensors")
        with pytest.raises(ModelUnavailable, match=rf"encoder\.model: .* lacks 1 of the tensors .*{name}"):
            encode(folder)


def test_each_tensor_that_a_reranker_lacks_is_an_error(tmp_path: Path) -> None:
    folder = made(tmp_path, BertForSequenceClassification)
    whole = load_file(folder / "model.safetensors")
    for name in whole:
        save_file({key: value for key, value in whole.items() if key != name}, folder / "model.safetensors")
        with pytest.raises(ModelUnavailable, match=rf"lacks 1 of the tensors .*{name}"):
            score(folder)


def test_a_tensor_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    folder = made(tmp_path)
    edit(folder, lambda tensors: tensors.update({"encoder.layer.1.output.dense.bias": torch.zeros(16)}))
    with pytest.raises(ModelUnavailable, match=r"has 1 tensors that no model of type bert .*encoder\.layer\.1\.output"):
        encode(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification])
def test_a_tensor_that_holds_no_number_is_an_error(tmp_path: Path, kind: type, value: float) -> None:
    folder = made(tmp_path, kind)
    name = next(name for name in names(folder) if name.endswith("layer.0.output.dense.bias"))
    edit(folder, lambda tensors: tensors[name].__setitem__(3, value))
    with pytest.raises(NotFinite, match=rf"tensor .*{name.removeprefix('bert.')} of .* holds nan or infinite"):
        (encode if kind is BertModel else score)(folder)


def test_a_tensor_of_another_shape_is_an_error(tmp_path: Path) -> None:
    folder = made(tmp_path)
    edit(folder, lambda tensors: tensors.update({"embeddings.LayerNorm.bias": torch.zeros(8)}))
    with pytest.raises(ModelUnavailable, match=r"encoder\.model: the model in folder .* cannot be loaded"):
        encode(folder)


# -- no damage


def test_an_encoder_without_a_pooler_is_whole(tmp_path: Path) -> None:
    folder = made(tmp_path)
    edit(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("pooler.")])
    encode(folder)


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining])
def test_an_encoder_may_bring_the_head_of_its_own_training_along(tmp_path: Path, kind: type) -> None:
    encode(made(tmp_path, kind))


def test_the_checkpoint_of_two_heads_may_say_that_it_has_one(tmp_path: Path) -> None:
    """As the first BERT checkpoints do."""
    folder = made(tmp_path, BertForPreTraining)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**about, "architectures": ["BertForMaskedLM"]}))
    encode(folder)
    cross_encoder.load(str(folder), max_length=32, device="cpu")


def test_positions_that_old_checkpoints_store_are_no_damage(tmp_path: Path) -> None:
    folder = made(tmp_path)
    edit(folder, lambda tensors: tensors.update({"embeddings.position_ids": torch.arange(64)[None]}))
    encode(folder)


def test_a_fresh_head_is_for_training_and_not_for_scoring(tmp_path: Path) -> None:
    folder = made(tmp_path)
    for head in ("auto", "cls", "maxsim"):
        cross_encoder.load(str(folder), max_length=32, device="cpu", head=head)
    with pytest.raises(ModelUnavailable, match="has no ranking head, so it would rank at random; train one on it"):
        score(folder)


@pytest.mark.parametrize("head", ["auto", "cls"])
def test_a_fresh_head_does_not_excuse_what_its_encoder_lacks(tmp_path: Path, head: cross_encoder.Head) -> None:
    folder = made(tmp_path)
    edit(folder, lambda tensors: tensors.pop("encoder.layer.0.output.dense.bias"))
    with pytest.raises(ModelUnavailable, match=r"lacks 1 of the tensors .*encoder\.layer\.0\.output\.dense\.bias"):
        cross_encoder.load(str(folder), max_length=32, device="cpu", head=head)


# -- a late-interaction head


@pytest.fixture
def late(tmp_path: Path) -> Path:
    folder = tmp_path / "late"
    model = cross_encoder.load(str(made(tmp_path / "bare")), max_length=32, device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    score(folder)
    return folder


def test_a_late_interaction_head_is_loaded_whole(late: Path) -> None:
    whole = load_file(late / WEIGHTS)
    for name in whole:
        save_file({key: value for key, value in whole.items() if key != name}, late / WEIGHTS)
        with pytest.raises(ModelUnavailable, match="cannot be loaded"):
            score(late)
    save_file({**whole, "extra": torch.zeros(1)}, late / WEIGHTS)
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        score(late)
    save_file({**whole, "scale": torch.tensor(float("nan"))}, late / WEIGHTS)
    with pytest.raises(NotFinite, match=r"tensor 0\.head\.scale of .* holds nan"):
        score(late)


@pytest.mark.parametrize("name", ["modules.json", WEIGHTS, "config_sentence_transformers.json"])
def test_a_late_interaction_head_never_gives_way_to_a_fresh_one(late: Path, name: str) -> None:
    before = score(late)
    (late / name).unlink()
    try:
        after = score(late)
    except RerankopsError:
        return
    assert after == pytest.approx(before)


# -- files that are broken


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"[" * 100_000, b"\xff" * 64, b'{"a": 1}'])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "modules.json"])
def test_a_broken_file_ends_in_one_line(late: Path, tmp_path: Path, name: str, content: bytes) -> None:
    for folder, use in ((late, score), (tmp_path / "bare", encode)):
        if name == "modules.json" and use is encode:
            continue
        (folder / name).write_bytes(content)
        with pytest.raises(RerankopsError) as caught:
            use(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_reader_of_spans_is_loaded_whole(tmp_path: Path) -> None:
    folder = made(tmp_path, BertForQuestionAnswering)
    overrides = {"reader": {"kind": "model", "model": {"name": str(folder), "device": "cpu"}}}
    settings = config.load(environ={}, overrides=overrides)
    edit(folder, lambda tensors: tensors.pop("qa_outputs.bias"))
    with pytest.raises(ModelUnavailable, match=r"lacks 1 of the tensors .*qa_outputs\.bias"):
        spans.SpanReader(settings.reader)
