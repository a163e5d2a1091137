"""The deployable folder, and the order it gives."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from rerankops.errors import InputError
from rerankops.records import Candidate, Signal
from rerankops.scoring.blend import single
from rerankops.scoring.ranker import FILE, Ranker, rank_by


@pytest.fixture
def signals() -> pa.Table:
    scores = {"b": 0.5, "a": 0.5, "c": 0.9, "d": 0.5}
    ranks = {"b": 2, "a": 2, "c": 4, "d": 1}
    return Signal.table(
        {
            "query_id": query,
            "passage_id": passage,
            "rank": ranks[passage],
            "reciprocal_rank": 0.0,
            "bm25": 0.0,
            "cosine": score,
            "maxsim": 0.0,
            "cross_encoder": None,
        }
        for query in ("q2", "q1")
        for passage, score in scores.items()
    )


def test_the_best_score_is_first_and_ties_go_to_retrieval_then_to_the_passage_id(signals):
    ranked = Ranker(single("cosine")).rank(signals).to_pylist()
    assert [row["passage_id"] for row in ranked if row["query_id"] == "q1"] == ["c", "d", "a", "b"]
    assert [row["rank"] for row in ranked] == [1, 2, 3, 4, 1, 2, 3, 4]


def test_a_saved_ranker_gives_the_same_order(signals, tmp_path):
    ranker = Ranker(single("cosine"), encoder={"model": "m"}, retrieval={"rrf_k": 60})
    ranker.save(tmp_path / "ranker")
    again = Ranker.load(tmp_path / "ranker")
    assert again == ranker
    assert again.rank(signals).equals(ranker.rank(signals))


def test_the_cross_encoder_travels_along_without_pickles(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("model.safetensors", "config.json", "training_args.bin", "modeling_evil.py"):
        (model / name).write_text("{}")
    Ranker(single("cross_encoder"), cross_encoder=model, max_length=128).save(tmp_path / "ranker")
    loaded = Ranker.load(tmp_path / "ranker")
    assert loaded.cross_encoder == tmp_path / "ranker" / "cross_encoder"
    assert {path.name for path in loaded.cross_encoder.iterdir()} == {"model.safetensors", "config.json"}
    assert loaded.max_length == 128


def test_a_blend_with_a_cross_encoder_needs_one():
    with pytest.raises(InputError, match="has no cross-encoder"):
        Ranker(single("cross_encoder"))


def test_an_unneeded_cross_encoder_stays_behind(tmp_path):
    Ranker(single("cosine"), cross_encoder=tmp_path).save(tmp_path / "ranker")
    assert [path.name for path in (tmp_path / "ranker").iterdir()] == [FILE]


def test_a_folder_of_another_format_is_refused(tmp_path):
    Ranker(single("cosine")).save(tmp_path)
    about = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(InputError, match="format 99"):
        Ranker.load(tmp_path)
    with pytest.raises(InputError, match="holds no ranker"):
        Ranker.load(tmp_path / "nowhere")


def test_retrieval_alone_ranks_by_the_fused_order():
    none = {"bm25_rank": None, "bm25_score": None, "dense_rank": None, "dense_score": None}
    candidates = Candidate.table(
        {"query_id": "q", "passage_id": passage, "rank": rank, "fused_score": 1 / rank} | none
        for passage, rank in (("b", 2), ("a", 1))
    )
    assert rank_by(candidates).to_pylist() == [
        {"query_id": "q", "passage_id": "a", "rank": 1, "score": 1.0},
        {"query_id": "q", "passage_id": "b", "rank": 2, "score": 0.5},
    ]
