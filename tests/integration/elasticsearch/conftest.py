import pytest
from elasticsearch_node import elasticsearch_url, three_nodes
from hashed_encoder import read

__all__ = ["elasticsearch_url", "read", "three_nodes"]

pytest.register_assert_rewrite("retrieval_contract", "faults")
