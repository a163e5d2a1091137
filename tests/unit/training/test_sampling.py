"""Batches of similar length."""

from __future__ import annotations

import numpy as np

from rerankops.training.sampling import length_bucketed

LENGTHS = np.random.default_rng(0).integers(5, 300, 1003).tolist()


def batches(epoch: int = 0, *, drop_last: bool = False, seed: int = 1) -> list[list[int]]:
    sampler = length_bucketed(LENGTHS)(None, batch_size=16, drop_last=drop_last, seed=seed)
    sampler.set_epoch(epoch)
    assert len(list(sampler)) == len(sampler)
    return list(sampler)


def test_every_row_comes_once_an_epoch():
    assert sorted(row for batch in batches() for row in batch) == list(range(1003))
    assert {len(batch) for batch in batches(drop_last=True)} == {16}


def test_a_batch_holds_rows_of_similar_length():
    def padded(some: list[list[int]]) -> int:
        return sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in some)

    in_order = [list(range(i, min(i + 16, 1003))) for i in range(0, 1003, 16)]
    assert padded(batches()) < 1.06 * sum(LENGTHS)
    assert padded(in_order) > 1.5 * sum(LENGTHS)


def test_the_same_seed_and_epoch_give_the_same_batches_and_another_epoch_others():
    assert batches(1) == batches(1)
    assert batches(1) != batches(2)
    assert batches(1) != batches(1, seed=2)
