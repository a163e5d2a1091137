import pytest
from elasticsearch_node import elasticsearch_url, three_nodes

__all__ = ["elasticsearch_url", "three_nodes"]

pytest.register_assert_rewrite("faults")
