"""The embedded backend's files, and how good an index is said to be. What it finds is in test_embedded_contract.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from retrieval_contract import SETTINGS, VECTORS, changed, manual, numbered, unit

from rerankops.errors import ArtefactDamaged, InputError, ServerUnavailable
from rerankops.records import Passage
from rerankops.retrieval.embedded import EmbeddedRetriever, build
from rerankops.retrieval.fusion import LEG
from rerankops.retrieval.search import Legs, Retriever, Where, candidates, recall_against_exact


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    build(folder, manual(), VECTORS, SETTINGS)
    return folder


def test_an_index_that_is_built_twice_gives_the_same_candidates(index: Path, tmp_path: Path) -> None:
    build(tmp_path, manual(), VECTORS, SETTINGS)
    asked = (["q1", "q2"], ["胎压多少", "机油"], VECTORS[:2], SETTINGS)
    one, other = (candidates(EmbeddedRetriever(folder, SETTINGS), *asked) for folder in (index, tmp_path))
    assert one.equals(other)


# -- damage


FILES = [
    "passage_ids.json",
    "metadata.parquet",
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
def test_a_damaged_index_is_named(index: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    copy = tmp_path / "index"
    shutil.copytree(index, copy)
    damage(copy / name)
    with pytest.raises(ArtefactDamaged, match=f"^index {copy} .*delete it and refresh the index$"):
        EmbeddedRetriever(copy, SETTINGS)


def test_an_index_whose_parts_differ_in_length_is_refused(index: Path, tmp_path: Path) -> None:
    shutil.copytree(index, tmp_path, dirs_exist_ok=True)
    (tmp_path / "passage_ids.json").write_text('["tyres"]')
    with pytest.raises(ArtefactDamaged, match="does not fit together"):
        EmbeddedRetriever(tmp_path, SETTINGS)


def test_a_corpus_without_a_word_cannot_be_indexed(tmp_path: Path) -> None:
    mute = Passage.table([{"passage_id": "p", "title": "", "text": "。。。", "metadata": []}])
    with pytest.raises(InputError, match="none of the 1 passages has a letter or a digit"):
        build(tmp_path, mute, np.ones((1, 1), dtype=np.float32), SETTINGS)


# -- how good an index is


@dataclass
class BruteForce(Retriever):
    """Exact search, or exact search among the first `known` passages only."""

    corpus: NDArray[np.float32]
    known: int
    largest_row_first: bool = False

    def legs(
        self,
        query_ids: Sequence[str],
        texts: Sequence[str] | None,
        vectors: NDArray[np.float32] | None,
        *,
        bm25_k: int,
        dense_k: int,
        where: Where | None = None,
    ) -> Legs:
        assert vectors is not None
        near = vectors @ self.corpus[: self.known].T
        ties = np.arange(self.known) * (-1 if self.largest_row_first else 1)
        rows = []
        for query, scores in zip(query_ids, near, strict=True):
            best = np.lexsort((ties, -scores))[:dense_k]
            rows += [(query, f"p{row}", rank, scores[row]) for rank, row in enumerate(best, start=1)]
        return Legs(pl.DataFrame(schema=LEG), pl.DataFrame(rows, schema=LEG, orient="row"))


CORPUS = unit(np.random.default_rng(1).normal(size=(600, 12)))
QUERIES = unit(np.random.default_rng(3).normal(size=(400, 12)))
NAMES = [f"p{row}" for row in range(600)]


def recall(search: Retriever, queries: NDArray[np.float32] = QUERIES, corpus: NDArray[np.float32] = CORPUS) -> float:
    return recall_against_exact(search, queries, corpus, NAMES[: len(corpus)], k=15)


def test_exact_search_has_recall_one() -> None:
    assert recall(BruteForce(CORPUS, 600)) == recall(BruteForce(CORPUS, 600), CORPUS) == 1.0


def test_search_that_knows_half_the_corpus_has_about_half_the_recall() -> None:
    assert recall(BruteForce(CORPUS, 300)) == pytest.approx(0.5, abs=0.03)


def test_search_that_finds_nothing_has_recall_zero() -> None:
    assert recall(BruteForce(-CORPUS, 600)) == 0.0
    assert recall(BruteForce(CORPUS, 0)) == 0.0


def test_any_choice_among_equal_passages_is_right() -> None:
    repeated = np.repeat(CORPUS[:20], 30, axis=0)
    for largest_first in (False, True):
        assert recall(BruteForce(repeated, 600, largest_first), corpus=repeated) == 1.0


def test_recall_of_a_corpus_smaller_than_k_is_one() -> None:
    assert recall(BruteForce(CORPUS[:4], 4), corpus=CORPUS[:4]) == 1.0


def test_without_queries_or_passages_there_is_no_recall() -> None:
    for queries, corpus in ((QUERIES[:0], CORPUS), (QUERIES, CORPUS[:0])):
        with pytest.raises(InputError, match="cannot be measured without queries and passages"):
            recall(BruteForce(CORPUS, 600), queries, corpus)


def test_the_embedded_index_passes_and_a_starved_one_does_not(tmp_path: Path) -> None:
    passages, vectors = numbered(3000, 48)
    names, recalls = passages["passage_id"].to_pylist(), []
    for starved in ({}, {"hnsw_m": 2, "hnsw_ef_construction": 1, "hnsw_ef_search": 1}):
        folder, settings = tmp_path / str(len(starved)), changed(**starved)
        folder.mkdir()
        build(folder, passages, vectors, settings)
        search = EmbeddedRetriever(folder, settings)
        recalls.append(recall_against_exact(search, vectors[:100], vectors, names, k=15))
    assert recalls[0] >= SETTINGS.min_recall > recalls[1]


# -- queries that were not answered


def test_a_query_without_an_answer_is_never_taken_for_one_without_candidates() -> None:
    class Halting(BruteForce):
        def legs(self, query_ids: Sequence[str], *args: object, **more: object) -> Legs:
            found = super().legs(query_ids[:1], None, VECTORS[:1], bm25_k=0, dense_k=3)
            return Legs(found.bm25, found.dense, {"q2": "status 503, no master"})

    asked = (["q1", "q2"], ["a", "b"], VECTORS[:2])
    with pytest.raises(ServerUnavailable, match="1 queries were not answered, 'q2' among them: status 503, no master"):
        candidates(Halting(VECTORS, 6), *asked, SETTINGS)
