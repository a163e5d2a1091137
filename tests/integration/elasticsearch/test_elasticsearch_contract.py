"""The contract of retrieval on a real Elasticsearch node."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from indexes import cluster_of, fresh_alias, settings_of, version
from numpy.typing import NDArray
from retrieval_contract import MakeRetriever, RetrievalContract

from rerankops.config import RetrievalSettings
from rerankops.retrieval.elasticsearch import ElasticsearchRetriever
from rerankops.workspace import digest


@pytest.fixture(scope="module")
def make_retriever(elasticsearch_url: str) -> Iterator[MakeRetriever]:
    with fresh_alias(elasticsearch_url) as alias:
        settings = settings_of(elasticsearch_url, alias)
        with cluster_of(settings) as cluster:

            def make(passages: pa.Table, vectors: NDArray, retrieval: RetrievalSettings) -> ElasticsearchRetriever:
                held = digest([passages.to_pylist(), vectors.tolist(), retrieval.analyzer])  # one index for the same
                index = version(cluster, settings.model_copy(update={"retrieval": retrieval}), held)
                index.prepare(passages, vectors)
                return ElasticsearchRetriever(cluster, index.name, settings.elasticsearch, retrieval)

            yield make


class TestElasticsearch(RetrievalContract):
    pass
