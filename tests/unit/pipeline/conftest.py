import pytest
from hashed_encoder import read

__all__ = ["read"]

pytest.register_assert_rewrite("retrieval_contract")
