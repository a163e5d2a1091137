"""What is nan or infinite is an error that names the pair, wherever the number comes into being."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

from rerankops import config
from rerankops.errors import NotFinite
from rerankops.records import Candidate, Signal
from rerankops.retrieval.encoder import EncodedTexts, Encoder
from rerankops.scoring import finite
from rerankops.scoring.blend import fit, single
from rerankops.scoring.cross_encoder import CrossEncoderScorer
from rerankops.scoring.ranker import FILE, Ranker
from rerankops.scoring.signals import signals

WORDS = ["fine", "broken", "text"]


def made(folder: Path, kind: type) -> str:
    """A tiny model."""
    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        num_labels=1,
    )
    kind(config).save_pretrained(folder)
    return str(folder)


def spoil(model: BertModel) -> None:
    """Its embedding of `broken` becomes no number, as half precision may make it; a file with such a one is not loaded
    at all (see retrieval.strict)."""
    with torch.no_grad():
        model.get_input_embeddings().weight[5 + WORDS.index("broken")] = float("nan")


def test_a_logit_names_model_query_and_passage(tmp_path: Path) -> None:
    model = made(tmp_path, BertForSequenceClassification)
    scorer = CrossEncoderScorer(model, max_length=16, batch_size=2, device="cpu")
    spoil(scorer.model[0].model)
    assert np.isfinite(scorer.logits([("fine", "text")])).all()
    with pytest.raises(NotFinite, match=r"nan for query 'fine' and passage 'broken text' \(1 of 3 pairs\)") as raised:
        scorer.logits([("fine", "text"), ("fine", "broken text"), ("text", "text")])
    assert model in str(raised.value)
    assert "training.device: cpu" in str(raised.value)


def test_a_vector_names_encoder_and_text(tmp_path: Path) -> None:
    settings = config.load(environ={}, overrides={"encoder": {"model": made(tmp_path, BertModel), "device": "cpu"}})
    encoder = Encoder(settings.encoder)
    spoil(encoder.model[0].model)
    assert np.isfinite(encoder.encode_queries(["fine text"]).vectors).all()
    with pytest.raises(NotFinite, match="no number for the text 'broken text'"):
        encoder.encode_passages(["", ""], ["fine", "broken text"])


def encoded(vector: list[float]) -> EncodedTexts:
    return EncodedTexts(
        np.array([[1.0, 0.0], vector], dtype=np.float32),
        np.array([[1.0, 0.0], vector], dtype=np.float16),
        np.array([0, 1, 2]),
    )


@pytest.mark.parametrize(
    ("vector", "bm25", "name"),
    [([float("nan"), 0.0], 1.0, "cosine"), ([1.0, 0.0], float("nan"), "bm25"), ([1.0, 0.0], float("inf"), "bm25")],
)
def test_a_signal_names_itself_and_the_pair(vector: list[float], bm25: float, name: str) -> None:
    candidates = Candidate.table(
        {"query_id": "q1", "passage_id": f"p{rank}", "rank": rank, "fused_score": 1.0, "bm25_rank": rank,
         "bm25_score": bm25 if rank == 2 else 2.0, "dense_rank": None, "dense_score": None}
        for rank in (1, 2)
    )  # fmt: skip
    with pytest.raises(NotFinite, match=rf"signal '{name}' is nan for query 'q1' and passage 'p\d'"):
        signals(
            candidates,
            query_ids=["q0", "q1"],
            queries=encoded([1.0, 0.0]),
            passage_ids=["p1", "p2"],
            passages=encoded(vector),
        )


def table(cosines: list[float]) -> pa.Table:
    return Signal.table(
        {"query_id": "q", "passage_id": f"p{place}", "rank": place + 1, "reciprocal_rank": 0.0, "bm25": 0.0,
         "cosine": cosine, "maxsim": 0.0, "cross_encoder": None}
        for place, cosine in enumerate(cosines)
    )  # fmt: skip


def test_a_blend_neither_scores_nor_is_fitted_on_what_is_no_number() -> None:
    with pytest.raises(NotFinite, match=r"signal 'cosine' is inf for query 'q' and passage 'p1'"):
        single("cosine").score(table([0.5, float("inf")]))
    grades = pa.table({"query_id": ["q", "q"], "passage_id": ["p0", "p1"], "grade": pa.array([3, 0], pa.int8())})
    with pytest.raises(NotFinite, match="signal 'cosine' is nan"):
        fit(table([0.5, float("nan")]), grades, ["cosine"], l2=0.01)
    with pytest.raises(NotFinite, match=r"the label's weight is nan for query 'q' and passage 'p0'"):
        fit(table([0.5, 0.1]), grades.append_column("weight", pa.array([float("nan"), 1.0])), ["cosine"], l2=0.01)


@pytest.mark.parametrize(("field", "value"), [("weights", "NaN"), ("mean", "Infinity"), ("deviation", "0.0")])
def test_a_stored_blend_with_a_broken_weight_is_not_loaded(tmp_path: Path, field: str, value: str) -> None:
    Ranker(single("cosine")).save(tmp_path)
    about = json.loads((tmp_path / FILE).read_text())
    about["blend"][field] = [json.loads(value)]
    (tmp_path / FILE).write_text(json.dumps(about))
    with pytest.raises(NotFinite, match="the blend of cosine has a weight that is no number, that of cosine"):
        Ranker.load(tmp_path)


def test_the_system_is_named_where_it_is_known() -> None:
    with pytest.raises(NotFinite, match=r"^challenger: the logit is inf for query 'q'"), finite.of("challenger"):
        finite.refuse([1.0, np.inf], "the logit", ["a", "q"], ["b", "p"], "train again")
