"""A cross-encoder that reads each pair once, however many lists the pair is in.

The questions that a reader should refuse are gold questions without their answers. Most of their remaining candidates
were read before, and reading is what takes most time in a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Scorer(Protocol):
    """Whatever gives pairs logits; see scoring.cross_encoder.CrossEncoderScorer."""

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]: ...


class ReadOnce:
    """Gives a (query, passage) the logit that it got first. Keeps every pair it was asked in memory."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._known: dict[tuple[str, str], np.float32] = {}

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """One logit a pair, in the order given. Raises what the scorer raises."""
        new = list(dict.fromkeys(pair for pair in pairs if pair not in self._known))
        if new:
            self._known.update(zip(new, self._scorer.logits(new), strict=True))
        return np.array([self._known[pair] for pair in pairs], dtype=np.float32)
