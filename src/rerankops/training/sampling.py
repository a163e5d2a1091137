"""Batches of similar length: random, seeded, and with little padding.

The library's batch samplers never consult `group_by_length`, so bucketing is ours: shuffle, cut into blocks of BLOCK
batches, sort each block by length, cut batches, and shuffle the batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from sentence_transformers.base.sampler import DefaultBatchSampler

BLOCK = 32
"""Batches sorted together: more means less padding and less randomness."""


class LengthBucketBatchSampler(DefaultBatchSampler):  # type: ignore[misc]
    """The same seed and epoch give the same batches, so a resumed run skips exactly those it has seen."""

    def __init__(self, lengths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(range(len(lengths)), **kwargs)
        self.lengths = np.asarray(lengths)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng((self.seed, self.epoch))
        shuffled = random.permutation(len(self.lengths))
        batches: list[list[int]] = []
        for start in range(0, len(shuffled), BLOCK * self.batch_size):
            block = shuffled[start : start + BLOCK * self.batch_size]
            ordered = block[np.argsort(self.lengths[block], kind="stable")]
            batches += [ordered[i : i + self.batch_size].tolist() for i in range(0, len(ordered), self.batch_size)]
        if self.drop_last:
            batches = [batch for batch in batches if len(batch) == self.batch_size]
        for index in random.permutation(len(batches)):
            yield batches[index]

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return int(whole + (rest > 0 and not self.drop_last))


def length_bucketed(lengths: Sequence[int]) -> Callable[..., LengthBucketBatchSampler]:
    """What `CrossEncoderTrainingArguments(batch_sampler=)` takes; lengths: tokens of each row of the data set."""

    def make(dataset: Any, **kwargs: Any) -> LengthBucketBatchSampler:
        return LengthBucketBatchSampler(lengths, **kwargs)

    return make
