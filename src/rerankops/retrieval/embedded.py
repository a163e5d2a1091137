"""The backend that needs no server: bm25s and usearch HNSW in this process, behind the same protocol as Elasticsearch.

An index is a folder: `bm25/` (bm25s), `hnsw.usearch`, `passage_ids.json`, `metadata.parquet`; row i of each is the
same passage.
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
import pyarrow.parquet as pq
from numpy.typing import NDArray
from usearch.index import Index

from rerankops.config import RetrievalSettings
from rerankops.errors import ArtefactDamaged, InputError
from rerankops.retrieval.analysis import terms
from rerankops.retrieval.fusion import LEG
from rerankops.retrieval.search import Legs, Retriever, Where

Mask = NDArray[np.bool_]
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
    pq.write_table(passages.select(["metadata"]), folder / "metadata.parquet")


class EmbeddedRetriever(Retriever):
    """An index opened for searching. Raises ArtefactDamaged when the folder is not one."""

    def __init__(self, folder: Path, settings: RetrievalSettings) -> None:
        self.settings = settings
        try:
            self.passage_ids = np.array(json.loads((folder / "passage_ids.json").read_text()), dtype=object)
            self._lexical = bm25s.BM25.load(str(folder / "bm25"), load_corpus=False, mmap=True)
            self._metadata = _entries(folder / "metadata.parquet")
            self._graph = Index.restore(str(folder / "hnsw.usearch"), view=True)
        except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, pa.ArrowException) as error:
            raise ArtefactDamaged(
                f"index {folder} cannot be opened: {error}; delete it and refresh the index"
            ) from error
        if self._graph is None or len(self._graph) != len(self.passage_ids):
            raise ArtefactDamaged(f"index {folder} does not fit together; delete it and refresh the index")
        self._graph.expansion_search = settings.hnsw_ef_search

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
        allowed = self._allowed(where) if where else None
        nothing = pl.DataFrame(schema=LEG)
        return Legs(
            nothing if texts is None else self._by_words(query_ids, texts, bm25_k, allowed),
            nothing if vectors is None else self._nearest(query_ids, vectors, dense_k, allowed),
        )

    def _by_words(self, query_ids: Sequence[str], texts: Sequence[str], k: int, allowed: Mask | None) -> pl.DataFrame:
        k = min(k, len(self.passage_ids))
        tokens = [terms(text) for text in texts]
        known = [i for i, words in enumerate(tokens) if any(word in self._lexical.vocab_dict for word in words)]
        if not known:
            return pl.DataFrame(schema=LEG)
        rows, scores = self._lexical.retrieve(
            [tokens[i] for i in known],
            k=k,
            show_progress=False,
            backend_selection="numpy",
            weight_mask=None if allowed is None else allowed.astype(np.float32),
        )
        # Passages that share no term with the query, or are not allowed, have a score of 0 and are no hits.
        return self._leg([query_ids[i] for i in known], rows, scores).filter(pl.col("score") > 0)

    def _nearest(
        self, query_ids: Sequence[str], vectors: NDArray[np.float32], k: int, allowed: Mask | None
    ) -> pl.DataFrame:
        vectors = np.atleast_2d(vectors)
        if not len(query_ids):
            return pl.DataFrame(schema=LEG)
        if vectors.shape[1] != self._graph.ndim:
            raise InputError(
                f"the index was not built with this encoder: its vectors have {self._graph.ndim} numbers, those of the "
                f"queries {vectors.shape[1]}; refresh the index, or set encoder.model to what built it"
            )
        if allowed is not None:
            return self._exact(query_ids, vectors, k, np.flatnonzero(allowed))
        matches = self._graph.search(vectors, min(k, len(self.passage_ids)))
        keys, distances = np.atleast_2d(matches.keys), np.atleast_2d(matches.distances)
        counts: Any = getattr(matches, "counts", keys.shape[1])  # a poor graph may find fewer than k
        returned = np.arange(keys.shape[1]) < np.atleast_1d(counts)[:, None]
        rows, scores = np.where(returned, keys, 0).astype(np.int64), 1.0 - np.where(returned, distances, 0.0)
        return self._leg(query_ids, rows, scores).filter(pl.Series(returned.ravel()))

    def _exact(
        self, query_ids: Sequence[str], vectors: NDArray[np.float32], k: int, rows: NDArray[np.int64]
    ) -> pl.DataFrame:
        """Among the rows only: the graph cannot be told where not to look, and a filter leaves few."""
        if not len(rows):
            return pl.DataFrame(schema=LEG)
        cosines = (vectors @ np.asarray(self._graph.get(rows), dtype=np.float32).T).astype(np.float64)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return self._leg(query_ids, rows[order], np.take_along_axis(cosines, order, axis=1))

    def _allowed(self, where: Where) -> Mask:
        """Which rows have all of the metadata that `where` asks for."""
        allowed = np.ones(len(self.passage_ids), dtype=bool)
        for key, values in where.items():
            wanted = [values] if isinstance(values, str) else list(values)
            has = self._metadata.filter(pl.col("key") == key, pl.col("value").is_in(wanted))["row"].to_numpy()
            allowed &= np.isin(np.arange(len(allowed)), has)
        return allowed

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


def _entries(path: Path) -> pl.DataFrame:
    """Columns row, key and value of every piece of metadata."""
    column = pq.read_table(path)["metadata"].combine_chunks()
    counts = np.diff(column.offsets.to_numpy())
    keys, values = column.keys.to_pylist(), column.items.to_pylist()
    rows = np.repeat(np.arange(len(column)), counts)
    return pl.DataFrame(
        {"row": rows, "key": keys, "value": values}, schema={"row": pl.Int64, "key": pl.String, "value": pl.String}
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
