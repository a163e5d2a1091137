"""The ladder's rows and comparisons: what every system's row holds, and that none of it costs much."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from rerankops.errors import InputError
from rerankops.evaluation import metrics, significance
from rerankops.evaluation.calibration import Pairs, pair_quality
from rerankops.evaluation.ladder import COLUMNS, COMPARED, COSTS, STRATIFIED, Measured, ladder
from rerankops.records import SYSTEMS, QuestionOutcome

STRATA = ("numeric", "procedure", "summary")


def ranking(questions: int, candidates: int, *, better: float, seed: int) -> pa.Table:
    """query_id, passage_id, rank, score; relevant passages (p0, p1) score `better` higher."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(questions, candidates)) + better * (np.arange(candidates) < 2)
    order = np.argsort(-scores, axis=1)
    return pa.table(
        {
            "query_id": np.repeat([f"q{i:04d}" for i in range(questions)], candidates),
            "passage_id": np.array([f"p{j}" for j in range(candidates)])[order].ravel(),
            "rank": np.tile(np.arange(1, candidates + 1), questions),
            "score": np.take_along_axis(scores, order, axis=1).ravel(),
        }
    )


def qrels(questions: int) -> pa.Table:
    return pa.table(
        {
            "question_id": np.repeat([f"q{i:04d}" for i in range(questions)], 3),
            "passage_id": np.tile(["p0", "p1", "p2"], questions),
            "grade": pa.array(np.tile([3, 2, 1], questions), pa.int8()),
        }
    )


def outcomes(system: str, ranked: pa.Table, judged: pa.Table, *, right: float, seed: int) -> pa.Table:
    measured = metrics.per_question(ranked, judged)
    n = measured.num_rows
    columns = {
        **{name: measured[name] for name in metrics.METRICS},
        "system": [system] * n,
        "question_id": measured["question_id"],
        "stratum": [STRATA[i % 3] for i in range(n)],
        "answer": [""] * n,
        "correct": pa.array(np.random.default_rng(seed).random(n) < right),
        "refused": pa.nulls(n, pa.bool_()),
        "judged_by": pa.nulls(n, pa.string()),
        "top_passage_ids": [["p0"]] * n,
    }
    return QuestionOutcome.conform(pa.table(columns))


def made(questions: int, systems: tuple[str, ...]) -> dict[str, pa.Table]:
    judged = qrels(questions)
    return {
        name: outcomes(
            name, ranking(questions, 30, better=0.4 * place, seed=place), judged, right=0.6 + 0.05 * place, seed=place
        )
        for place, name in enumerate(systems)
    }


THREE = ("retrieval_only", "tuned_fusion", "challenger")


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return made(200, SYSTEMS)


def test_every_row_holds_every_metric_and_says_null_where_nothing_was_measured(tables: dict[str, pa.Table]) -> None:
    document = json.loads(json.dumps(ladder(tables, bootstrap_samples=200, seed=1), allow_nan=False))
    assert [row["name"] for row in document["systems"]] == list(SYSTEMS)
    for row in document["systems"]:
        assert set(COLUMNS) <= set(row)
        assert set(row["strata"]) == set(STRATA)
        for stratum in row["strata"].values():
            assert set(stratum) == {"n", *STRATIFIED}
        assert row["recall@1"] < row["hit@1"]
        assert row["hit@6"] >= row["recall@6"] > row["recall@1"]
        unknown = ("classification", "calibration", "scores", "refusals", "milliseconds_per_query")
        assert [row[name] for name in unknown] == [None] * len(unknown)
        assert row["cost"] == dict.fromkeys(COSTS)


def test_means_over_strata_add_up_to_the_whole(tables: dict[str, pa.Table]) -> None:
    for row in ladder(tables, bootstrap_samples=10, seed=1)["systems"]:
        parts = row["strata"].values()
        for metric in STRATIFIED:
            assert sum(part["n"] * part[metric] for part in parts) / row["n"] == pytest.approx(row[metric])


def test_what_is_measured_beside_the_outcomes_is_in_the_row(tables: dict[str, pa.Table]) -> None:
    judged, gold = qrels(200), ranking(200, 30, better=1.5, seed=9)
    pairs = pair_quality(gold, judged, ranking(150, 30, better=1.5, seed=10), qrels(150))
    known = Measured(
        pairs=pairs,
        refused=[1, 1, 0, math.nan],
        milliseconds_per_query=41.3,
        cost={"cross_encoder_ms": 40.0, "memory_mb": 412.0},
    )
    document = ladder(tables, measured={"challenger": known}, bootstrap_samples=10, seed=1)
    row = json.loads(json.dumps(document, allow_nan=False))["systems"][SYSTEMS.index("challenger")]
    assert set(row["classification"]) == {"threshold", "accuracy", "precision", "recall", "f1", "n"}
    assert row["classification"]["n"] == 200 * 30
    assert set(row["calibration"]) == {"error", "bins"}
    assert set(row["calibration"]["bins"][0]) == {"from", "to", "n", "predicted", "observed"}
    assert sum(each["n"] for each in row["calibration"]["bins"]) == 200 * 30
    assert (len(row["scores"]["relevant"]), len(row["scores"]["other"])) == (21, 21)
    refusals = row["refusals"]
    assert (refusals["asked"], refusals["missing"], refusals["refused"]) == (4, 1, 2)
    assert refusals["share"] == pytest.approx(2 / 3)
    assert refusals["interval"] == pytest.approx(list(significance.wilson_interval(2, 3)))
    assert row["milliseconds_per_query"] == 41.3
    assert row["cost"] == {**dict.fromkeys(COSTS), "cross_encoder_ms": 40.0, "memory_mb": 412.0}


def test_pairs_that_tell_nothing_are_null(tables: dict[str, pa.Table]) -> None:
    nothing = {"base": Measured(pairs=Pairs(None, None, None), refused=[math.nan])}
    row = ladder(tables, measured=nothing, bootstrap_samples=10, seed=1)["systems"][SYSTEMS.index("base")]
    assert (row["classification"], row["calibration"], row["scores"]) == (None, None, None)
    assert row["refusals"] == {"asked": 1, "missing": 1, "refused": 0, "share": None, "interval": None}


def test_a_system_that_was_measured_but_not_asked_is_an_error(tables: dict[str, pa.Table]) -> None:
    asked = {name: tables[name] for name in THREE}
    with pytest.raises(InputError, match="'teacher' has no outcomes"):
        ladder(asked, measured={"teacher": Measured()}, bootstrap_samples=10, seed=1)


def test_every_dearer_system_is_compared_with_every_cheaper_one(tables: dict[str, pa.Table]) -> None:
    comparisons = ladder(tables, bootstrap_samples=300, seed=1)["comparisons"]
    expected = [
        (of, against, metric) for place, of in enumerate(SYSTEMS) for against in SYSTEMS[:place] for metric in COMPARED
    ]
    assert [(row["of"], row["against"], row["metric"]) for row in comparisons] == expected


@pytest.mark.parametrize("metric", ["accuracy", "ndcg@10", "map"])
def test_a_comparison_is_what_significance_says_of_it_alone(tables: dict[str, pa.Table], metric: str) -> None:
    [row] = [
        row
        for row in ladder(tables, bootstrap_samples=20_000, seed=1)["comparisons"]
        if (row["of"], row["against"], row["metric"]) == ("tuned_fusion", "retrieval_only", metric)
    ]
    one, other = (tables[name].sort_by("question_id")[COLUMNS[metric]] for name in ("tuned_fusion", "retrieval_only"))
    difference = np.asarray(one.cast(pa.float64())) - np.asarray(other.cast(pa.float64()))
    assert row["difference"] == pytest.approx(difference.mean())
    assert row["n"] == 200
    alone = significance.bootstrap_interval(difference, samples=20_000, seed=2)
    assert tuple(row["interval"]) == pytest.approx(alone, abs=0.006)
    assert row["p_value"] == pytest.approx(significance.p_greater(difference, samples=20_000, seed=2), abs=0.015)


def test_missing_verdicts_leave_their_question_out_of_that_comparison_alone(tables: dict[str, pa.Table]) -> None:
    holed = tables["challenger"].to_pylist()
    for row in holed[:30]:
        row["correct"] = None
    asked = {"retrieval_only": tables["retrieval_only"], "challenger": QuestionOutcome.table(holed)}
    counted = {row["metric"]: row["n"] for row in ladder(asked, bootstrap_samples=50, seed=1)["comparisons"]}
    assert counted["accuracy"] == 170
    assert counted["mrr@10"] == 200


def test_the_same_seed_makes_the_same_ladder(tables: dict[str, pa.Table]) -> None:
    once, again = (ladder(tables, bootstrap_samples=200, seed=4) for _ in range(2))
    assert once == again
