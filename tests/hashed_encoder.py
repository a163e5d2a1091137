"""An encoder without a model: every character has a fixed vector, a text's vector is the direction of their sum.

A conftest.py imports the fixture by name: `from hashed_encoder import read`. `read` puts the encoder in the place of
the real one and lists, in order, every text that was encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankops.config import EncoderSettings
from rerankops.retrieval.encoder import EncodedTexts, joined

DIMENSIONS = 16
MODEL = "tests/hashed"
"""For encoder.model: what could be a model of a hub."""


def encoded(texts: Sequence[str]) -> EncodedTexts:
    """A token vector a character. The text without any has the vector of no character."""
    tokens = [np.array([_of(ord(letter)) for letter in text]).reshape(-1, DIMENSIONS) for text in texts]
    sums = np.array([one.sum(axis=0) if len(one) else _of(0) for one in tokens]).reshape(-1, DIMENSIONS)
    vectors = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in tokens])]).astype(np.int64)
    flat = np.concatenate([*tokens, np.zeros((0, DIMENSIONS))])
    return EncodedTexts(vectors, flat.astype(np.float16), offsets)


@cache
def _of(character: int) -> NDArray[np.float64]:
    vector = np.random.default_rng(character).normal(size=DIMENSIONS)
    return vector / np.linalg.norm(vector)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []

    class HashedEncoder:
        def __init__(self, settings: EncoderSettings) -> None:
            self.settings = settings

        def encode_queries(self, queries: Sequence[str]) -> EncodedTexts:
            return self._encode([self.settings.query_prompt + query for query in queries])

        def encode_passages(self, titles: Sequence[str], passages: Sequence[str]) -> EncodedTexts:
            prompt = self.settings.passage_prompt
            return self._encode([prompt + joined(*pair) for pair in zip(titles, passages, strict=True)])

        def _encode(self, whole: list[str]) -> EncodedTexts:
            texts.extend(whole)
            return encoded(whole)

    monkeypatch.setattr("rerankops.retrieval.encoder.Encoder", HashedEncoder)
    monkeypatch.setattr("rerankops.retrieval.models.resolve", lambda name, *, setting: str(name))
    return texts
