"""Does the gate keep its promises? Simulated comparisons on resampled real per-question outcomes.

    python benchmarks/gate.py EVALUATION [--of challenger] [--against retrieval_only] [--metric accuracy] [--runs 1000]

EVALUATION is the folder of an evaluation in a workspace (`objects/evaluations/…` after `make demo`). Each comparison
resamples its questions and makes a contender of known quality (see rerankops.promotion.power); the settings are the
defaults of configs/base.yaml. Effects come from the power analysis with other seeds than the comparisons.
Results go to benchmarks/results/gate.{json,md}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from rerankops import config
from rerankops.evaluation.ladder import COLUMNS
from rerankops.promotion.power import POWER, Effect, Population, detectable_gain, simulate, stopped_loss

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--of", default="challenger")
    parser.add_argument("--against", default="retrieval_only")
    parser.add_argument("--metric", choices=list(COLUMNS), default="accuracy")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--name", default="gate", help="of the result files")
    chosen = parser.parse_args()

    began = time.monotonic()
    population = load(chosen.evaluation, chosen.of, chosen.against, chosen.metric)
    asked = config.load(environ={}).promotion
    strata, counts = (found.tolist() for found in np.unique(population.strata, return_counts=True))
    gain = detectable_gain(population, asked, runs=400, seed=11)
    if gain is None:
        raise SystemExit("not even a gain of 25 points is noticed with these questions")
    losses = {name: stopped_loss(population, asked, name, gain=gain, runs=400, seed=12) for name in strata}

    cases = [("no better", Effect(), False)]
    cases += [(f"{100 * gain:g} points better", Effect(gain), True)]
    cases += [
        (f"{100 * gain:g} points better, {100 * loss:g} worse in {name}", Effect(gain, {name: loss}), False)
        for name, loss in losses.items()
        if loss is not None
    ]
    rows = []
    for number, (case, effect, wanted) in enumerate(cases):
        promoted = simulate(population, asked, effect, runs=chosen.runs, seed=100 + number)
        hits = int(promoted.sum())
        interval = stats.binomtest(hits, chosen.runs).proportion_ci(0.95, "exact")
        if wanted:
            goal, holds = f"promoted >= {POWER:.0%}", hits / chosen.runs >= POWER
        elif effect.losses:
            goal, holds = f"stopped >= {POWER:.0%}", 1 - hits / chosen.runs >= POWER
        else:
            # the one-sided bound that a gate of exactly alpha would exceed one time in twenty
            bound = float(stats.binom.ppf(0.95, chosen.runs, asked.alpha)) / chosen.runs
            goal, holds = f"promoted <= {asked.alpha:.0%} (binomial bound {bound:.1%})", hits / chosen.runs <= bound
        rows.append(
            {
                "contender": case,
                "promoted": hits / chosen.runs,
                "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
                "goal": goal,
                "holds": bool(holds),
            }
        )
        print(f"{case}: promoted {hits / chosen.runs:.1%} [{interval.low:.1%}, {interval.high:.1%}], {goal}")
    write(chosen, population, dict(zip(strata, counts, strict=True)), rows, time.monotonic() - began)
    null, better = rows[0]["promoted"], rows[1]["promoted"]
    stopped = min((1 - row["promoted"] for row in rows[2:]), default=float("nan"))
    print(
        f"{null:.1%} of equal contenders promoted, {better:.1%} of those {100 * gain:g} points better, at least "
        f"{stopped:.1%} of those worse in a stratum stopped, {chosen.runs} comparisons each"
    )


def load(folder: Path, of: str, against: str, metric: str) -> Population:
    frames = [
        pl.read_parquet(folder / f"{name}.parquet").sort("question_id").drop_nulls(COLUMNS[metric])
        for name in (of, against)
    ]
    joined = frames[0].join(frames[1], on="question_id", suffix="_other")
    values = [joined[name].cast(pl.Float64).to_numpy() for name in (COLUMNS[metric], f"{COLUMNS[metric]}_other")]
    return Population(metric, *values, joined["stratum"].to_numpy().astype(str))


def write(
    chosen: argparse.Namespace,
    population: Population,
    strata: dict[str, int],
    rows: list[dict[str, object]],
    seconds: float,
) -> None:
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "questions": strata,
        "metric": chosen.metric,
        "systems": [chosen.of, chosen.against],
        "discordant": round(float(np.mean(population.one != population.other)), 4),
        "runs": chosen.runs,
        "seconds": round(seconds, 1),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{chosen.name}.json").write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    lines = [
        "# The gate's odds",
        "",
        f"{about['date']}, {about['machine']}. {population.n} questions ({strata}), {chosen.metric}, {chosen.of} and "
        f"{chosen.against} differing on {about['discordant']:.1%}; {chosen.runs} simulated comparisons a row.",
        "",
        "| contender | promoted | 95 % interval | goal | holds |",
        "|---|---|---|---|---|",
        *(
            f"| {row['contender']} | {row['promoted']:.1%} | {row['interval'][0]:.1%} to {row['interval'][1]:.1%} "
            f"| {row['goal']} | {'yes' if row['holds'] else 'no'} |"
            for row in rows
        ),
    ]
    (RESULTS / f"{chosen.name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
