"""Which queries are labelled: sizes, shares, determinism, and where a shortage goes."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime

import polars as pl
import pytest

from rerankops.queries.sampling import allocate, stratified_pool, stratified_sample
from rerankops.records import Query

NOW = datetime(2026, 9, 1, tzinfo=UTC)
SHARES = {"numeric": 0.45, "procedure": 0.35, "summary": 0.20}


def queries(**counts: int) -> pl.DataFrame:
    rows = [
        {"query_id": f"{stratum}{i:05}", "text": f"{stratum} {i}", "stratum": stratum, "frequency": 1 + i % 9}
        for stratum, count in counts.items()
        for i in range(count)
    ]
    return pl.DataFrame(pl.from_arrow(Query.table([row | {"first_seen": NOW, "last_seen": NOW} for row in rows])))


def counted(sample: pl.DataFrame) -> dict[str, int]:
    return dict(sample.group_by("stratum").len().iter_rows())


@pytest.mark.parametrize(
    ("available", "shares", "size", "taken"),
    [
        ({"a": 500, "b": 500, "c": 500}, {"a": 0.45, "b": 0.35, "c": 0.2}, 220, {"a": 99, "b": 77, "c": 44}),
        ({"a": 50, "b": 50, "c": 50}, {"a": 0.45, "b": 0.35, "c": 0.2}, 9, {"a": 4, "b": 3, "c": 2}),
        ({"a": 50, "b": 50, "c": 50}, {"a": 0.45, "b": 0.35, "c": 0.2}, 1, {"a": 1, "b": 0, "c": 0}),
        ({"a": 5, "b": 50, "c": 50}, {"a": 0.5, "b": 0.3, "c": 0.2}, 50, {"a": 5, "b": 27, "c": 18}),
        ({"a": 1, "b": 2, "c": 50}, {"a": 0.5, "b": 0.4, "c": 0.1}, 50, {"a": 1, "b": 2, "c": 47}),
        ({"a": 1, "b": 2}, {"a": 0.5, "b": 0.5}, 50, {"a": 1, "b": 2}),
        ({"a": 9, "b": 9}, {"a": 1.0, "b": 0.0}, 12, {"a": 9, "b": 0}),
        ({"a": 9, "b": 0}, {"a": 0.5, "b": 0.5}, 4, {"a": 4, "b": 0}),
        ({"a": 9}, {"a": 1.0}, 0, {"a": 0}),
        ({}, {"a": 1.0}, 5, {}),
    ],
)
def test_a_sample_is_shared_out(available: dict[str, int], shares: dict[str, float], size: int, taken: dict) -> None:
    assert allocate(available, shares, size) == taken


def test_equal_shares_differ_by_one_at_most() -> None:
    names = "abcdefghij"
    for size in range(40):
        taken = allocate(dict.fromkeys(names, 100), dict.fromkeys(names, 0.1), size)
        assert sum(taken.values()) == size
        assert max(taken.values()) - min(taken.values()) <= 1


def test_any_allocation_fills_the_size_keeps_to_what_there_is_and_to_the_shares() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        names = "abcdef"[: rng.randint(1, 6)]
        weights = [rng.random() + 0.01 for _ in names]
        shares = {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)}
        available = {name: rng.choice([0, 1, 3, 10, 200]) for name in names}
        size = rng.randint(0, 250)
        taken = allocate(available, shares, size)
        assert sum(taken.values()) == min(size, sum(available.values()))
        assert all(0 <= taken[name] <= available[name] for name in names)
        for name in names:  # nobody gets less than the share of the size, unless there is no more
            assert taken[name] == available[name] or taken[name] >= math.floor(size * shares[name] - 1e-9)


def test_a_sample_has_the_size_and_the_shares_asked_for() -> None:
    pool = queries(numeric=400, procedure=300, summary=200)
    sample = stratified_sample(pool, SHARES, size=220, seed=42)
    assert counted(sample) == {"numeric": 99, "procedure": 77, "summary": 44}
    assert sample.schema == pool.schema
    assert sample["query_id"].is_sorted()
    assert sample["query_id"].n_unique() == 220
    assert sample.join(pool, on=pool.columns, how="semi").height == 220


def test_what_a_stratum_lacks_goes_to_the_others() -> None:
    sample = stratified_sample(queries(numeric=10, procedure=300, summary=200), SHARES, size=120, seed=1)
    assert counted(sample) == {"numeric": 10, "procedure": 70, "summary": 40}


def test_a_pool_smaller_than_the_sample_is_taken_whole() -> None:
    pool = queries(numeric=3, procedure=2)
    assert stratified_sample(pool, SHARES, size=220, seed=1).equals(pool.sort("query_id"))


def test_the_same_seed_is_the_same_sample_whatever_the_order_of_rows() -> None:
    pool = queries(numeric=100, procedure=100, summary=100)
    first = stratified_sample(pool, SHARES, size=50, seed=1)
    assert stratified_sample(pool.sample(fraction=1, shuffle=True, seed=9), SHARES, size=50, seed=1).equals(first)
    assert not stratified_sample(pool, SHARES, size=50, seed=2).equals(first)


def test_strata_without_a_share_are_not_sampled() -> None:
    sample = stratified_sample(queries(numeric=5, gossip=50), SHARES, size=20, seed=1)
    assert counted(sample) == {"numeric": 5}


def test_an_empty_pool_gives_an_empty_sample() -> None:
    assert stratified_sample(queries(), SHARES, size=20, seed=1).height == 0
    assert stratified_sample(queries(numeric=5), SHARES, size=0, seed=1).height == 0


def test_frequent_queries_are_drawn_more_often_by_the_square_root() -> None:
    pool = queries(numeric=2).with_columns(frequency=pl.Series([1, 9]))
    drawn = [stratified_sample(pool, {"numeric": 1.0}, size=1, seed=s)["frequency"][0] for s in range(600)]
    assert drawn.count(9) / len(drawn) == pytest.approx(3 / 4, abs=0.06)


def test_a_pool_is_the_sample_of_its_size_and_its_random_share_the_sample_of_that_size() -> None:
    whole = queries(numeric=400, procedure=300, summary=200)
    pool = stratified_pool(whole, SHARES, size=220, random=40, seed=[7, 1])
    assert pool.select(whole.columns).equals(stratified_sample(whole, SHARES, size=220, seed=[7, 1]))
    random_share = pool.drop_nulls("inclusion_probability").select(whole.columns)
    assert pool.filter(pl.col("stratum") == "summary")["stratum_queries"].unique().to_list() == [200]
    assert pool["stratum_events"].unique().sum() == whole["frequency"].sum()
    assert random_share.equals(stratified_sample(whole, SHARES, size=40, seed=[7, 1]))


def test_what_is_drawn_whole_was_sure_to_be_drawn() -> None:
    pool = stratified_pool(queries(numeric=3, procedure=90), SHARES, size=60, random=30, seed=1)
    chances = dict(pool.drop_nulls().group_by("stratum").agg("inclusion_probability").iter_rows())
    assert chances["numeric"] == [1.0] * 3
    assert all(0 < chance < 1 for chance in chances["procedure"])
    assert stratified_pool(queries(numeric=3), SHARES, size=60, random=30, seed=1)["inclusion_probability"].eq(1).all()


def test_a_pool_without_a_random_share_has_no_probabilities() -> None:
    pool = stratified_pool(queries(numeric=30), SHARES, size=20, random=0, seed=1)
    assert (pool.height, pool["inclusion_probability"].null_count()) == (20, 20)


def test_dividing_by_the_probabilities_counts_every_query_once_on_average() -> None:
    """Of any group of queries, frequent or rare, however few of them are drawn."""
    whole = queries(numeric=60, procedure=30)
    drawn = [
        stratified_pool(whole, SHARES, size=40, random=15, seed=seed).drop_nulls("inclusion_probability")
        for seed in range(1500)
    ]
    for group in (pl.col("frequency") == 9, pl.col("frequency") == 1, pl.col("stratum") == "procedure"):
        counts = [(1 / sample.filter(group)["inclusion_probability"]).sum() for sample in drawn]
        mean, deviation = pl.Series(counts).mean(), pl.Series(counts).std()
        assert abs(mean - whole.filter(group).height) < 3.5 * deviation / math.sqrt(len(counts))
