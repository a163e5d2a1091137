"""Signals of candidates against the same numbers computed by plain loops."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rerankops.errors import InputError
from rerankops.records import Candidate, Signal
from rerankops.retrieval.encoder import EncodedTexts
from rerankops.scoring.signals import signals

QUERIES, PASSAGES = ["q0", "q1", "q2"], [f"p{i}" for i in range(12)]


def encoded(count: int, seed: int, *, longest: int = 9, empty: int | None = None) -> EncodedTexts:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest, count)
    if empty is not None:
        lengths[empty] = 0
    tokens = random.normal(size=(lengths.sum(), 5))
    vectors = random.normal(size=(count, 7))
    return EncodedTexts(
        (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float16),
        np.r_[0, np.cumsum(lengths)].astype(np.int64),
    )


@pytest.fixture
def queries() -> EncodedTexts:
    return encoded(len(QUERIES), 1)


@pytest.fixture
def passages() -> EncodedTexts:
    return encoded(len(PASSAGES), 2, empty=4)


@pytest.fixture
def candidates() -> pa.Table:
    """Interleaved queries, in no order; every third row was not returned by BM25, and none of q2's."""
    rows = []
    for i, passage in enumerate(PASSAGES):
        for query in QUERIES:
            bm25 = None if i % 3 == 0 or query == "q2" else 20.0 - i
            rows.append(
                {
                    "query_id": query,
                    "passage_id": passage,
                    "rank": i + 1,
                    "fused_score": 1 / (60 + i),
                    "bm25_rank": None if bm25 is None else i + 1,
                    "bm25_score": bm25,
                    "dense_rank": None,
                    "dense_score": None,
                }
            )
    return Candidate.table(rows)


def of(candidates: pa.Table, queries: EncodedTexts, passages: EncodedTexts, **more: object) -> pa.Table:
    return signals(candidates, query_ids=QUERIES, queries=queries, passage_ids=PASSAGES, passages=passages, **more)  # type: ignore[arg-type]


def test_cosine_and_maxsim_equal_those_of_plain_loops(candidates, queries, passages):
    for row in of(candidates, queries, passages).to_pylist():
        q, p = QUERIES.index(row["query_id"]), PASSAGES.index(row["passage_id"])
        cosine = sum(float(a) * float(b) for a, b in zip(queries.vectors[q], passages.vectors[p], strict=True))
        words = passages.tokens_of(p).astype(np.float32)
        best = [max((float(token @ word) for word in words), default=0.0) for token in np.float32(queries.tokens_of(q))]
        assert row["cosine"] == pytest.approx(cosine, abs=1e-5)
        assert row["maxsim"] == pytest.approx(float(np.mean(best)), abs=1e-5)


def test_bm25_is_standardised_within_the_query_and_what_it_did_not_return_has_the_lowest(candidates, queries, passages):
    rows = of(candidates, queries, passages).to_pylist()
    raw = {(row["query_id"], row["passage_id"]): row["bm25_score"] for row in candidates.to_pylist()}
    for query in ("q0", "q1"):
        mine = [row for row in rows if row["query_id"] == query]
        lowest = min(score for (of_query, _), score in raw.items() if of_query == query and score is not None)
        scores = np.array([lowest if (s := raw[query, row["passage_id"]]) is None else s for row in mine])
        assert [row["bm25"] for row in mine] == pytest.approx((scores - scores.mean()) / scores.std())


def test_the_scale_of_a_query_s_bm25_scores_does_not_matter(candidates, queries, passages):
    scaled = candidates.set_column(
        candidates.schema.get_field_index("bm25_score"), candidates.schema.field("bm25_score"),
        pc.multiply(candidates["bm25_score"], 7.0),
    )  # fmt: skip
    one, other = (of(table, queries, passages)["bm25"].to_pylist() for table in (candidates, scaled))
    assert one == pytest.approx(other)


def test_a_query_for_which_bm25_returned_nothing_has_zero(candidates, queries, passages):
    rows = of(candidates, queries, passages).to_pylist()
    assert {row["bm25"] for row in rows if row["query_id"] == "q2"} == {0.0}


def test_rows_keep_the_candidates_order_and_the_cross_encoder_is_null_without_logits(candidates, queries, passages):
    table = of(candidates, queries, passages)
    assert table.schema == Signal.schema
    assert table["passage_id"].to_pylist() == candidates["passage_id"].to_pylist()
    assert table["cross_encoder"].null_count == table.num_rows
    logits = np.arange(candidates.num_rows, dtype=np.float32)
    assert of(candidates, queries, passages, cross_encoder_logits=logits)["cross_encoder"].to_pylist() == list(logits)


def test_a_candidate_without_vectors_is_named(candidates, queries, passages):
    with pytest.raises(InputError, match="passage p11 is a candidate without vectors"):
        signals(candidates, query_ids=QUERIES, queries=queries, passage_ids=PASSAGES[:-1], passages=passages)


def test_logits_must_be_one_a_candidate(candidates, queries, passages):
    with pytest.raises(InputError, match="3 cross-encoder logits for 36 candidates"):
        of(candidates, queries, passages, cross_encoder_logits=np.zeros(3, dtype=np.float32))


def test_no_candidates_have_no_signals(queries, passages):
    assert of(Candidate.empty(), queries, passages).num_rows == 0
