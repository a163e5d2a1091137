import pytest
from elasticsearch_node import elasticsearch_url, three_nodes
from postgres_server import postgres
from tracking_server import tracking_server

__all__ = ["elasticsearch_url", "postgres", "three_nodes", "tracking_server"]

pytest.register_assert_rewrite("faults", "promotion_standing", "promotion_trials")
