"""Hybrid search on the embedded backend, and how good an index is said to be."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from rerankops.config import RetrievalSettings
from rerankops.errors import ArtefactDamaged, InputError
from rerankops.records import Candidate, Passage
from rerankops.retrieval.embedded import EmbeddedRetriever, build
from rerankops.retrieval.fusion import LEG
from rerankops.retrieval.search import candidates, recall_against_exact


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def vectors(manual: pa.Table) -> NDArray[np.float32]:
    return unit(np.random.default_rng(0).normal(size=(manual.num_rows, 8)))


@pytest.fixture(scope="session")
def index(
    manual: pa.Table,
    vectors: NDArray[np.float32],
    retrieval_settings: RetrievalSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("index")
    build(folder, manual, vectors, retrieval_settings)
    return folder


@pytest.fixture(scope="session")
def retriever(index: Path, retrieval_settings: RetrievalSettings) -> EmbeddedRetriever:
    return EmbeddedRetriever(index, retrieval_settings)


# -- the two legs


def test_words_find_their_passage(retriever: EmbeddedRetriever) -> None:
    queries = {"q1": "胎压多少", "q2": "如何关闭ESP", "q3": "机油0W-20", "q4": "tyre pressure", "q5": "座椅加热怎么开"}
    found = retriever.bm25(list(queries), list(queries.values()), k=3)
    best = dict(found.filter(pl.col("rank") == 1).select("query_id", "passage_id").iter_rows())
    assert best == {"q1": "tyres", "q2": "esp", "q3": "oil", "q4": "tires", "q5": "seats"}
    assert found.schema == LEG


def test_passages_without_a_word_of_the_query_are_no_hits(retriever: EmbeddedRetriever) -> None:
    found = retriever.bm25(["q1", "q2", "q3"], ["天窗zzz", "胎压 zzz", ""], k=6)
    assert found.select("query_id", "passage_id", "rank").rows() == [("q2", "tyres", 1)]
    assert retriever.bm25([], [], k=6).schema == LEG
    assert retriever.bm25(["q"], ["？"], k=6).schema == LEG


def test_the_title_counts_as_often_as_configured(
    manual: pa.Table, vectors: NDArray[np.float32], retrieval_settings: RetrievalSettings, tmp_path: Path
) -> None:
    scores = []
    for weight in (0, 1, 3):
        folder = tmp_path / str(weight)
        folder.mkdir()
        settings = retrieval_settings.model_copy(update={"title_weight": weight})
        build(folder, manual, vectors, settings)
        found = EmbeddedRetriever(folder, settings).bm25(["q"], ["tyres"], k=1)
        scores.append(found["score"].sum())
    assert 0 < scores[0] < scores[1] < scores[2]


def test_the_dense_leg_is_cosine_best_first(retriever: EmbeddedRetriever, vectors: NDArray[np.float32]) -> None:
    found = retriever.dense(["a", "b"], vectors[[2, 4]], k=3)
    exact = vectors[[2, 4]] @ vectors.T
    names = retriever.passage_ids
    for row, query in enumerate("ab"):
        order = np.argsort(-exact[row])[:3]
        mine = found.filter(pl.col("query_id") == query)
        assert mine["passage_id"].to_list() == list(names[order])
        assert mine["score"].to_list() == pytest.approx(exact[row][order], abs=1e-5)
        assert mine["rank"].to_list() == [1, 2, 3]
    assert retriever.dense([], vectors[:0], k=3).schema == LEG


def test_more_asked_than_there_is_returns_all(retriever: EmbeddedRetriever, vectors: NDArray[np.float32]) -> None:
    assert retriever.dense(["a"], vectors[:1], k=50)["passage_id"].n_unique() == 6
    assert retriever.bm25(["a"], ["胎压"], k=50).height == 1


def test_a_corpus_of_one_passage_can_be_searched(retrieval_settings: RetrievalSettings, tmp_path: Path) -> None:
    one = Passage.table([{"passage_id": "p", "title": "", "text": "胎压", "metadata": []}])
    build(tmp_path, one, np.ones((1, 1), dtype=np.float32), retrieval_settings)
    retriever = EmbeddedRetriever(tmp_path, retrieval_settings)
    found = candidates(retriever, ["q"], ["胎压"], np.ones((1, 1), dtype=np.float32), retrieval_settings)
    assert found["passage_id"].to_pylist() == ["p"]


# -- both legs


def test_candidates_are_both_legs_counted_once(
    retriever: EmbeddedRetriever, vectors: NDArray[np.float32], retrieval_settings: RetrievalSettings
) -> None:
    settings = retrieval_settings.model_copy(update={"bm25_k": 2, "dense_k": 3})
    found = candidates(retriever, ["q1", "q2"], ["胎压", "天窗"], vectors[[0, 3]], settings)
    assert found.schema.equals(Candidate.schema)
    first, second = (found.filter(pa.compute.equal(found["query_id"], q)).to_pylist() for q in ("q1", "q2"))
    assert (first[0]["passage_id"], first[0]["bm25_rank"], first[0]["dense_rank"]) == ("tyres", 1, 1)
    assert first[0]["fused_score"] == pytest.approx(2 / (settings.rrf_k + 1))
    assert len(first) == len(second) == 3
    assert all(row["bm25_rank"] is None for row in second)


def test_the_same_index_gives_the_same_candidates(
    manual: pa.Table,
    index: Path,
    vectors: NDArray[np.float32],
    retrieval_settings: RetrievalSettings,
    tmp_path: Path,
) -> None:
    build(tmp_path, manual, vectors, retrieval_settings)
    asked = (["q1", "q2"], ["胎压多少", "机油"], vectors[:2])
    one, other = (
        candidates(EmbeddedRetriever(folder, retrieval_settings), *asked, retrieval_settings)
        for folder in (index, tmp_path)
    )
    assert one.equals(other)


# -- damage


FILES = [
    "passage_ids.json",
    "hnsw.usearch",
    "bm25/data.csc.index.npy",
    "bm25/indices.csc.index.npy",
    "bm25/indptr.csc.index.npy",
    "bm25/params.index.json",
    "bm25/vocab.index.json",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(file.read_bytes()[:40])],
    ids=["gone", "empty", "truncated"],
)
def test_a_damaged_index_is_named(
    index: Path, tmp_path: Path, retrieval_settings: RetrievalSettings, name: str, damage: Callable[[Path], None]
) -> None:
    copy = tmp_path / "index"
    shutil.copytree(index, copy)
    damage(copy / name)
    with pytest.raises(ArtefactDamaged, match=f"^index {copy} .*delete it and refresh the index$"):
        EmbeddedRetriever(copy, retrieval_settings)


def test_an_index_whose_parts_differ_in_length_is_refused(
    index: Path, tmp_path: Path, retrieval_settings: RetrievalSettings
) -> None:
    shutil.copytree(index, tmp_path, dirs_exist_ok=True)
    (tmp_path / "passage_ids.json").write_text('["tyres"]')
    with pytest.raises(ArtefactDamaged, match="does not fit together"):
        EmbeddedRetriever(tmp_path, retrieval_settings)


def test_a_corpus_without_a_word_cannot_be_indexed(retrieval_settings: RetrievalSettings, tmp_path: Path) -> None:
    mute = Passage.table([{"passage_id": "p", "title": "", "text": "。。。", "metadata": []}])
    with pytest.raises(InputError, match="none of the 1 passages has a letter or a digit"):
        build(tmp_path, mute, np.ones((1, 1), dtype=np.float32), retrieval_settings)


# -- how good an index is


@dataclass
class BruteForce:
    """Exact search, or exact search among the first `known` passages only."""

    corpus: NDArray[np.float32]
    known: int
    largest_row_first: bool = False

    def bm25(self, query_ids: Sequence[str], texts: Sequence[str], *, k: int) -> pl.DataFrame:
        return pl.DataFrame(schema=LEG)

    def dense(self, query_ids: Sequence[str], vectors: NDArray[np.float32], *, k: int) -> pl.DataFrame:
        near = vectors @ self.corpus[: self.known].T
        ties = np.arange(self.known) * (-1 if self.largest_row_first else 1)
        rows = []
        for query, scores in zip(query_ids, near, strict=True):
            best = np.lexsort((ties, -scores))[:k]
            rows += [(query, f"p{row}", rank, scores[row]) for rank, row in enumerate(best, start=1)]
        return pl.DataFrame(rows, schema=LEG, orient="row")


CORPUS = unit(np.random.default_rng(1).normal(size=(600, 12)))
NAMES = [f"p{row}" for row in range(600)]


def test_exact_search_has_recall_one() -> None:
    recall = recall_against_exact(BruteForce(CORPUS, 600), CORPUS, NAMES, sample=400, k=15, seed=0)
    assert recall == 1.0


def test_search_that_knows_half_the_corpus_has_about_half_the_recall() -> None:
    recall = recall_against_exact(BruteForce(CORPUS, 300), CORPUS, NAMES, sample=600, k=15, seed=0)
    assert recall == pytest.approx(0.5, abs=0.03)


def test_search_that_finds_nothing_has_recall_zero() -> None:
    far = BruteForce(-CORPUS, 600)
    assert recall_against_exact(far, CORPUS, NAMES, sample=50, k=15, seed=0) == 0.0
    empty = BruteForce(CORPUS, 0)
    assert recall_against_exact(empty, CORPUS, NAMES, sample=50, k=15, seed=0) == 0.0


def test_any_choice_among_equal_passages_is_right() -> None:
    repeated = np.repeat(CORPUS[:20], 30, axis=0)
    for largest_first in (False, True):
        search = BruteForce(repeated, 600, largest_first)
        assert recall_against_exact(search, repeated, NAMES, sample=100, k=15, seed=0) == 1.0


def test_recall_of_a_corpus_smaller_than_k_is_one() -> None:
    assert recall_against_exact(BruteForce(CORPUS[:4], 4), CORPUS[:4], NAMES[:4], sample=200, k=15, seed=0) == 1.0


def test_the_embedded_index_passes_and_a_starved_one_does_not(
    retrieval_settings: RetrievalSettings, tmp_path: Path
) -> None:
    corpus = unit(np.random.default_rng(2).normal(size=(3000, 48)))
    names = [f"p{row}" for row in range(3000)]
    table = Passage.table({"passage_id": n, "title": "", "text": n, "metadata": []} for n in names)
    recalls = []
    for name, changes in {
        "good": {},
        "starved": {"hnsw_m": 2, "hnsw_ef_construction": 1, "hnsw_ef_search": 1},
    }.items():
        settings = retrieval_settings.model_copy(update=changes)
        (tmp_path / name).mkdir()
        build(tmp_path / name, table, corpus, settings)
        retriever = EmbeddedRetriever(tmp_path / name, settings)
        recalls.append(recall_against_exact(retriever, corpus, names, sample=100, k=15, seed=0))
    assert recalls[0] >= retrieval_settings.min_recall > recalls[1]
