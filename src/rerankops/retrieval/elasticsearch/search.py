"""Both legs of hybrid search for many queries: one msearch a batch of queries, a few batches in flight.

A query is answered or reported, never taken for one without hits: a leg that failed, on the whole or on one shard, is
asked again with backoff and, when it stays so, the query is among `Legs.failures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rerankops.config import ElasticsearchSettings, RetrievalSettings
from rerankops.elastic import RETRIED, Cluster, reason_of
from rerankops.errors import ServerRefused, ServerUnavailable
from rerankops.retrieval.elasticsearch.index import METADATA, TEXT, TITLE, VECTOR
from rerankops.retrieval.fusion import LEG
from rerankops.retrieval.search import Legs, Retriever, Where

_PASSAGE = "passage_id"
_ANSWER = (
    f"responses.hits.hits.fields.{_PASSAGE},responses.hits.hits._score,responses.status,responses.error,"
    "responses.timed_out"
)
_NAMED: dict[str, Any] = {"stored_fields": "_none_", "docvalue_fields": [_PASSAGE], "track_total_hits": False}
"""A hit is its score and its passage_id, read from the column of ids. Its _id is stored beside the text, and unpacking
that was seen to take three tenths of a search (1,162 queries/s with it, 1,637 without)."""
_MOST_CANDIDATES = 10_000
"""Elasticsearch's own limit of num_candidates."""


class _Ask(NamedTuple):
    """One search of an msearch."""

    query: int
    leg: str
    body: dict[str, Any]


class ElasticsearchRetriever(Retriever):
    """An index (or alias) opened for searching; see retrieval.search.Retriever.

    Raises ServerRefused when the index is not there, is closed, or holds vectors of another length than is searched.
    """

    def __init__(
        self, cluster: Cluster, index: str, settings: ElasticsearchSettings, retrieval: RetrievalSettings
    ) -> None:
        self.cluster, self.index, self.settings, self.retrieval = cluster, index, settings, retrieval

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
        size = max(1, self.settings.search_batch)
        batches = [range(start, min(start + size, len(query_ids))) for start in range(0, len(query_ids), size)]
        filters = _filters(where)
        away: list[str] = []
        if vectors is not None:
            _ = self.cluster.version  # decides how vectors are written; asked once, not by every thread

        def asks(batch: range) -> list[_Ask]:
            found = []
            for query in batch:
                if texts is not None:
                    found.append(_Ask(query, "bm25", self._bm25(texts[query], bm25_k, filters)))
                if vectors is not None:
                    found.append(_Ask(query, "dense", self._dense(vectors[query], dense_k, filters)))
            return found

        rows: dict[str, list[tuple[int, list[str], list[float]]]] = {"bm25": [], "dense": []}
        failures: dict[str, str] = {}
        with ThreadPoolExecutor(self.settings.search_concurrency, thread_name_prefix="search") as pool:
            for answered, failed in pool.map(lambda batch: self._answers(asks(batch), away), batches):
                for ask, hits in answered:
                    scores = [float(hit["_score"]) for hit in hits]
                    if ask.leg == "dense":  # Elasticsearch has no scores below 0 and moves the cosine
                        scores = [2 * score - 1 for score in scores]
                    rows[ask.leg].append((ask.query, [hit["fields"][_PASSAGE][0] for hit in hits], scores))
                failures |= {query_ids[query]: reason for query, reason in failed.items()}
        kept = {leg: [row for row in found if query_ids[row[0]] not in failures] for leg, found in rows.items()}
        return Legs(_frame(query_ids, kept["bm25"]), _frame(query_ids, kept["dense"]), failures)

    def _bm25(self, text: str, k: int, filters: list[dict[str, Any]]) -> dict[str, Any]:
        """Title and text as one field (BM25F; Robertson, Zaragoza and Taylor, 2004), the title counted title_weight
        times beside the text: what the embedded backend does by repeating it."""
        weight = self.retrieval.title_weight
        fields = [TEXT] if weight == 0 else [f"{TITLE}^{weight}", TEXT]
        query: dict[str, Any] = {"combined_fields": {"query": text, "fields": fields}}
        if filters:
            query = {"bool": {"must": query, "filter": filters}}
        return {"query": query, "size": k, **_NAMED}

    def _dense(self, vector: NDArray[np.float32], k: int, filters: list[dict[str, Any]]) -> dict[str, Any]:
        retrieval = self.retrieval
        knn: dict[str, Any] = {
            "field": VECTOR,
            "query_vector": self.cluster.vector(vector),
            "k": k,
            "num_candidates": min(_MOST_CANDIDATES, max(k, retrieval.hnsw_ef_search)),
        }
        if filters:
            knn["filter"] = filters
        if retrieval.rescore_oversample is not None and retrieval.vector_index != "hnsw":
            knn["rescore_vector"] = {"oversample": retrieval.rescore_oversample}
        return {"knn": knn, "size": k, **_NAMED}

    def _answers(
        self, asks: Sequence[_Ask], away: list[str]
    ) -> tuple[list[tuple[_Ask, list[dict[str, Any]]]], dict[int, str]]:
        """Hits of each search that was answered, and why the others were not, by query.

        away: shared by the batches; why the server is given up, once one of them has used up its tries. It would be
        the same for each of a thousand others.
        """
        answered: list[tuple[_Ask, list[dict[str, Any]]]] = []
        if away:
            return answered, {ask.query: away[0] for ask in asks}
        pending, reasons = list(asks), dict[int, str]()
        for attempt in range(1 + self.settings.retries):
            if not pending:
                return answered, {}
            if attempt:
                self.cluster.pause(attempt - 1)
            try:
                responses = self._msearch([ask.body for ask in pending])
            except ServerUnavailable as error:  # it was tried as often as may be
                away.append(str(error))
                return answered, {ask.query: str(error) for ask in pending}
            again = []
            for ask, response in zip(pending, responses, strict=True):
                problem = self._problem(ask, response)
                if problem is None:
                    answered.append((ask, response.get("hits", {}).get("hits", [])))
                else:
                    again.append(ask)
                    reasons[ask.query] = problem
            pending = again
        return answered, {ask.query: reasons[ask.query] for ask in pending}

    def _msearch(self, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        searches: list[Mapping[str, Any]] = []
        for body in bodies:
            searches += [{"allow_partial_search_results": False}, body]
        answer = self.cluster.ask(
            f"search index {self.index}",
            lambda: self.cluster.client.msearch(index=self.index, searches=searches, filter_path=_ANSWER),
            missing=_REFRESH,
        )
        responses: list[dict[str, Any]] = answer["responses"]
        return responses

    def _problem(self, ask: _Ask, response: Mapping[str, Any]) -> str | None:
        """Why this search is not answered, when asking again may help; raises ServerRefused when it will not."""
        if response.get("timed_out"):
            return "it timed out"
        if "error" not in response:
            if any("fields" not in hit for hit in response.get("hits", {}).get("hits", [])):
                raise ServerRefused(
                    f"index {self.index} holds passages without a {_PASSAGE}, so it was not made by rerankops; "
                    f"{_REFRESH}"
                )
            return None
        status, reason = int(response.get("status", 500)), reason_of(response)
        if status in RETRIED:
            return f"status {status}, {reason}"
        if status == 404:
            raise ServerRefused(f"cannot search index {self.index}: {reason}; {_REFRESH}")
        if "index_closed_exception" in str(response["error"]):
            raise ServerRefused(f"index {self.index} is closed; open it: POST {self.index}/_open")
        if ask.leg == "dense" and ("dimension" in reason or "vector length" in reason):
            raise ServerRefused(
                f"index {self.index} was not built with this encoder: {reason}; refresh the index, or set "
                "encoder.model to what built it"
            )
        raise ServerRefused(f"index {self.index} refuses the {ask.leg} search: status {status}, {reason}")


_REFRESH = "refresh the index (rerankops refresh)"


def _filters(where: Where | None) -> list[dict[str, Any]]:
    return [
        {"terms": {f"{METADATA}.{key}": [values] if isinstance(values, str) else list(values)}}
        for key, values in (where or {}).items()
    ]


def _frame(query_ids: Sequence[str], rows: Sequence[tuple[int, list[str], list[float]]]) -> pl.DataFrame:
    """fusion.LEG in the order of the queries. rows: (number of the query, passages, scores), best first."""
    ordered = sorted(rows)
    sizes = np.array([len(ids) for _, ids, _ in ordered], np.int64)
    first = np.cumsum(sizes) - sizes
    return pl.DataFrame(
        {
            "query_id": pl.Series(query_ids, dtype=pl.String).gather(np.repeat([row[0] for row in ordered], sizes)),
            "passage_id": [passage_id for _, ids, _ in ordered for passage_id in ids],
            "rank": np.arange(sizes.sum()) - np.repeat(first, sizes) + 1,
            "score": [score for _, _, scores in ordered for score in scores],
        },
        schema_overrides=LEG,
    )
