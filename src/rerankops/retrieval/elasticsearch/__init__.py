"""The production backend: versioned indexes on an Elasticsearch cluster, and hybrid search on them."""

from rerankops.retrieval.elasticsearch.index import Prepared, VersionedIndex
from rerankops.retrieval.elasticsearch.search import ElasticsearchRetriever

__all__ = ["ElasticsearchRetriever", "Prepared", "VersionedIndex"]
