"""Logits of real, tiny models: order restored, queries whole, safetensors that load where they should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

from rerankops.errors import ModelUnavailable, SettingsError
from rerankops.scoring import cross_encoder
from rerankops.scoring.cross_encoder import CrossEncoderScorer
from rerankops.scoring.maxsim import SCALE

WORDS = [f"w{i}" for i in range(60)]
PAIRS = [(f"w{i} w{i + 1}", " ".join(WORDS[i : i + 1 + (7 * i) % 23])) for i in range(30)]


def made(folder: Path, kind: type) -> str:
    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=65,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=1,
    )
    kind(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("encoder"), BertModel)


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("reranker"), BertForSequenceClassification)


def test_logits_are_those_of_the_library_in_the_order_given(reranker):
    scorer = CrossEncoderScorer(reranker, max_length=40, batch_size=7, device="cpu")
    theirs = CrossEncoder(reranker, max_length=40, device="cpu").predict(PAIRS, activation_fn=torch.nn.Identity())
    ours = scorer.logits(PAIRS)
    assert ours.dtype == np.float32
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert scorer.logits(PAIRS[::-1])[::-1] == pytest.approx(ours, abs=1e-5)
    assert np.array_equal(scorer.logits(PAIRS), ours)
    assert scorer.logits([]).shape == (0,)


def test_the_passage_is_cut_and_the_query_never(reranker):
    model = cross_encoder.load(reranker, max_length=32, device="cpu")
    query, passage = " ".join(WORDS[:12]), " ".join(WORDS)
    ids = cross_encoder.encode(model, [(query, passage)])["input_ids"][0]
    tokens = model.tokenizer.convert_ids_to_tokens(ids)
    assert len(tokens) == 32
    assert tokens[1:13] == WORDS[:12]
    features = model.preprocess([(query, passage)])  # what the trainer and the library's own predict use
    assert features["input_ids"][0].tolist() == ids


def test_a_query_that_would_leave_the_passage_no_room_is_cut_at_its_end(reranker):
    model = cross_encoder.load(reranker, max_length=32, device="cpu")
    tokens = cross_encoder.encode(model, [(" ".join(WORDS), "w59 " * 40)])["input_ids"][0]
    words = model.tokenizer.convert_ids_to_tokens(tokens)
    assert len(words) == 32
    assert words.count("w59") == cross_encoder.RESERVED
    assert words[1:4] == ["w0", "w1", "w2"]


def test_length_is_capped_by_the_model_s_positions(reranker):
    scorer = CrossEncoderScorer(reranker, max_length=512, batch_size=4, device="cpu")
    assert np.isfinite(scorer.logits([("w1", "w2 " * 900)])).all()


def test_a_bare_encoder_with_its_gate_shut_is_late_interaction(encoder):
    assert not cross_encoder.has_ranking_head(encoder)
    model = cross_encoder.load(encoder, max_length=40, device="cpu")
    with torch.no_grad():
        model[0].model.embeddings.position_embeddings.weight.zero_()  # the passage stands further right in the pair
        model[0].head.gate.fill_(-100.0)
    ids = cross_encoder.encode(model, [("w1 w2 w3", "w4 w5 w6 w7")])["input_ids"][0]
    bert = model[0].model
    with torch.no_grad():
        sides = [bert(torch.tensor([side])).last_hidden_state[0] for side in (ids[:5], ids[5:])]
    query, passage = (torch.nn.functional.normalize(side, dim=-1).numpy() for side in sides)
    best = [max(float(query[q] @ passage[p]) for p in range(4)) for q in range(1, 4)]
    found = cross_encoder.logits(model, [("w1 w2 w3", "w4 w5 w6 w7"), ("w1", "w2 " * 20)], batch_size=2)
    assert found[0] == pytest.approx(SCALE * np.mean(best), abs=1e-4)


def test_an_open_gate_lets_the_sides_read_each_other(encoder):
    model = cross_encoder.load(encoder, max_length=40, device="cpu")
    shut = cross_encoder.logits(model, PAIRS, batch_size=8)
    with torch.no_grad():
        model[0].head.gate.fill_(0.0)
    assert np.abs(cross_encoder.logits(model, PAIRS, batch_size=8) - shut).max() > 1e-3


def test_an_empty_query_or_passage_has_a_finite_score(encoder):
    model = cross_encoder.load(encoder, max_length=40, device="cpu")
    assert np.isfinite(cross_encoder.logits(model, [("", "w1"), ("w1", ""), ("", "")], batch_size=4)).all()


def test_the_head_survives_saving_and_loads_through_the_library(encoder, tmp_path):
    model = cross_encoder.load(encoder, max_length=40, device="cpu")
    with torch.no_grad():
        model[0].head.scale.fill_(5.0)
        model[0].head.gate.fill_(-0.01)
        model[0].head.linear.weight.normal_()
    expected = cross_encoder.logits(model, PAIRS, batch_size=8)
    model.save_pretrained(str(tmp_path), create_model_card=False)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    assert [m["type"] for m in json.loads((tmp_path / "modules.json").read_text())] == [cross_encoder.MAXSIM]
    assert CrossEncoderScorer(tmp_path, max_length=40, batch_size=8, device="cpu").logits(PAIRS) == pytest.approx(
        expected, abs=1e-5
    )
    theirs = CrossEncoder(str(tmp_path), trust_remote_code=True, device="cpu")
    assert theirs.predict(PAIRS, activation_fn=torch.nn.Identity()) == pytest.approx(expected, abs=1e-5)


def test_a_folder_that_names_another_foreign_module_is_not_loaded(encoder, tmp_path):
    cross_encoder.load(encoder, max_length=40, device="cpu").save_pretrained(str(tmp_path), create_model_card=False)
    modules = json.loads((tmp_path / "modules.json").read_text())
    (tmp_path / "modules.json").write_text(json.dumps([modules[0] | {"type": "antigravity.Evil"}]))
    with pytest.raises(ModelUnavailable, match="antigravity"):
        cross_encoder.load(str(tmp_path), max_length=40, device="cpu")


def test_a_bare_encoder_can_have_a_plain_head_on_cls(encoder):
    model = cross_encoder.load(encoder, max_length=40, device="cpu", head="cls")
    assert len(list(model)) == 1
    assert model.num_labels == 1


def test_a_reranker_keeps_its_own_head(reranker):
    assert cross_encoder.has_ranking_head(reranker)
    with pytest.raises(SettingsError, match="has a ranking head of its own"):
        cross_encoder.load(reranker, max_length=40, device="cpu", head="maxsim")


def test_weights_are_never_unpickled(reranker, tmp_path):
    for path in Path(reranker).iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelUnavailable, match=r"no file named model\.safetensors"):
        cross_encoder.load(str(tmp_path), max_length=40, device="cpu")


def test_importing_the_package_loads_no_torch():
    import subprocess
    import sys

    code = (
        "import sys, rerankops.scoring, rerankops.scoring.signals, rerankops.scoring.blend, rerankops.scoring.ranker, "
        "rerankops.scoring.cross_encoder, rerankops.training, rerankops.training.groups, rerankops.training.process; "
        "assert not {'torch', 'transformers', 'sentence_transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
