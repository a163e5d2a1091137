"""Does the gate keep its promises, and what are they worth? Simulated comparisons on resampled real outcomes.

    python benchmarks/gate.py EVALUATION [EVALUATION …] [--runs 2400] [--against retrieval_only]

EVALUATION is the folder of an evaluation in a workspace (`objects/evaluations/…` after `make demo` or `rerankops
trial`); the first one's outcomes are the world of every table, the others join in the choice between metrics. Each
comparison resamples questions and makes a contender of known quality (rerankops.promotion.power). Settings are the
defaults of configs/base.yaml. "Before" is the gate up to 2026-11-30, kept here as a baseline: exact McNemar and a
bootstrap bound at .05 at every look, up to ten looks, and a margin of 3 points with a point rule in strata.
Results go to benchmarks/results/gate.{json,md}; the choice between tests for strata is benchmarks/strata_tests.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from adaptive import analyst
from scipy import stats

from rerankops import config
from rerankops.evaluation import significance
from rerankops.evaluation.ladder import COLUMNS
from rerankops.promotion.evidence import SMALL
from rerankops.promotion.gate import decide
from rerankops.promotion.power import Effect, Look, Population, decisions, made, noticed_losses

RESULTS = Path(__file__).resolve().parent / "results"
SIZES, GAINS, LOSSES = (200, 600, 2000), (0.03, 0.05, 0.10), (0.03, 0.05, 0.10)
MARGIN, ALPHA = 0.03, 0.05
"""Of the gate before."""


@dataclass(frozen=True)
class Share:
    """Of simulated comparisons, with its exact 95 % interval."""

    hits: int
    runs: int

    @property
    def value(self) -> float:
        return self.hits / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        found = stats.binomtest(self.hits, self.runs).proportion_ci(0.95, "exact")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


# -- the gate before -------------------------------------------------------------------------------------------------


def before(differences: np.ndarray, strata: np.ndarray, seed: int) -> tuple[bool, bool]:
    """Whether superiority passed, and whether every stratum did; as it was decided up to 2026-11-30."""
    low = significance.bootstrap_lower_bound(differences, alpha=ALPHA, samples=500, seed=seed)
    better = low > 0 and significance.p_greater(differences, samples=1000, seed=seed) < ALPHA
    parts = [part for name in np.unique(strata) if (part := differences[strata == name]).size >= 20]
    p_values = significance.holm([significance.p_non_inferior(part, margin=MARGIN) for part in parts])
    fine = [
        p < ALPHA or not (part.mean() < -MARGIN and part.sum() < -1) for part, p in zip(parts, p_values, strict=True)
    ]
    return better, all(fine)


def old_decisions(
    population: Population, effect: Effect, *, runs: int, seed: int, n: int
) -> Iterator[tuple[bool, bool]]:
    first = next(iter(population.values))
    for run in range(runs):
        strata, values = made(population, effect, np.random.default_rng([seed, run]), n)
        contender, incumbent = values[first]
        yield before(contender - incumbent, strata, run)


# -- tables ----------------------------------------------------------------------------------------------------------


def contenders(population: Population, asked: Any, most: int) -> list[dict[str, Any]]:
    """What becomes of contenders of known quality at a first look, before and after. The one that is no better has
    four times the runs: its rows hold the error rates that are promised."""
    first = next(iter(population.values))
    rows = []
    cases = [("no better", Effect())]
    cases += [(f"+{100 * gain:g}", Effect(gain)) for gain in GAINS]
    for place, (case, effect) in enumerate(cases):
        runs = 4 * most if place == 0 else most // 2
        for n in SIZES:
            seed = 1000 + 10 * place
            old = list(old_decisions(population, effect, runs=runs, seed=seed, n=n))
            new = list(decisions(population, asked, effect, runs=runs, seed=seed, look=Look(n, accepted=False)))
            failed = [any(r.verdict == "failed" and "stratum" in r.name for r in one.rules) for one in new]
            better = [one.promote or bool(one.cannot_tell_about) for one in new]
            rows.append(
                {
                    "contender": f"{case} of {first}" if case != "no better" else case,
                    "questions": n,
                    "promoted before": Share(sum(better_ and fine for better_, fine in old), runs),
                    "promoted or for a person to accept": Share(sum(better), runs),
                    "of these promoted at once": Share(sum(one.promote for one in new), runs),
                    "refused for strata before": Share(sum(not fine for _, fine in old), runs),
                    "refused for strata": Share(sum(failed), runs),
                }
            )
            print(rows[-1]["contender"], n, *map(str, list(rows[-1].values())[2:]), sep="; ", flush=True)
    return rows


def harmed(population: Population, asked: Any, runs: int) -> list[dict[str, Any]]:
    """A contender that gains 5 points overall and loses in one stratum: which losses are stopped or asked about."""
    sizes = dict(zip(*(found.tolist() for found in np.unique(population.strata, return_counts=True)), strict=True))
    name = min(sizes, key=sizes.__getitem__)
    rows = []
    for n in SIZES:
        part = max(1, round(n * sizes[name] / population.n))
        for loss in LOSSES:
            effect, seed = Effect(0.05, {name: loss}), 5000 + n + int(1000 * loss)
            old = list(old_decisions(population, effect, runs=runs, seed=seed, n=n))
            new = list(decisions(population, asked, effect, runs=runs, seed=seed, look=Look(n, accepted=False)))
            told = [next(r for r in one.rules if r.name == f"challenger: stratum {name}") for one in new]
            rows.append(
                {
                    "questions of the stratum": part,
                    "of all": n,
                    "loss": loss,
                    "promoted before": Share(sum(better and fine for better, fine in old), runs),
                    "promoted": Share(sum(one.promote for one in new), runs),
                    "shown to be worse": Share(sum(r.verdict == "failed" for r in told), runs),
                    "cannot tell": Share(sum(r.verdict == "cannot tell" for r in told), runs),
                }
            )
            print("harmed", n, loss, *map(str, list(rows[-1].values())[3:]), sep="; ", flush=True)
    return rows


def noticed(population: Population, asked: Any, runs: int) -> list[dict[str, Any]]:
    """The loss that each stratum's rule says is noticed four times in five, and how often it then is."""
    rows = []
    for n in SIZES:
        chosen = population.resized(n, np.random.default_rng(7))
        values = {metric: (one[chosen], other[chosen]) for metric, (one, other) in population.values.items()}
        sample = Population(values, population.strata[chosen])
        for name, found in noticed_losses(sample, asked).items():
            if found.loss is None or name == SMALL:
                continue
            made_ = decisions(sample, asked, Effect(0.03, {name: found.loss}), runs=runs, seed=9000 + n, look=Look(n))
            worse = sum(r.verdict == "failed" for one in made_ for r in one.rules if r.name.endswith(f"stratum {name}"))
            rows.append(
                {
                    "stratum": name,
                    "questions": found.questions,
                    "of all": n,
                    "loss noticed four times in five": found.loss,
                    "noticed in simulation": Share(worse, runs),
                }
            )
            print("noticed", n, name, found, str(rows[-1]["noticed in simulation"]), flush=True)
    return rows


def metrics_choice(worlds: Mapping[str, Population], runs: int) -> list[dict[str, Any]]:
    """Promotion by superiority alone at a first look, for shares of the first metric and margins."""
    level, rows = ALPHA / 2, []
    margins, ranking = (0.02, 0.03, 0.05), "ndcg@10"
    for world, population in worlds.items():
        everywhere = np.unique(population.strata).tolist()
        cases = [
            ("nothing", Effect(), margins),
            ("+3 accuracy", Effect(0.03), margins),
            ("+5 accuracy", Effect(0.05), margins),
            ("+1 accuracy, +5 ranking", Effect(0.01, further={ranking: 0.05}), margins),
            ("0 accuracy, +3 ranking", Effect(further={ranking: 0.03}), margins),
            *(
                (f"−{100 * m:g} accuracy, +10 ranking", Effect(-m, dict.fromkeys(everywhere, m), {ranking: 0.1}), (m,))
                for m in margins
            ),
        ]
        for kind, effect, asked in cases:
            found = np.asarray([_p_values(population, effect, asked, run) for run in range(runs)])
            for place, margin in enumerate(asked):
                row: dict[str, Any] = {"world": world, "questions": population.n, "contender": kind, "margin": margin}
                for share in (1.0, 0.9, 0.8, 0.5):
                    first = found[:, 0] <= share * level
                    second = (found[:, 1] <= (1 - share) * level) & (found[:, 2 + place] <= level)
                    row[f"first metric's share {share:g}"] = Share(int(np.sum(first | second)), runs)
                rows.append(row)
                print(*map(str, row.values()), sep="; ", flush=True)
    return rows


def _p_values(population: Population, effect: Effect, margins: Sequence[float], run: int) -> list[float]:
    _, values = made(population, effect, np.random.default_rng([77, run]), population.n)
    (contender, incumbent), ranking = values["accuracy"], values["ndcg@10"]
    difference = contender - incumbent
    return [
        significance.p_better(difference),
        significance.p_better(ranking[0] - ranking[1]),
        *(significance.p_non_inferior(difference, margin=margin) for margin in margins),
    ]


def ten_looks(population: Population, asked: Any, runs: int) -> list[dict[str, Any]]:
    """An analyst who is never better and uses all that is published, ten looks long."""
    rows = []
    for policy in ("before", "verdicts", "figures over the reserve"):
        hits = [analyst(population, asked, policy, before, decide, seed=run) for run in range(runs)]
        firsts = [hit for hit in hits if hit]
        row = {
            "what is published": policy,
            "falsely promoted within ten looks": Share(len(firsts), runs),
            "at the first": Share(sum(hit == 1 for hit in hits), runs),
            "median look of a false promotion": float(np.median(firsts)) if firsts else None,
        }
        rows.append(row)
        print(*map(str, row.values()), sep="; ", flush=True)
    return rows


def sizes_of_mid_p() -> list[dict[str, Any]]:
    """The largest chance that mid-p, and the exact test, reject equal systems, over 1 to 200 expected discordant
    questions (Poisson)."""
    rows = []
    for level in (0.1, 0.1 / 3, 0.025, 0.02, 0.0125, 0.00625):
        trials = np.arange(401)
        row: dict[str, Any] = {"level": level}
        for name, p in (
            ("mid-p", stats.binom.sf(trials[None] - 1, trials[:, None], 0.5)
             - stats.binom.pmf(trials[None], trials[:, None], 0.5) / 2),
            ("exact", stats.binom.sf(trials[None] - 1, trials[:, None], 0.5)),
        ):  # fmt: skip
            fewest = np.where((p <= level).any(1), (p <= level).argmax(1), trials + 1)
            rejected = stats.binom.sf(fewest - 1, trials, 0.5)
            expected = np.concatenate([np.arange(1, 40, 0.25), np.arange(40, 201, 5)])
            size = [float(stats.poisson.pmf(trials, mean) @ rejected) for mean in expected]
            row[f"largest size of {name}"] = max(size)
        rows.append(row)
    return rows


# -- in and out ------------------------------------------------------------------------------------------------------


def load(folder: Path, of: str, against: str) -> Population:
    """Accuracy and ndcg@10 of two systems on the questions that have both."""
    metrics = ("accuracy", "ndcg@10")
    columns = [COLUMNS[metric] for metric in metrics]
    frames = [pl.read_parquet(folder / f"{name}.parquet").drop_nulls(columns) for name in (of, against)]
    joined = frames[0].join(frames[1], on="question_id", suffix="_other").sort("question_id")
    values = {
        metric: (
            joined[column].cast(pl.Float64).to_numpy().copy(),
            joined[f"{column}_other"].cast(pl.Float64).to_numpy().copy(),
        )
        for metric, column in zip(metrics, columns, strict=True)
    }
    return Population(values, joined["stratum"].to_numpy().astype(str))


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As JSON has them."""

    def one(value: Any) -> Any:
        if isinstance(value, Share):
            return {"share": value.value, "interval": list(value.interval), "runs": value.runs}
        return value

    return [{key: one(value) for key, value in row.items()} for row in rows]


def table(rows: list[dict[str, Any]]) -> list[str]:
    def told(value: Any) -> str:
        if isinstance(value, dict):
            low, high = (100 * end for end in value["interval"])
            return f"{100 * value['share']:.1f} % ({low:.1f} to {high:.1f})"
        return f"{value:.3g}" if isinstance(value, float) else "–" if value is None else str(value)

    head = list(rows[0])
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(told(value) for value in row.values())} |" for row in rows),
    ]


TITLES = {
    "looks": "Ten looks at the same gold questions by an analyst who is never better",
    "contenders": "Contenders of known quality at a first look",
    "harmed": "+5 points overall, with a loss in the smallest stratum",
    "noticed": "The loss that each stratum's rule says it notices, and how often it does",
    "metrics": "Which share of the level the first metric has, and which margin: promoted for being better",
    "sizes": "McNemar's test: how often equal systems are told apart",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluations", type=Path, nargs="+", metavar="EVALUATION")
    parser.add_argument("--names", nargs="*", default=[], help="of the worlds, in the order of the evaluations")
    parser.add_argument("--of", default="challenger")
    parser.add_argument("--against", default="retrieval_only")
    parser.add_argument("--runs", type=int, default=2400, help="± 1 point at 5 %%")
    parser.add_argument("--only", choices=list(TITLES), nargs="*", default=list(TITLES))
    parser.add_argument("--name", default="gate", help="of the result files")
    chosen = parser.parse_args()

    began = time.monotonic()
    names = [*chosen.names, *(f"world {place}" for place in range(len(chosen.names), len(chosen.evaluations)))]
    worlds = {
        name: load(folder, chosen.of, chosen.against) for name, folder in zip(names, chosen.evaluations, strict=True)
    }
    population, asked = next(iter(worlds.values())), config.load(environ={}).promotion
    make: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "looks": lambda: ten_looks(population, asked, chosen.runs),
        "contenders": lambda: contenders(population, asked, chosen.runs),
        "harmed": lambda: harmed(population, asked, chosen.runs // 4),
        "noticed": lambda: noticed(population, asked, chosen.runs // 4),
        "metrics": lambda: metrics_choice(worlds, chosen.runs // 2),
        "sizes": sizes_of_mid_p,
    }
    for name in chosen.only:
        write(chosen, worlds, name, plain(make[name]()), time.monotonic() - began)
    print((RESULTS / f"{chosen.name}.md").read_text().rstrip().splitlines()[-1])


def write(
    chosen: argparse.Namespace,
    worlds: Mapping[str, Population],
    name: str,
    rows: list[dict[str, Any]],
    seconds: float,
) -> None:
    """One table into the results; the others stay as they are."""
    path = RESULTS / f"{chosen.name}.json"
    stored = json.loads(path.read_text()) if path.is_file() else {}
    tables = stored.get("tables", {}) | {
        name: {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "systems": [chosen.of, chosen.against],
            "worlds": {key: told(world) for key, world in worlds.items()},
            "seconds": round(seconds, 1),
            "rows": rows,
        }
    }
    ordered = {key: tables[key] for key in TITLES if key in tables}
    last = conclusion(ordered)
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps({"tables": ordered, "worth": last}, indent=1, ensure_ascii=False) + "\n")
    lines = ["# The gate's odds", "", "By benchmarks/gate.py; shares with their exact 95 % intervals.", ""]
    for key, found in ordered.items():
        worlds_ = "; ".join(f"{world}: {about}" for world, about in found["worlds"].items())
        lines += [f"## {TITLES[key]}", "", *table(found["rows"]), ""]
        lines += [f"{found['date']}, {found['machine']}; {' and '.join(found['systems'])}; {worlds_}.", ""]
    (RESULTS / f"{chosen.name}.md").write_text("\n".join([*lines, last]) + "\n")


def told(world: Population) -> str:
    sizes = dict(zip(*(found.tolist() for found in np.unique(world.strata, return_counts=True)), strict=True))
    one, other = world.values["accuracy"]
    parts = ", ".join(f"{name} {count}" for name, count in sizes.items())
    return f"{world.n} questions ({parts}), {100 * float(np.mean(one != other)):.1f} % answered by one alone"


def conclusion(tables: Mapping[str, Any]) -> str:
    if "looks" not in tables:
        return ""
    old, new = (row["falsely promoted within ten looks"] for row in tables["looks"]["rows"][:2])
    ratio = old["share"] / max(new["share"], 1 / new["runs"])
    return (
        f"Within ten looks an analyst who is never better is promoted in {100 * old['share']:.1f} % of cases before, "
        f"in {100 * new['share']:.1f} % now: {ratio:.0f} times less often."
    )


if __name__ == "__main__":
    main()
