"""What every retrieval backend does, whichever holds the index. A backend's test module says how one is made:

    @pytest.fixture(scope="module")
    def make_retriever(...) -> MakeRetriever: ...

    class TestEmbedded(RetrievalContract): ...

and its conftest.py registers this module for pytest's rewriting of asserts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from rerankops.config import RetrievalSettings, load
from rerankops.errors import RerankopsError
from rerankops.records import Candidate, Passage
from rerankops.retrieval.fusion import LEG
from rerankops.retrieval.search import Retriever, Where, candidates, recall_against_exact

MakeRetriever = Callable[[pa.Table, NDArray[np.float32], RetrievalSettings], Retriever]
MANUAL = {
    "tyres": ("胎压", "前轮胎压为2.3bar，后轮胎压为2.5bar。", {"model": "X3", "market": "cn"}),
    "oil": ("机油", "加注机油0W-20，容量4.5L。", {"model": "X3", "market": "eu"}),
    "boot": ("后备箱", "后备箱容积为520L。", {"model": "X5", "market": "cn"}),
    "esp": ("ESP", "长按按键三秒可以关闭ESP。", {"model": "X5"}),
    "seats": ("座椅", "高配版的座椅加热在中控屏打开。", {"trim.level": "高 配"}),
    "tires": ("Tyres", "Check the tyre pressures before long trips.", {}),
}
NAMES = list(MANUAL)


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def numbered(count: int, dimensions: int = 16) -> tuple[pa.Table, NDArray[np.float32]]:
    """Passages p0, p1, … with a word of their own each (word0, word1, …), and a random vector each."""
    rows = ({"passage_id": f"p{n}", "title": "", "text": f"机油 word{n}", "metadata": []} for n in range(count))
    return Passage.table(rows), unit(np.random.default_rng(count).normal(size=(count, dimensions)))


def manual() -> pa.Table:
    return Passage.table(
        {"passage_id": name, "title": title, "text": text, "metadata": list(metadata.items())}
        for name, (title, text, metadata) in MANUAL.items()
    )


VECTORS = unit(np.random.default_rng(0).normal(size=(len(MANUAL), 8)))
SETTINGS = load(environ={}).retrieval


def changed(**changes: object) -> RetrievalSettings:
    return SETTINGS.model_copy(update=changes)


def ids(leg: pl.DataFrame, query: str) -> list[str]:
    return leg.filter(pl.col("query_id") == query)["passage_id"].to_list()


class RetrievalContract:
    @pytest.fixture(scope="class")
    @classmethod
    def retriever(cls, make_retriever: MakeRetriever) -> Retriever:
        return make_retriever(manual(), VECTORS, SETTINGS)

    # -- words ------------------------------------------------------------------------------------------------------

    def test_words_and_numbers_find_their_passage(self, retriever: Retriever) -> None:
        wanted = {
            **{"胎压多少": "tyres", "如何关闭ESP": "esp", "座椅加热怎么开": "seats", "多大后备箱": "boot"},
            **{"tyre pressures": "tires", "0W-20": "oil", "0w-20加注": "oil", "4.5L": "oil", "520L": "boot"},
        }
        found = retriever.bm25([*wanted], [*wanted], k=3)
        assert found.schema == LEG
        assert dict(found.filter(pl.col("rank") == 1).select("query_id", "passage_id").iter_rows()) == wanted

    def test_english_plural_and_singular_meet(self, make_retriever: MakeRetriever) -> None:
        texts = {"a": "Check the tyre pressures.", "b": "Charge the battery.", "c": "The glass of the windows."}
        passages = Passage.table(
            {"passage_id": name, "title": "", "text": text, "metadata": []} for name, text in texts.items()
        )
        english = make_retriever(passages, VECTORS[:3], changed(analyzer="english"))
        wanted = {"tyres": "a", "pressure": "a", "batteries": "b", "window": "c"}
        found = english.bm25([*wanted], [*wanted], k=3)
        assert found.select("query_id", "passage_id").rows() == [*wanted.items()]

    def test_a_passage_without_a_word_of_the_query_is_no_hit(self, retriever: Retriever) -> None:
        found = retriever.bm25(["q1", "q2", "q3", "q4"], ["天窗zzz", "胎压 zzz", "", "？"], k=6)
        assert found.select("query_id", "passage_id", "rank").rows() == [("q2", "tyres", 1)]
        assert retriever.bm25(["q"], ["天窗"], k=6).schema == LEG

    def test_no_queries_have_no_hits(self, retriever: Retriever) -> None:
        legs = retriever.legs([], [], VECTORS[:0], bm25_k=3, dense_k=3)
        assert (legs.bm25.schema, legs.dense.schema) == (LEG, LEG)
        assert (legs.bm25.height, legs.dense.height, dict(legs.failures)) == (0, 0, {})

    def test_the_title_counts_as_often_as_configured(self, make_retriever: MakeRetriever) -> None:
        scores = []
        for weight in (0, 1, 3):
            weighted = make_retriever(manual(), VECTORS, changed(title_weight=weight))
            scores.append(weighted.bm25(["q"], ["座椅"], k=1)["score"].sum())
        assert 0 < scores[0] < scores[1] < scores[2]

    # -- vectors ----------------------------------------------------------------------------------------------------

    def test_the_dense_leg_is_cosine_best_first(self, retriever: Retriever) -> None:
        found = retriever.dense(["a", "b"], VECTORS[[2, 4]], k=6)
        assert found.schema == LEG
        for query, cosines in zip("ab", VECTORS[[2, 4]] @ VECTORS.T, strict=True):
            mine, order = found.filter(pl.col("query_id") == query), np.argsort(-cosines)
            assert mine["passage_id"].to_list() == [NAMES[row] for row in order]
            assert mine["score"].to_list() == pytest.approx(cosines[order], abs=1e-5)
            assert mine["rank"].to_list() == [1, 2, 3, 4, 5, 6]

    @pytest.mark.parametrize("where", [None, {"model": "X3"}])
    def test_vectors_of_another_length_are_refused(self, retriever: Retriever, where: Where | None) -> None:
        with pytest.raises(RerankopsError, match=r"was not built with this encoder.*; refresh the index, or set enc"):
            retriever.dense(["q"], VECTORS[:1, :5], k=3, where=where)

    def test_a_small_index_misses_no_neighbour(self, make_retriever: MakeRetriever) -> None:
        passages, vectors = numbered(130)
        searched = make_retriever(passages, vectors, SETTINGS)
        probes = unit(np.random.default_rng(9).normal(size=(60, 16)))
        assert recall_against_exact(searched, probes, vectors, passages["passage_id"].to_pylist(), k=10) == 1.0

    # -- filters ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("where", "allowed"),
        [
            ({}, NAMES),
            ({"model": "X3"}, ["tyres", "oil"]),
            ({"model": ["X3", "X5", "X7"]}, ["tyres", "oil", "boot", "esp"]),
            ({"model": "X5", "market": ["cn"]}, ["boot"]),
            ({"trim.level": "高 配"}, ["seats"]),
            ({"model": "X"}, []),
            ({"model": []}, []),
            ({"colour": "red"}, []),
            ({"model": "X3", "market": "jp"}, []),
        ],
    )
    def test_only_passages_with_the_metadata_are_found(
        self, retriever: Retriever, where: Where, allowed: list[str]
    ) -> None:
        everything = "胎压 机油 后备箱 ESP 座椅 tyre"
        free, kept = (
            retriever.legs(["q"], [everything], VECTORS[:1], bm25_k=6, dense_k=6, where=only) for only in (None, where)
        )
        for before, after in ((free.bm25, kept.bm25), (free.dense, kept.dense)):
            expected = before.filter(pl.col("passage_id").is_in(allowed))
            assert after["passage_id"].to_list() == expected["passage_id"].to_list()
            assert after["score"].to_list() == pytest.approx(expected["score"].to_list(), abs=1e-5)
            assert set(after["passage_id"]) == set(allowed)

    # -- both legs --------------------------------------------------------------------------------------------------

    def test_more_asked_than_there_is_returns_all(self, retriever: Retriever) -> None:
        legs = retriever.legs(["a"], ["胎压"], VECTORS[:1], bm25_k=500, dense_k=500)
        assert (legs.bm25.height, sorted(legs.dense["passage_id"])) == (1, sorted(NAMES))

    def test_a_corpus_of_one_passage_can_be_searched(self, make_retriever: MakeRetriever) -> None:
        one = Passage.table([{"passage_id": "页/1 ", "title": "", "text": "胎压", "metadata": []}])
        searched = make_retriever(one, VECTORS[:1], SETTINGS)
        assert candidates(searched, ["q"], ["胎压"], VECTORS[:1], SETTINGS)["passage_id"].to_pylist() == ["页/1 "]

    def test_candidates_are_both_legs_counted_once(self, retriever: Retriever) -> None:
        settings = changed(bm25_k=2, dense_k=3)
        found = candidates(retriever, ["q1", "q2"], ["胎压", "天窗"], VECTORS[[0, 3]], settings)
        assert found.schema.equals(Candidate.schema)
        first, second = (found.filter(pa.compute.equal(found["query_id"], q)).to_pylist() for q in ("q1", "q2"))
        assert (first[0]["passage_id"], first[0]["bm25_rank"], first[0]["dense_rank"]) == ("tyres", 1, 1)
        assert first[0]["fused_score"] == pytest.approx(2 / (settings.rrf_k + 1))
        assert len(first) == len(second) == 3
        assert all(row["bm25_rank"] is None for row in second)

    def test_weights_decide_which_leg_orders_the_candidates(self, retriever: Retriever) -> None:
        asked = (["q"], ["机油 胎压 0W-20"], VECTORS[3:4])
        legs = retriever.legs(*asked, bm25_k=6, dense_k=6)
        orders = {
            weight: candidates(retriever, *asked, changed(fusion="weighted", bm25_weight=weight, bm25_k=6, dense_k=6))
            for weight in (0.0, 0.5, 1.0)
        }
        assert orders[0.0]["passage_id"].to_pylist() == ids(legs.dense, "q")
        assert orders[1.0]["passage_id"].to_pylist()[:2] == ids(legs.bm25, "q") == ["oil", "tyres"]
        assert len({tuple(order["passage_id"].to_pylist()) for order in orders.values()}) == 3

    def test_the_order_of_queries_is_kept(self, retriever: Retriever) -> None:
        names = ["z", "a", "m"]
        legs = retriever.legs(names, ["机油", "ESP", "胎压"], VECTORS[[1, 3, 0]], bm25_k=3, dense_k=3)
        for leg in (legs.bm25, legs.dense):
            assert leg["query_id"].unique(maintain_order=True).to_list() == names
            assert leg.filter(pl.col("rank") == 1)["passage_id"].to_list() == ["oil", "esp", "tyres"]

    def test_many_queries_each_have_their_own_answer(self, make_retriever: MakeRetriever) -> None:
        """More than one request's worth, each query as if it were asked alone."""
        passages, vectors = numbered(130)
        searched, names = make_retriever(passages, vectors, SETTINGS), passages["passage_id"].to_pylist()
        legs = searched.legs(names, [f"word{n}" for n in range(130)], vectors, bm25_k=2, dense_k=2)
        assert legs.bm25.select("query_id", "passage_id").rows() == [(name, name) for name in names]
        assert legs.dense.filter(pl.col("rank") == 1)["passage_id"].to_list() == names
        assert legs.dense.height == 260

    def test_the_same_question_has_the_same_answer(self, retriever: Retriever) -> None:
        one, other = (
            retriever.legs(["q"], ["胎压 机油 tyre"], VECTORS[:1], bm25_k=6, dense_k=6, where={"model": ["X3", "X5"]})
            for _ in range(2)
        )
        assert one.bm25.equals(other.bm25)
        assert one.dense.equals(other.dense)
