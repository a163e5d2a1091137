import pytest
from s3_server import _s3_process, s3

__all__ = ["_s3_process", "s3"]

pytest.register_assert_rewrite("two_at_once")
