"""Feedback from production against what is known: simulated users whose clicks depend on rank and worth by known rules.

    python benchmarks/feedback.py [--events 60000] [--seeds 5] [--largest 1000000]

propensities: 12 logs of --events / 3 events; how often the 95 % interval holds the truth, and the error beside that of
click rates by rank. judgments: for good and for poor rankers, how well the passages of each query are ordered (NDCG of
the true grades, and what of the order shown is put right) by raw click rates, by inverse-propensity weighted ones
without shrinkage, and by ours; whether the sides (relevant or not) that are said are right, and the expected
calibration error; ours without the correction (every propensity 1) for comparison. preferences: how many are right,
beside clicked over skipped above alone. broken: the same where users do not follow the model. speed: from events to
judgments and preferences, up to --largest events, each size in a process of its own. Results go to
benchmarks/results/feedback.{json,md}; the last line is the headline.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rerankops import config
from rerankops.annotation import feedback
from rerankops.annotation.feedback.propensity import METHODS
from rerankops.config import FeedbackSettings

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
sys.path.insert(0, str(PROJECT / "tests"))

from click_log import ClickLog, simulate  # noqa: E402  the simulator that the tests use

PAIR = ["query_id", "passage_id"]
RANKERS = {"good rankers": (0.8, 1.6), "poor rankers": (2.0, 4.0)}
"""Noise beside the grade, of the two rankers in use."""
PEOPLE = 0.1
"""Share of the queries that people judged too."""
PROPENSITY_LOGS = 12
Floats = NDArray[np.float64]


def settings() -> FeedbackSettings:
    return config.load(environ={}).feedback


def derive(
    log: ClickLog, chosen: FeedbackSettings, *, corrected: bool = True
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Impressions, graded passages and preferences. corrected: False puts 1 in the place of every known propensity."""
    shown = feedback.impressions(log.events, max_rank=chosen.max_rank)
    propensity = feedback.estimate(shown, chosen, seed=1).values(floor=chosen.min_propensity)
    if not corrected:
        propensity = [None if value is None else 1.0 for value in propensity]
    usable = feedback.examinable(shown, propensity)
    trials = pl.concat([feedback.click_trials(usable, {}), feedback.reaction_trials(log.events, chosen, {})])
    rates = feedback.measured_rates(trials, log.judged(PEOPLE, seed=1), propensity, chosen)
    graded, _ = feedback.graded(trials, propensity, rates, chosen)
    return usable, graded, feedback.preferences(usable, feedback.corrections(log.events), chosen, {})


def propensities(events: int, seeds: int) -> list[dict[str, Any]]:
    """Of each source: share of intervals that hold the truth, and mean relative errors of ours and of click rates."""
    chosen, rows = settings(), []
    for method, randomised in zip(METHODS, (0.2, 0.0), strict=True):
        inside, errors, naive, unusable = [], [], [], 0
        for seed in range(seeds):
            log = simulate(events, seed=100 + seed, randomised=randomised)
            shown = feedback.impressions(log.events, max_rank=chosen.max_rank)
            found = feedback.estimate(shown, chosen, seed=seed).estimates[METHODS.index(method)]
            by_rank = shown.group_by("rank").agg(pl.col("clicked").mean()).sort("rank")["clicked"].to_numpy()
            for rank, truth in zip(found.ranks[1:8], log.propensity[1:], strict=True):
                if not rank.usable:
                    unusable += 1
                    continue
                inside.append(rank.low <= truth <= rank.high)
                errors.append(abs(rank.propensity / truth - 1))
                naive.append(abs(by_rank[rank.rank - 1] / by_rank[0] / truth - 1))
        rows.append(
            {
                "source": method,
                "logs": seeds,
                "ranks": len(inside),
                "unusable": unusable,
                "in_interval": float(np.mean(inside)),
                "error": float(np.mean(errors)),
                "error_of_click_rates": float(np.mean(naive)),
            }
        )
        print(rows[-1], file=sys.stderr)
    return rows


def ndcg(scored: pl.DataFrame, score: str) -> pl.DataFrame:
    """query_id and NDCG of the order that a score gives; equal scores in the order of names."""
    gain = 2.0 ** pl.col("grade_true") - 1

    def discounted(*order: pl.Expr, down: list[bool]) -> pl.Expr:
        place = pl.int_range(1, pl.len() + 1)
        return (gain.sort_by(order, descending=down) / (place + 1).log(2)).sum()

    return (
        scored.group_by("query_id")
        .agg(
            dcg=discounted(pl.col(score), pl.col("passage_id"), down=[True, False]),
            best=discounted(pl.col("grade_true"), down=[True]),
        )
        .filter(pl.col("best") > 0)
        .select("query_id", ndcg=pl.col("dcg") / pl.col("best"))
        .sort("query_id")
    )


def mended(scored: pl.DataFrame, score: str) -> tuple[float, float]:
    """Of pairs of different grades in a query: of those that were shown the wrong way round on average, the share that
    the score puts right, and of those shown rightly, the share that it keeps. A tie is half right."""
    one = scored.select("query_id", "grade_true", "rank", score=score)
    pairs = one.join(one, on="query_id", suffix="_worse").filter(pl.col("grade_true") > pl.col("grade_true_worse"))
    now = ((pairs["score"] - pairs["score_worse"]).sign() + 1) / 2
    before = pairs["rank"] - pairs["rank_worse"]
    return float(now.filter(before < 0).mean()), float(now.filter(before > 0).mean())


def calibration_error(probability: Floats, right: NDArray[np.bool_], bins: int = 15) -> float:
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return float(sum(abs((probability - right)[place == b].mean()) * (place == b).mean() for b in np.unique(place)))


def with_scores(log: ClickLog, usable: pl.DataFrame, graded: pl.DataFrame) -> pl.DataFrame:
    """Graded passages that people did not judge, with every score that orders them, and the truth."""
    simple = (
        usable.group_by(PAIR)
        .agg(
            raw=pl.col("clicked").mean(),
            weighted=(pl.col("clicked") / pl.col("propensity")).mean(),
            rank=-pl.col("rank").mean(),
        )
        .cast(dict.fromkeys(PAIR, pl.String))
    )
    people = set(log.judged(PEOPLE, seed=1)["query_id"].to_pylist())
    return (
        graded.join(simple, on=PAIR)
        .join(log.truth, on=PAIR, suffix="_true")
        .filter(~pl.col("query_id").is_in(list(people)))
    )


def sides(scored: pl.DataFrame, certainty: float) -> dict[str, float]:
    """How sure and how right the judgments of one kind are."""
    truth = scored["grade_true"].to_numpy() >= 2
    relevant = scored["relevant"].to_numpy()
    said = np.maximum(relevant, 1 - relevant) >= certainty
    right = (relevant >= 0.5) == truth
    grade_right = (scored["grade"] == scored["grade_true"]).to_numpy()
    return {
        "side_accuracy": float(right.mean()),
        "share_said": float(said.mean()),
        "accuracy_said": float(right[said].mean()),
        "calibration_error_side": calibration_error(relevant, truth),
        "calibration_error_grade": calibration_error(scored["confidence"].to_numpy(), grade_right),
    }


def difference(ours: Floats, theirs: Floats) -> list[float]:
    """Mean difference over queries, with its 95 % interval (normal)."""
    apart = ours - theirs
    half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    return [float(apart.mean()), float(apart.mean() - half), float(apart.mean() + half)]


def judgments(events: int, seeds: int, noise: tuple[float, ...], **options: Any) -> dict[str, Any]:
    """One world: orders, sides and preferences, over several logs."""
    chosen = settings()
    scores = {"shown": "rank", "raw": "raw", "weighted": "weighted", "ours": "rate", "uncorrected": "rate"}
    orders: dict[str, list[Floats]] = {name: [] for name in scores}
    pairwise: dict[str, list[tuple[float, float]]] = {name: [] for name in scores if name != "shown"}
    kinds: dict[str, list[dict[str, float]]] = {"ours": [], "uncorrected": []}
    pairs: dict[str, list[float]] = {"ours": [], "claimed": [], "skipped_above": []}
    for seed in range(seeds):
        log = simulate(events, seed=200 + seed, noise=noise, randomised=0.05, **options)
        usable, graded, preferred = derive(log, chosen)
        uncorrected = with_scores(log, usable, derive(log, chosen, corrected=False)[1])
        scored = with_scores(log, usable, graded)
        for name, column in scores.items():
            rows = uncorrected if name == "uncorrected" else scored
            orders[name].append(ndcg(rows, column)["ndcg"].to_numpy())
            if name in pairwise:
                pairwise[name].append(mended(rows, column))
        kinds["ours"].append(sides(scored, chosen.min_certainty))
        kinds["uncorrected"].append(sides(uncorrected, chosen.min_certainty))
        pairs["ours"].append(right(preferred, log))
        pairs["claimed"].append(float((preferred["weight"].mean() + 1) / 2))
        pairs["skipped_above"].append(right(skipped_above(usable), log))
    joined = {name: np.concatenate(values) for name, values in orders.items()}
    result = {
        "queries": len(joined["ours"]),
        "ndcg": {name: float(values.mean()) for name, values in joined.items()},
        "mended_and_kept": {name: np.mean(values, axis=0).tolist() for name, values in pairwise.items()},
        "ours_minus": {name: difference(joined["ours"], joined[name]) for name in joined if name != "ours"},
        "judgments": {
            kind: {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
            for kind, rows in kinds.items()
        },
        "preferences": {name: float(np.mean(values)) for name, values in pairs.items()},
    }
    print(noise, options, result, file=sys.stderr)
    return result


def skipped_above(shown: pl.DataFrame) -> pl.DataFrame:
    """Clicked over skipped above alone: every pair that it says at least twice."""
    clicked = shown.filter("clicked").select("event", "query_id", "rank", better="passage_id")
    above = shown.filter(~pl.col("clicked")).select("event", above="rank", worse="passage_id")
    pairs = clicked.join(above, on="event").filter(pl.col("above") < pl.col("rank"))
    counted = pairs.group_by("query_id", "better", "worse").len().filter(pl.col("len") >= 2)
    return counted.cast({"query_id": pl.String, "better": pl.String, "worse": pl.String})


def right(pairs: pl.DataFrame, log: ClickLog) -> float:
    """Share of the pairs whose better passage is the more attractive one."""
    truth = log.truth.select(*PAIR, "rate")
    better = pairs.join(truth, left_on=["query_id", "better"], right_on=PAIR)
    both = better.join(truth, left_on=["query_id", "worse"], right_on=PAIR, suffix="_worse")
    return float((both["rate"] > both["rate_worse"]).mean())


def speed(events: int) -> dict[str, Any]:
    """One size, in a process of its own: wall and CPU seconds, and the process's largest memory, the log among it."""
    command = [sys.executable, __file__, "--time", str(events)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(row, file=sys.stderr)
    return row


def timed(events: int) -> dict[str, Any]:
    log = simulate(events, seed=1, queries=max(100, events // 50), shown=6, randomised=0.05)
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()
    usable, graded, preferred = derive(log, settings())
    return {
        "events": events,
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "gigabytes": peak(),
        "gigabytes_before": before,
        "impressions": usable.height,
        "passages": graded.height,
        "preferences": preferred.height,
    }


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def page(result: dict[str, Any]) -> str:
    of = result["machine"]
    lines = [
        "# Feedback from production",
        "",
        result["headline"],
        "",
        f"Measured {result['measured_at'][:10]} on {of['cores']} cores ({of['processor']}), Python {of['python']}, "
        f"load average {of['load_average']} before the run. Users are simulated (tests/click_log.py): 400 queries, 12 "
        f"passages each, 8 shown, examined with probability 1/rank, {result['events']:,} events a log; people judged "
        f"{PEOPLE:.0%} of the queries, which are left out of the figures.",
        "",
        "## Propensities",
        "",
        "| source | logs | ranks | without one | truth in the 95 % interval | mean error | of click rates by rank |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['source']} | {row['logs']} | {row['ranks']} | {row['unusable']} | {row['in_interval']:.0%} "
        f"| {row['error']:.1%} | {row['error_of_click_rates']:.0%} |"
        for row in result["propensities"]
    ]
    lines += [
        "",
        "## Order of each query's passages (NDCG of the true grades)",
        "",
        "`as shown` is the mean rank that the rankers gave; `weighted` is clicks over propensities, clipped, not "
        "shrunk; `uncorrected` is ours with every propensity 1.",
        "",
        "| world | queries | as shown | raw click rate | weighted | uncorrected | ours | ours − raw [95 %] |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {row['queries']} | "
        + " | ".join(f"{row['ndcg'][each]:.3f}" for each in ("shown", "raw", "weighted", "uncorrected", "ours"))
        + " | {:+.3f} [{:+.3f}, {:+.3f}] |".format(*row["ours_minus"]["raw"])
        for name, row in result["worlds"].items()
    ]
    lines += [
        "",
        "Raw click rates repeat the order shown, which helps where it was right. Of pairs of unequal grades that were "
        "shown the wrong way round, put right / of those shown rightly, kept:",
        "",
        "| world | raw click rate | weighted | uncorrected | ours |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | "
        + " | ".join(
            "{:.1%} / {:.1%}".format(*row["mended_and_kept"][each])
            for each in ("raw", "weighted", "uncorrected", "ours")
        )
        + " |"
        for name, row in result["worlds"].items()
    ]
    lines += [
        "",
        "## Judgments and preferences",
        "",
        "Said: relevant or not with at least min_certainty. Expected calibration errors of the side and of the grade.",
        "",
        "| world | kind | side right | said | of these right | error, side | error, grade |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {kind} | {each['side_accuracy']:.1%} | {each['share_said']:.0%} | {each['accuracy_said']:.1%} "
        f"| {each['calibration_error_side']:.3f} | {each['calibration_error_grade']:.3f} |"
        for name, row in result["worlds"].items()
        for kind, each in row["judgments"].items()
    ]
    lines += [
        "",
        "| world | preferences right | as they claim | clicked over skipped above alone |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {row['preferences']['ours']:.1%} | {row['preferences']['claimed']:.1%} "
        f"| {row['preferences']['skipped_above']:.1%} |"
        for name, row in result["worlds"].items()
    ]
    lines += [
        "",
        "## Speed",
        "",
        "From a table of events to judgments and preferences, propensities among it; memory is the process's largest, "
        "the simulated log among it.",
        "",
        "| events | impressions | wall s | CPU s | CPU µs an event | GiB | before |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['events']:,} | {row['impressions']:,} | {row['wall_seconds']:.1f} | {row['cpu_seconds']:.1f} "
        f"| {1e6 * row['cpu_seconds'] / row['events']:.1f} | {row['gigabytes']:.2f} | {row['gigabytes_before']:.2f} |"
        for row in result["speed"]
    ]
    return "\n".join([*lines, "", "Again: `python benchmarks/feedback.py`.", ""])


def headline(result: dict[str, Any]) -> str:
    largest, poor = result["speed"][-1], result["worlds"]["poor rankers"]
    held = np.average([row["in_interval"] for row in result["propensities"]])
    said = poor["judgments"]["ours"]
    return (
        f"{largest['events']:,} events in {largest['wall_seconds']:.1f} s and {largest['gigabytes']:.1f} GiB; true "
        f"propensities in {held:.0%} of the 95 % intervals; NDCG {poor['ndcg']['ours']:.3f} against "
        f"{poor['ndcg']['raw']:.3f} by raw click rates (poor rankers); sides said right {said['accuracy_said']:.1%}, "
        f"calibration error {said['calibration_error_side']:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--time", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.time:
        print(json.dumps(timed(given.time)))
        return
    before = machine()
    worlds = {name: judgments(given.events, given.seeds, noise) for name, noise in RANKERS.items()}
    worlds |= {
        f"broken: {users}": judgments(given.events, given.seeds, RANKERS["poor rankers"], users=users)
        for users in ("trust", "cascade")
    }
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": before,
        "events": given.events,
        "propensities": propensities(given.events // 3, PROPENSITY_LOGS),
        "worlds": worlds,
        "speed": [speed(events) for events in (given.largest // 100, given.largest // 10, given.largest)],
    }
    result = {"headline": headline(result)} | result
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "feedback.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.output / "feedback.md").write_text(page(result), encoding="utf-8")
    print(result["headline"])


if __name__ == "__main__":
    main()
