"""Fusion of two legs against the formulas written out."""

from __future__ import annotations

import random

import polars as pl
import pytest

from rerankops.errors import SchemaMismatch
from rerankops.records import Candidate
from rerankops.retrieval.fusion import LEG, reciprocal_rank_fusion, weighted_fusion


def leg(ranked: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(q, p, rank, 9.0 - rank) for q, ids in ranked.items() for rank, p in enumerate(ids, start=1)]
    return pl.DataFrame(rows, schema=LEG, orient="row")


def naive(bm25: dict[str, list[str]], dense: dict[str, list[str]], k: int, limit: int) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for query in sorted({*bm25, *dense}):
        legs = [{p: r for r, p in enumerate(side.get(query, []), start=1)} for side in (bm25, dense)]
        scored = []
        for passage in {*legs[0], *legs[1]}:
            ranks = [ranks.get(passage) for ranks in legs]
            shares = [1 / (k + rank) if rank else 0.0 for rank in ranks]
            scored.append((-(shares[0] + shares[1]), min(rank for rank in ranks if rank), passage, *ranks))
        for rank, (score, _, passage, *ranks) in enumerate(sorted(scored)[:limit], start=1):
            found.append((query, passage, rank, -score, *ranks))
    return found


@pytest.mark.parametrize("k", [1, 60])
@pytest.mark.parametrize("limit", [1, 4, 30])
def test_fusion_is_the_formula(k: int, limit: int) -> None:
    rng = random.Random(k * limit)
    for _ in range(30):
        sides = [
            {q: rng.sample("abcdefghij", rng.randint(1, 8)) for q in ("q1", "q2", "q3") if rng.random() < 0.8}
            for _ in range(2)
        ]
        fused = reciprocal_rank_fusion(leg(sides[0]), leg(sides[1]), k=k, limit=limit)
        columns = ["query_id", "passage_id", "rank", "fused_score", "bm25_rank", "dense_rank"]
        rows = [tuple(row.values()) for row in fused.select(columns).to_pylist()]
        expected = naive(*sides, k, limit)
        assert [row[:3] + row[4:] for row in rows] == [row[:3] + row[4:] for row in expected]
        assert [row[3] for row in rows] == pytest.approx([row[3] for row in expected])


def test_ties_go_to_the_better_single_rank_and_then_to_the_smaller_id() -> None:
    fused = reciprocal_rank_fusion(leg({"q": ["b", "a", "x"]}), leg({"q": ["a", "b", "w"]}), k=60, limit=9)
    assert fused["passage_id"].to_pylist() == ["a", "b", "w", "x"]
    # 1/(0+2) + 1/(0+2) of both legs equals 1/(0+1) of one: the single first place wins
    fused = reciprocal_rank_fusion(leg({"q": ["z", "a"]}), leg({"q": ["y", "a"]}), k=0, limit=9)
    assert fused["passage_id"].to_pylist() == ["y", "z", "a"]


def test_what_a_leg_did_not_return_is_null_and_scores_are_kept() -> None:
    fused = reciprocal_rank_fusion(leg({"q": ["a", "b"]}), leg({"q": ["b"]}), k=60, limit=9).to_pylist()
    assert fused[0] == {
        "query_id": "q",
        "passage_id": "b",
        "rank": 1,
        "fused_score": pytest.approx(1 / 62 + 1 / 61),
        "bm25_rank": 2,
        "bm25_score": 7.0,
        "dense_rank": 1,
        "dense_score": 8.0,
    }
    assert (fused[1]["dense_rank"], fused[1]["dense_score"]) == (None, None)


def test_an_empty_leg_leaves_the_order_of_the_other() -> None:
    nothing = pl.DataFrame(schema=LEG)
    assert reciprocal_rank_fusion(nothing, nothing, k=60, limit=9).schema.equals(Candidate.schema)
    for sides in ((leg({"q": ["b", "a"]}), nothing), (nothing, leg({"q": ["b", "a"]}))):
        assert reciprocal_rank_fusion(*sides, k=60, limit=9)["passage_id"].to_pylist() == ["b", "a"]


def test_the_order_of_rows_does_not_matter() -> None:
    bm25, dense = leg({"q1": list("abc"), "q2": list("ca")}), leg({"q1": list("dca"), "q3": list("b")})
    expected = reciprocal_rank_fusion(bm25, dense, k=60, limit=9)
    for seed in range(5):
        shuffled = [side.sample(fraction=1, shuffle=True, seed=seed) for side in (bm25, dense)]
        assert reciprocal_rank_fusion(*shuffled, k=60, limit=9).equals(expected)


def test_a_leg_that_returns_a_passage_twice_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="repeated key"):
        reciprocal_rank_fusion(leg({"q": ["a", "a"]}), leg({"q": ["a"]}), k=60, limit=9)


def test_weighted_fusion_is_a_share_of_each_scaled_score() -> None:
    bm25 = pl.DataFrame([("q", "a", 1, 8.0), ("q", "b", 2, 6.0), ("r", "a", 1, 0.5)], schema=LEG, orient="row")
    dense = pl.DataFrame([("q", "b", 1, 0.6), ("q", "c", 2, -0.2), ("s", "a", 1, -1.0)], schema=LEG, orient="row")
    fused = weighted_fusion(bm25, dense, bm25_weight=0.25, limit=9)
    assert fused.schema.equals(Candidate.schema)
    assert fused.select(["query_id", "passage_id", "rank"]).to_pylist() == [
        {"query_id": query, "passage_id": passage, "rank": rank}
        for query, passage, rank in [("q", "b", 1), ("q", "c", 2), ("q", "a", 3), ("r", "a", 1), ("s", "a", 1)]
    ]
    expected = [0.25 * 6 / 8 + 0.75, 0.75 * 0.8 / 1.6, 0.25, 0.25, 0.0]
    assert fused["fused_score"].to_pylist() == pytest.approx(expected)
    assert weighted_fusion(bm25, dense, bm25_weight=1.0, limit=1)["passage_id"].to_pylist() == ["a", "a", "a"]
