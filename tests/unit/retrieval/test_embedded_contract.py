"""The contract of retrieval on the backend in this process."""

from __future__ import annotations

import pyarrow as pa
import pytest
from numpy.typing import NDArray
from retrieval_contract import MakeRetriever, RetrievalContract

from rerankops.config import RetrievalSettings
from rerankops.retrieval.embedded import EmbeddedRetriever, build


@pytest.fixture(scope="module")
def make_retriever(tmp_path_factory: pytest.TempPathFactory) -> MakeRetriever:
    def make(passages: pa.Table, vectors: NDArray, settings: RetrievalSettings) -> EmbeddedRetriever:
        folder = tmp_path_factory.mktemp("index")
        build(folder, passages, vectors, settings)
        return EmbeddedRetriever(folder, settings)

    return make


class TestEmbedded(RetrievalContract):
    pass
