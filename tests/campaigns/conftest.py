import pytest
from elasticsearch_node import elasticsearch_url, three_nodes
from postgres_server import postgres
from s3_server import _s3_process, s3
from tracking_server import tracking_server

__all__ = ["_s3_process", "elasticsearch_url", "postgres", "s3", "three_nodes", "tracking_server"]

pytest.register_assert_rewrite("faults", "promotion_standing", "promotion_trials", "flipped_bytes", "two_at_once")
