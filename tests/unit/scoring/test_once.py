"""A pair that stands in several lists is read once and has one logit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankops.scoring.once import ReadOnce

A, B, C = ("q", "a"), ("q", "b"), ("r", "a")


class Counting:
    """Gives every pair the number of pairs it read before."""

    def __init__(self) -> None:
        self.read: list[tuple[str, str]] = []

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        first = len(self.read)
        self.read += pairs
        return np.arange(first, len(self.read), dtype=np.float32)


def test_only_what_is_new_is_read_and_each_keeps_its_logit() -> None:
    inner = Counting()
    once = ReadOnce(inner)
    assert once.logits([A, B]).tolist() == [0, 1]
    assert once.logits([B, C, A, C]).tolist() == [1, 2, 0, 2]
    assert inner.read == [A, B, C]
    assert once.logits([A]).dtype == np.float32


def test_nothing_asked_is_nothing_read() -> None:
    once = ReadOnce(Counting())
    assert once.logits([]).shape == (0,)


def test_what_could_not_be_read_is_asked_again() -> None:
    class Failing(Counting):
        def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
            if not self.read:
                self.read = [A]
                raise RuntimeError("no memory")
            return super().logits(pairs)

    once = ReadOnce(Failing())
    with pytest.raises(RuntimeError):
        once.logits([B])
    assert once.logits([B]).tolist() == [1]
