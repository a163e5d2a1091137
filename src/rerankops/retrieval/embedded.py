"""The backend that needs no server: bm25s and usearch HNSW in this process, behind the same protocol as Elasticsearch.

An index is a folder: `bm25/` (bm25s), `hnsw.usearch`, `passage_ids.json`; row i of each is the same passage.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from usearch.index import Index

from rerankops.config import RetrievalSettings
from rerankops.errors import ArtefactDamaged, InputError
from rerankops.retrieval.analysis import terms
from rerankops.retrieval.fusion import LEG

_DETERMINISTIC_UP_TO = 20_000
"""Passages; a larger graph is built by all cores, whose order of insertion differs from run to run."""


def build(folder: Path, passages: pa.Table, vectors: NDArray[np.float32], settings: RetrievalSettings) -> None:
    """Writes an index of `passages` (records.Passage, n rows) and `vectors` (n, d) into an empty folder.

    Raises InputError when no passage has a word.
    """
    titles, texts = passages["title"].to_pylist(), passages["text"].to_pylist()
    tokens = [terms(title) * settings.title_weight + terms(text) for title, text in zip(titles, texts, strict=True)]
    if not any(tokens):
        raise InputError(f"none of the {len(tokens)} passages has a letter or a digit; there is nothing to index")
    lexical = bm25s.BM25(k1=settings.bm25_k1, b=settings.bm25_b, method="lucene")
    lexical.index(tokens, show_progress=False)
    lexical.save(str(folder / "bm25"), show_progress=False)
    graph = _graph(vectors.shape[1], settings)
    threads = 1 if len(vectors) <= _DETERMINISTIC_UP_TO else 0
    graph.add(np.arange(len(vectors)), np.asarray(vectors, dtype=np.float32), threads=threads)
    graph.save(str(folder / "hnsw.usearch"))
    (folder / "passage_ids.json").write_text(json.dumps(passages["passage_id"].to_pylist(), ensure_ascii=False))


class EmbeddedRetriever:
    """An index opened for searching. Raises ArtefactDamaged when the folder is not one."""

    def __init__(self, folder: Path, settings: RetrievalSettings) -> None:
        self.settings = settings
        try:
            self.passage_ids = np.array(json.loads((folder / "passage_ids.json").read_text()), dtype=object)
            self._lexical = bm25s.BM25.load(str(folder / "bm25"), load_corpus=False, mmap=True)
            self._graph = Index.restore(str(folder / "hnsw.usearch"), view=True)
        except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ArtefactDamaged(
                f"index {folder} cannot be opened: {error}; delete it and refresh the index"
            ) from error
        if self._graph is None or len(self._graph) != len(self.passage_ids):
            raise ArtefactDamaged(f"index {folder} does not fit together; delete it and refresh the index")
        self._graph.expansion_search = settings.hnsw_ef_search

    def bm25(self, query_ids: Sequence[str], texts: Sequence[str], *, k: int) -> pl.DataFrame:
        """Frame of fusion.LEG; passages that share no term with the query are not hits."""
        k = min(k, len(self.passage_ids))
        tokens = [terms(text) for text in texts]
        known = [i for i, words in enumerate(tokens) if any(word in self._lexical.vocab_dict for word in words)]
        if not known:
            return pl.DataFrame(schema=LEG)
        rows, scores = self._lexical.retrieve(
            [tokens[i] for i in known], k=k, show_progress=False, backend_selection="numpy"
        )
        return self._leg([query_ids[i] for i in known], rows, scores).filter(pl.col("score") > 0)

    def dense(self, query_ids: Sequence[str], vectors: NDArray[np.float32], *, k: int) -> pl.DataFrame:
        """Frame of fusion.LEG by approximate cosine; vectors: (queries, d), each of length 1."""
        k = min(k, len(self.passage_ids))
        if not len(query_ids):
            return pl.DataFrame(schema=LEG)
        matches = self._graph.search(np.atleast_2d(vectors), k)
        keys, distances = np.atleast_2d(matches.keys), np.atleast_2d(matches.distances)
        counts: Any = getattr(matches, "counts", keys.shape[1])  # a poor graph may find fewer than k
        returned = np.arange(keys.shape[1]) < np.atleast_1d(counts)[:, None]
        rows, scores = np.where(returned, keys, 0).astype(np.int64), 1.0 - np.where(returned, distances, 0.0)
        return self._leg(query_ids, rows, scores).filter(pl.Series(returned.ravel()))

    def _leg(self, query_ids: Sequence[str], rows: NDArray[np.int64], scores: NDArray[np.float64]) -> pl.DataFrame:
        count, k = rows.shape
        return pl.DataFrame(
            {
                "query_id": np.repeat(np.array(query_ids, dtype=object), k),
                "passage_id": self.passage_ids[rows.ravel()],
                "rank": np.tile(np.arange(1, k + 1), count),
                "score": scores.ravel().astype(np.float64),
            },
            schema=LEG,
        )


def _graph(dimensions: int, settings: RetrievalSettings) -> Index:
    return Index(
        ndim=dimensions,
        metric="cos",
        dtype="f32",
        connectivity=settings.hnsw_m,
        expansion_add=settings.hnsw_ef_construction,
        expansion_search=settings.hnsw_ef_search,
    )
