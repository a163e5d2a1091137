"""Choosing what to label: reasons, budget, near-duplicates, and what the random share says of live quality."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rerankops import config
from rerankops.annotation.selection import (
    Choice,
    Neighbours,
    choose,
    disagreement,
    live_quality,
    rank_biased_overlap,
    uncertainty,
)
from rerankops.config import SelectionSettings
from rerankops.errors import InputError, SettingsError
from rerankops.queries.sampling import stratified_pool
from rerankops.records import Candidate, Judgment, Query, RankedCandidate, SelectedQuery

NOW = datetime(2026, 9, 1, tzinfo=UTC)
STRATA = {"numeric": 0.5, "procedure": 0.5}
PER_QUERY = 3


def asking(**changes: Any) -> SelectionSettings:
    shares = {"random": 0.0, "uncertainty": 0.0, "disagreement": 0.0, "diversity": 0.0}
    settings = {
        "budget_tasks": 12,
        "pool_queries": 1000,
        "frequency_exponent": 0.0,
        "near_duplicate_cosine": 0.99,
        "shares": shares | changes.pop("shares", {"uncertainty": 1.0}),
    }
    return SelectionSettings.model_validate(settings | changes)


def pool_of(count: int, **columns: Sequence[Any]) -> pa.Table:
    frame = pl.DataFrame(
        {
            "query_id": [f"q{n:04}" for n in range(count)],
            "text": [f"问题{chr(0x4E00 + n)}" for n in range(count)],
            "stratum": [("numeric", "procedure")[n % 2] for n in range(count)],
            "frequency": [1] * count,
            "first_seen": [NOW] * count,
            "last_seen": [NOW] * count,
            "chosen_for": ["pool"] * count,
            "inclusion_probability": pl.Series([None] * count, dtype=pl.Float64),
        }
        | columns
    ).with_columns(stratum_queries=pl.len().over("stratum"), stratum_events=pl.col("frequency").sum().over("stratum"))
    return SelectedQuery.conform(frame.to_arrow())


def ranked_by(scores: np.ndarray) -> pa.Table:
    """(queries, candidates) scores as RankedCandidate."""
    queries, width = scores.shape
    return RankedCandidate.conform(
        pl.DataFrame(
            {
                "query_id": np.repeat([f"q{n:04}" for n in range(queries)], width),
                "passage_id": np.tile([f"p{n:03}" for n in range(width)], queries),
                "score": scores.ravel(),
            }
        )
        .with_columns(rank=pl.col("score").rank("ordinal", descending=True).over("query_id").cast(pl.Int32))
        .select(RankedCandidate.columns)
        .to_arrow()
    )


def candidates_of(bm25: np.ndarray, dense: np.ndarray) -> pa.Table:
    """(queries, candidates) ranks of both legs, 0 where a leg did not return the passage."""
    queries, width = bm25.shape
    frame = pl.DataFrame(
        {
            "query_id": np.repeat([f"q{n:04}" for n in range(queries)], width),
            "passage_id": np.tile([f"p{n:03}" for n in range(width)], queries),
            "rank": np.tile(np.arange(1, width + 1), queries),
            "fused_score": 0.0,
            "bm25_rank": bm25.ravel(),
            "dense_rank": dense.ravel(),
        }
    ).with_columns(
        pl.when(pl.col("bm25_rank") > 0).then("bm25_rank"),
        pl.when(pl.col("dense_rank") > 0).then("dense_rank"),
        bm25_score=pl.lit(None, pl.Float64),
        dense_score=pl.lit(None, pl.Float64),
    )
    return Candidate.conform(frame.select(Candidate.columns).to_arrow())


def far_apart(count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class World:
    """A pool with random scores, ranks and meanings."""

    def __init__(self, count: int = 60, *, seed: int = 0, width: int = 8, **columns: Sequence[Any]) -> None:
        draw = np.random.default_rng(seed)
        self.pool = pool_of(count, **columns)
        self.ranked = ranked_by(draw.normal(size=(count, width)))
        ranks = np.array([[draw.permutation(width) + 1 for _ in range(count)] for _ in range(2)])
        self.candidates = candidates_of(*ranks)
        self.vectors = unit(draw.normal(size=(count, 24)))
        self.asked: tuple[np.ndarray, list[str]] = (np.zeros((0, 24), np.float32), [])

    def choose(self, settings: SelectionSettings, *, temperature: float | None = 1.0) -> Choice:
        return choose(
            self.pool,
            self.candidates,
            self.ranked,
            Neighbours(self.vectors, *self.asked),
            settings,
            strata=STRATA,
            candidates_per_query=PER_QUERY,
            temperature=temperature,
        )


def chosen(choice: Choice) -> dict[str, str]:
    return dict(zip(choice.selected["query_id"].to_pylist(), choice.selected["chosen_for"].to_pylist(), strict=True))


# -- reasons ----------------------------------------------------------------------------------------------------------


def test_a_close_call_is_uncertain_and_a_clear_one_is_not() -> None:
    measured = uncertainty(ranked_by(np.array([[3.0, 2.9, 0.0], [3.0, 0.0, 0.0]])), temperature=1.0)
    close, clear = measured.iter_rows(named=True)
    assert close["margin"] == pytest.approx(0.1)
    assert clear["margin"] == pytest.approx(3.0)
    p = np.exp([3.0, 0.0, 0.0]) / np.exp([3.0, 0.0, 0.0]).sum()
    assert clear["entropy"] == pytest.approx(-(p * np.log(p)).sum())
    assert close["entropy"] > clear["entropy"]


def test_scores_that_are_no_logits_are_measured_in_their_own_unit() -> None:
    scores = np.random.default_rng(1).normal(size=(30, 6))
    small, large = (uncertainty(ranked_by(scores * unit), temperature=None) for unit in (1e-3, 1e3))
    assert small["entropy"].to_numpy() == pytest.approx(large["entropy"].to_numpy())
    assert small["margin"].to_numpy() == pytest.approx(large["margin"].to_numpy())


def test_a_single_candidate_leaves_nothing_to_be_unsure_of() -> None:
    row = uncertainty(ranked_by(np.array([[0.5]])), temperature=None).row(0, named=True)
    assert row["margin"] == math.inf
    assert row["entropy"] == 0.0


def overlap(left: list[str], right: list[str], *, depth: int = 10, p: float = 0.9) -> float:
    """The definition, item by item."""
    length = min(depth, max(len(left), len(right)))
    agreement = [len(set(left[:d]) & set(right[:d])) / d for d in range(1, length + 1)]
    seen = sum(a * p**d for d, a in enumerate(agreement, start=1))
    return agreement[-1] * p**length + (1 - p) / p * seen


def vectorised(pairs: list[tuple[list[str], list[str]]]) -> np.ndarray:
    rows = [
        (left.index(item) + 1 if item in left else 0, right.index(item) + 1 if item in right else 0, number)
        for number, (left, right) in enumerate(pairs)
        for item in sorted({*left, *right})
    ]
    return rank_biased_overlap(*np.array(rows, dtype=np.int64).reshape(-1, 3).T, len(pairs))


def test_rank_biased_overlap_follows_its_definition() -> None:
    draw = np.random.default_rng(3)
    items = [f"i{n}" for n in range(20)]
    pairs = []
    for _ in range(200):
        left, right = (list(draw.permutation(items)[: draw.integers(1, 16)]) for _ in range(2))
        pairs.append((left, right))
    assert vectorised(pairs) == pytest.approx([overlap(*pair) for pair in pairs])


def test_rank_biased_overlap_is_one_for_equal_orders_and_nought_for_disjoint_ones() -> None:
    assert vectorised([(list("abc"), list("abc")), (list("abc"), list("xyz"))]) == pytest.approx([1.0, 0.0])
    assert rank_biased_overlap(*np.zeros((3, 0), dtype=np.int64), 1) == pytest.approx([1.0])  # two empty ones
    first, last = vectorised([(list("abcdef"), list("bacdef")), (list("abcdef"), list("abcdfe"))])
    assert first < last < 1  # the top counts most


def test_disagreement_is_nought_when_all_three_orders_are_one() -> None:
    straight = np.tile(np.arange(1, 6), (2, 1))
    turned = np.array([straight[0], straight[1][::-1]])
    scores = -np.tile(np.arange(5.0), (2, 1))
    found = disagreement(candidates_of(straight, turned), ranked_by(scores))["disagreement"].to_list()
    assert found == pytest.approx([0.0, (1 - overlap(list("abcde"), list("edcba"))) * 2 / 3])


def test_a_leg_that_found_nothing_disagrees_entirely() -> None:
    straight = np.arange(1, 6).reshape(1, -1)
    found = disagreement(candidates_of(np.zeros_like(straight), straight), ranked_by(-straight.astype(float)))
    assert found["disagreement"].to_list() == pytest.approx([2 / 3])  # BM25 against either is 1, the others are alike


# -- choosing ---------------------------------------------------------------------------------------------------------


def test_the_most_uncertain_are_chosen_and_the_budget_is_spent_to_the_last_task() -> None:
    world = World(40)
    world.ranked = ranked_by(np.c_[np.linspace(5, 0, 40), np.zeros((40, 7))])  # the later, the closer
    world.vectors = far_apart(40)
    world.asked = np.zeros((0, 40), np.float32), []
    choice = world.choose(asking())
    assert chosen(choice) == dict.fromkeys(("q0036", "q0037", "q0038", "q0039"), "uncertainty")
    assert choice.tasks == 12


def test_disagreement_chooses_where_the_orders_are_apart() -> None:
    straight = np.tile(np.arange(1, 9), (40, 1))
    dense = straight.copy()
    dense[[4, 9]] = dense[[4, 9]][:, ::-1]
    world = World(40)
    world.candidates, world.ranked = candidates_of(straight, dense), ranked_by(-straight.astype(float))
    choice = world.choose(asking(shares={"disagreement": 1.0}, budget_tasks=6))
    assert chosen(choice) == {"q0004": "disagreement", "q0009": "disagreement"}


def test_diversity_takes_one_of_each_group_and_the_larger_groups_first() -> None:
    draw = np.random.default_rng(5)
    sizes = (20, 12, 6, 2)
    centres = np.eye(4)
    group = np.repeat(np.arange(4), sizes)
    world = World(40, stratum=["numeric"] * 40)
    world.vectors = unit(centres[group] + draw.normal(scale=0.05, size=(40, 4)))
    world.asked = np.zeros((0, 4), np.float32), []
    order = []
    for tasks in (3, 6, 9, 12):
        ids = world.choose(asking(shares={"diversity": 1.0}, budget_tasks=tasks)).selected["query_id"].to_pylist()
        order.append(sorted(group[int(name[1:])] for name in ids))
    assert order == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_diversity_stays_away_from_what_earlier_batches_asked() -> None:
    world = World(40, stratum=["numeric"] * 40)
    world.vectors = unit(np.eye(4)[np.repeat(np.arange(4), (20, 12, 6, 2))] + 0.01)
    world.asked = unit(np.eye(4)[[0]] + 0.02), ["以前问过"]
    (name,) = world.choose(asking(shares={"diversity": 1.0}, budget_tasks=3)).selected["query_id"].to_pylist()
    assert 20 <= int(name[1:]) < 32  # the largest group that nobody was asked about


def test_greedy_coverage_is_what_trying_every_query_at_every_step_gives() -> None:
    world = World(80, seed=11, stratum=["numeric"] * 80, frequency=[1 + n % 7 for n in range(80)])
    settings = asking(shares={"diversity": 1.0}, budget_tasks=30, frequency_exponent=0.5)
    similar = world.vectors @ world.vectors.T
    weight = np.sqrt(np.array([1 + n % 7 for n in range(80)]))
    cover, picked = np.zeros(80), []
    for _ in range(10):
        gains = [weight @ np.maximum(similar[n] - cover, 0) if n not in picked else -1.0 for n in range(80)]
        picked.append(int(np.argmax(gains)))
        cover = np.maximum(cover, similar[picked[-1]])
    assert set(chosen(world.choose(settings))) == {f"q{n:04}" for n in picked}


def test_a_near_duplicate_is_passed_over_while_another_query_is_left() -> None:
    world = World(6, stratum=["numeric"] * 6)
    world.ranked = ranked_by(np.c_[np.linspace(0, 5, 6), np.zeros((6, 7))])  # the earlier, the closer
    world.vectors = np.eye(6, dtype=np.float32)
    world.vectors[1] = world.vectors[0]
    world.asked = world.vectors[[2]], ["以前问过"]
    choice = world.choose(asking(budget_tasks=9))
    assert chosen(choice) == dict.fromkeys(("q0000", "q0003", "q0004"), "uncertainty")
    assert choice.near_duplicates == 2
    choice = world.choose(asking(budget_tasks=15))
    assert chosen(choice) == dict.fromkeys(("q0000", "q0003", "q0004", "q0005"), "uncertainty") | {"q0001": "remainder"}


@pytest.mark.parametrize(
    ("texts", "alike"),
    [
        (("x5后备箱多大", "x7后备箱多大"), False),
        (("x5后备箱多大", "x5 后备箱有多大"), True),
        (("胎压2.4够吗", "胎压2.6够吗"), False),
        (("怎么关esp", "怎么关abs"), False),
        (("who wrote hamlet", "who was hamlet written by"), True),
        (("who won in 1998", "who won in 2002"), False),
    ],
)
def test_near_vectors_of_other_names_and_numbers_are_no_duplicates(texts: tuple[str, str], alike: bool) -> None:
    world = World(2, text=texts, stratum=["numeric"] * 2)
    world.vectors = unit(np.ones((2, 24)))
    assert world.choose(asking(budget_tasks=3)).near_duplicates == int(alike)


def test_a_query_that_two_strategies_want_counts_once_and_says_the_first() -> None:
    shares = {"uncertainty": 0.5, "disagreement": 0.5}
    world = World(40, seed=2)
    first = set(chosen(world.choose(asking(budget_tasks=30, shares={"uncertainty": 1.0}))))
    second = set(chosen(world.choose(asking(budget_tasks=30, shares={"disagreement": 1.0}))))
    both = chosen(world.choose(asking(budget_tasks=60, shares=shares)))
    assert first & second
    assert all(both[name] == "uncertainty" for name in first)
    assert Counter(both.values()) == {"uncertainty": 10, "disagreement": 10}


def test_shares_and_strata_divide_the_budget() -> None:
    shares = {"random": 0.4, "uncertainty": 0.2, "disagreement": 0.2, "diversity": 0.2}
    drawn = [0.1 if n < 40 else None for n in range(400)]
    world = World(400, inclusion_probability=drawn)
    choice = world.choose(asking(budget_tasks=300, shares=shares))
    assert Counter(chosen(choice).values()) == {"random": 40, "uncertainty": 20, "disagreement": 20, "diversity": 20}
    counted = pl.DataFrame(pl.from_arrow(choice.selected)).group_by("chosen_for", "stratum").len()["len"].to_list()
    assert sorted(counted) == [10] * 6 + [20] * 2


def test_what_a_stratum_lacks_goes_to_the_others() -> None:
    world = World(60, stratum=["numeric"] * 58 + ["procedure"] * 2)
    choice = world.choose(asking(budget_tasks=30))
    assert Counter(choice.selected["stratum"].to_pylist()) == {"numeric": 8, "procedure": 2}


def test_every_random_query_stays_with_its_probability_even_next_to_its_twin() -> None:
    world = World(20, inclusion_probability=[0.25, 0.5, *[None] * 18])
    world.vectors[1] = world.vectors[0]
    world.asked = world.vectors[[0]], ["以前问过"]
    table = world.choose(asking(shares={"random": 0.5, "uncertainty": 0.5})).selected
    random = table.filter(pc.equal(table["chosen_for"], "random"))
    assert random["inclusion_probability"].to_pylist() == [0.25, 0.5]
    assert table["inclusion_probability"].null_count == table.num_rows - 2


def test_a_pool_that_costs_no_more_than_the_budget_is_taken_whole() -> None:
    world = World(20, inclusion_probability=[0.5, *[None] * 19])
    world.vectors[3] = world.vectors[2]
    shares = {"random": 0.1, "uncertainty": 0.3, "disagreement": 0.3, "diversity": 0.3}
    choice = world.choose(asking(budget_tasks=60, shares=shares))
    assert choice.selected.num_rows == 20
    assert choice.tasks == 60


def test_queries_without_candidates_cost_nothing_and_are_not_chosen() -> None:
    world = World(20, inclusion_probability=[0.5, *[None] * 19])
    names = pa.array(["q0000", "q0001"])
    for table in ("candidates", "ranked"):
        rows = getattr(world, table)
        setattr(world, table, rows.filter(pc.invert(pc.is_in(rows["query_id"], names))))
    choice = world.choose(asking(budget_tasks=1000))
    assert choice.selected.num_rows == 19  # the one drawn at random stays: it is a failure of the incumbent
    assert choice.tasks == 18 * PER_QUERY


def test_rows_in_any_order_give_the_same_choice() -> None:
    shares = {"random": 0.25, "uncertainty": 0.25, "disagreement": 0.25, "diversity": 0.25}
    world = World(200, seed=4, inclusion_probability=[0.2 if n % 20 == 0 else None for n in range(200)])
    settings = asking(budget_tasks=120, shares=shares, frequency_exponent=0.25)
    once = world.choose(settings)
    turn = np.random.default_rng(9).permutation(200)
    world.pool, world.vectors = world.pool.take(turn), world.vectors[turn]
    world.candidates, world.ranked = world.candidates[::-1], world.ranked.sort_by("score")
    assert world.choose(settings).selected.equals(once.selected)


def test_frequent_queries_come_first_among_equally_uncertain_ones() -> None:
    world = World(40, stratum=["numeric"] * 40, frequency=[1 + (n == 17) * 80 for n in range(40)])
    world.ranked = ranked_by(np.tile([1.0, 0.5], (40, 1)))
    assert "q0017" in chosen(world.choose(asking(budget_tasks=3, frequency_exponent=0.25)))


def test_vectors_that_are_not_one_a_query_are_refused() -> None:
    world = World(20)
    world.vectors = world.vectors[:19]
    with pytest.raises(InputError, match="19 vectors for 20 queries"):
        world.choose(asking())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shares": {"random": 0.9}}, "annotation.selection.shares sum to 1.5"),
        ({"budget_tasks": 3}, "budget_tasks is 3, below candidates_per_query 6"),
        ({"pool_queries": 100}, "pool_queries is 100; 6 tasks each do not fill budget_tasks 1320"),
    ],
)
def test_a_selection_that_cannot_be_made_is_refused_by_its_settings(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        config.load(environ={}, overrides={"annotation": {"selection": changes}})


# -- live quality -----------------------------------------------------------------------------------------------------


def judgments_of(queries: pl.DataFrame) -> pa.Table:
    return Judgment.conform(
        queries.select(
            "query_id",
            passage_id=pl.lit("first"),
            query_text="text",
            stratum="stratum",
            grade=pl.when("relevant").then(3).otherwise(1).cast(pl.Int8),
            confidence=pl.lit(1.0),
            annotator_count=pl.lit(1, pl.Int32),
            origin=pl.lit("human"),
        ).to_arrow()
    )


def population(size: int = 900) -> pl.DataFrame:
    """Frequent queries are answered better: a sample that is not weighed back would flatter the incumbent."""
    draw = np.random.default_rng(0)
    frequency = draw.zipf(2.0, size=size).clip(1, 200)
    stratum = np.where(np.arange(size) % 3 == 0, "procedure", "numeric")
    chance = 0.35 + 0.12 * np.log2(frequency) + 0.15 * (stratum == "numeric")
    return pl.DataFrame(pl.from_arrow(pool_of(size, stratum=stratum, frequency=frequency))).with_columns(
        relevant=pl.Series(draw.random(size) < chance)
    )


def drawn(queries: pl.DataFrame, seed: int, size: int = 120) -> pa.Table:
    bare = queries.select(Query.columns)
    pool = stratified_pool(bare, {"numeric": 0.5, "procedure": 0.5}, size=300, random=size, seed=seed)
    said = pool.with_columns(chosen_for=pl.lit("random"))
    return SelectedQuery.conform(said.select(SelectedQuery.columns).to_arrow())


@pytest.fixture(scope="module")
def simulated() -> dict[str, Any]:
    """400 batches drawn from one population, each judged: estimates by query and by event, truths, and naive means."""
    queries = population()
    first = queries.select("query_id", passage_id=pl.lit("first")).to_arrow()
    judged = judgments_of(queries)
    truth = {
        "queries": queries["relevant"].mean(),
        "events": (queries["relevant"] * queries["frequency"]).sum() / queries["frequency"].sum(),
        "numeric": queries.filter(pl.col("stratum") == "numeric")["relevant"].mean(),
    }
    seen: dict[str, list[Any]] = {name: [] for name in (*truth, "naive", "total")}
    for seed in range(400):
        selected = drawn(queries, seed)
        by_query = {row.stratum: row for row in live_quality(selected, first, judged, of="queries")}
        seen["queries"].append(by_query["all"])
        seen["numeric"].append(by_query["numeric"])
        seen["events"].append(live_quality(selected, first, judged, of="events")[0])
        rows = pl.DataFrame(pl.from_arrow(selected)).drop_nulls("inclusion_probability")
        seen["naive"].append(rows.join(queries, on="query_id")["relevant"].mean())
        seen["total"].append((1 / rows["inclusion_probability"]).sum())
    return {"truth": truth, "seen": seen, "size": queries.height}


def test_the_probabilities_are_those_of_the_draw(simulated: dict[str, Any]) -> None:
    """Horvitz and Thompson's count of the queries is, on average, how many there are."""
    totals = np.array(simulated["seen"]["total"])
    assert abs(totals.mean() - simulated["size"]) < 3 * totals.std() / math.sqrt(len(totals))


@pytest.mark.parametrize("of", ["queries", "events", "numeric"])
def test_the_estimate_of_live_quality_is_unbiased_and_its_interval_holds(simulated: dict[str, Any], of: str) -> None:
    truth, rows = simulated["truth"][of], simulated["seen"][of]
    shares = np.array([row.share for row in rows])
    assert abs(shares.mean() - truth) < 3 * shares.std() / math.sqrt(len(shares)) + 0.002
    assert np.mean([row.low <= truth <= row.high for row in rows]) >= 0.93
    ideal = 2 * 1.96 * shares.std()
    print(
        of,
        np.mean([row.low <= truth <= row.high for row in rows]),
        np.mean([row.high - row.low for row in rows]) / ideal,
    )
    assert np.mean([row.high - row.low for row in rows]) <= 1.5 * ideal


def test_without_the_probabilities_it_would_be_biased(simulated: dict[str, Any]) -> None:
    naive = np.array(simulated["seen"]["naive"])
    assert naive.mean() - simulated["truth"]["queries"] > 10 * naive.std() / math.sqrt(len(naive))


def test_an_interval_from_a_handful_of_queries_is_wide_enough() -> None:
    queries = population()
    first = queries.select("query_id", passage_id=pl.lit("first")).to_arrow()
    judged, truth = judgments_of(queries), queries["relevant"].mean()
    rows = [live_quality(drawn(queries, seed, size=6), first, judged, of="queries")[0] for seed in range(150)]
    assert np.mean([row.low <= truth <= row.high for row in rows]) >= 0.93
    assert np.mean([row.high - row.low for row in rows]) < 0.95


def test_everything_asked_is_no_estimate_any_more() -> None:
    queries = population(90)
    selected = drawn(queries, 1, size=300)
    first = queries.select("query_id", passage_id=pl.lit("first")).to_arrow()
    row = live_quality(selected, first, judgments_of(queries), of="queries")[0]
    assert row.share == row.low == row.high == pytest.approx(queries["relevant"].mean())
    assert math.isinf(row.effective)


def test_queries_chosen_for_another_reason_do_not_count() -> None:
    queries = population(300)
    first = queries.select("query_id", passage_id=pl.lit("first")).to_arrow()
    judged = judgments_of(queries)
    selected = drawn(queries, 1, size=60)
    at_random = selected.filter(pc.is_valid(selected["inclusion_probability"]))
    assert at_random.num_rows < selected.num_rows
    assert live_quality(selected, first, judged) == live_quality(at_random, first, judged)


def test_what_is_not_labelled_is_counted_and_what_found_nothing_is_a_failure() -> None:
    queries = pl.DataFrame(pl.from_arrow(pool_of(4, inclusion_probability=[1.0] * 4, stratum=["numeric"] * 4)))
    queries = queries.with_columns(relevant=pl.Series([True, True, True, True]))
    first = queries.head(3).select("query_id", passage_id=pl.lit("first")).to_arrow()
    (row, stratum) = live_quality(queries.drop("relevant").to_arrow(), first, judgments_of(queries.head(2)))
    assert (row.queries, row.unlabelled, row.share) == (3, 1, pytest.approx(2 / 3))
    assert (stratum.stratum, stratum.share) == ("numeric", row.share)


def test_people_are_believed_before_a_teacher() -> None:
    queries = pl.DataFrame(pl.from_arrow(pool_of(1, inclusion_probability=[1.0])))
    people = judgments_of(queries.with_columns(relevant=pl.lit(False)))
    teacher = judgments_of(queries.with_columns(relevant=pl.lit(True))).set_column(
        7, Judgment.schema.field("origin"), pa.array(["teacher"])
    )
    first = queries.select("query_id", passage_id=pl.lit("first")).to_arrow()
    both = pa.concat_tables([teacher, people])
    assert live_quality(queries.to_arrow(), first, both)[0].share == 0.0
    assert live_quality(queries.to_arrow(), first, teacher)[0].share == 1.0


def test_without_a_labelled_random_query_there_is_no_estimate() -> None:
    queries = population(10)
    first = queries.select("query_id", passage_id=pl.lit("first")).to_arrow()
    with pytest.raises(InputError, match="0 queries were drawn at random"):
        live_quality(pool_of(10), first, judgments_of(queries))
