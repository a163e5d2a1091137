"""Training groups: each judged query with its relevant passages and the hard negatives to tell them from.

Hard negatives are passages that the incumbent ranks high and people judged irrelevant; where there are too few, they
are mined from the incumbent's own first candidates.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from rerankops.errors import GoldLeak, InputError
from rerankops.records import ORIGINS, RELEVANT_GRADE, Judgment, TrainingGroup

COUNTS = (
    "groups",
    "pairs",
    "positives",
    "negatives_judged",
    "negatives_mined",
    "suspected_false_negatives",
    "left_the_corpus",
    "dropped_without_positive",
    "dropped_without_negative",
    "train",
    "dev",
)
"""What build_groups counts. pairs = positives + negatives."""
MINED_WEIGHT = 1.0
"""Weight of a mined negative: nobody judged it, so it has no confidence of its own and counts as a certain one."""
PEOPLE = ("human", "imported")
"""The origins of judgments that somebody made about a query and a passage."""


def intake(judgments: pa.Table, preferences: pa.Table, *, weights: Mapping[str, float]) -> pa.Table:
    """One judgment a query and passage, of whom is trusted most, its confidence times the weight of its origin.

    judgments: records.Judgment; the first of ORIGINS wins (people before feedback before a teacher), and origins of
    weight 0 are not asked. preferences: records.Preference, of which those of all users together count, for queries
    that nobody of PEOPLE judged. What is preferred to something, and to what nothing is preferred, becomes a judgment
    of RELEVANT_GRADE; what such a passage is preferred to becomes one of the grade below. Its confidence is the mean
    weight of those preferences. A passage that is judged already keeps its judgment. Returns records.Judgment, sorted.
    """
    share = pl.col("origin").replace_strict(list(weights), list(weights.values()), default=1.0, return_dtype=pl.Float64)
    believed = pl.DataFrame(pl.from_arrow(judgments)).filter(share > 0)
    preferred = _preferred(pl.DataFrame(pl.from_arrow(preferences)).filter(share > 0))
    preferred = preferred.join(believed.filter(pl.col("origin").is_in(PEOPLE)), on="query_id", how="anti")
    preferred = preferred.join(believed, on=["query_id", "passage_id"], how="anti")
    one = _one_origin(pl.concat([believed, preferred]))
    weighted = one.with_columns(confidence=(pl.col("confidence") * share).clip(0, 1))
    return Judgment.conform(weighted.sort(Judgment.key).to_arrow())


def of_people(judgments: pa.Table, *, least: int) -> pa.Table:
    """The judgments of PEOPLE, or all when they judged fewer than `least` queries: what models are chosen by."""
    theirs = pl.DataFrame(pl.from_arrow(judgments)).filter(pl.col("origin").is_in(PEOPLE))
    return Judgment.conform(theirs.to_arrow()) if theirs["query_id"].n_unique() >= least else judgments


def build_groups(
    judgments: pa.Table,
    candidates: pa.Table,
    passages: pa.Table,
    *,
    negatives_per_positive: int,
    hard_negative_depth: int,
    false_negative_margin: float,
    dev_share: float,
    seed: int,
    gold_query_ids: Collection[str] = frozenset(),
    least_of_people: int = 1,
    outside: Collection[str] = frozenset(),
    max_lost_share: float = 1.0,
) -> tuple[pa.Table, dict[str, int]]:
    """One group a judged query that has something to learn from, and the counts of COUNTS.

    judgments: records.Judgment; where a pair was judged by several origins the first of ORIGINS wins (see intake).
    Those about passages that have left the corpus are left out and counted, whoever gave them. candidates: query_id,
    passage_id, rank and score, in the incumbent's order (rank 1 best). passages: records.Passage. gold_query_ids: the
    gold questions' queries and their near-duplicates. outside: ids of passages that retrieval cannot return because the
    corpus does not have them, as imported sets bring them.

    Positives: every passage of grade >= 2. Negatives, negatives_per_positive for each positive: first the judged
    ones of grade <= 1 within the incumbent's first hard_negative_depth, highest first; then judged ones from outside,
    of which nobody can say how hard they are; then unjudged candidates from the same depth, highest first. An unjudged
    candidate whose score is above false_negative_margin times that of the query's lowest positive is suspected to be an
    unlabelled positive and is not used: positive-aware mining, "TopK with percentage to positive" (Moreira et al.,
    "NV-Retriever", 2024). A share of a score means something only
    where 0 means "not at all", so when the incumbent gives negative scores (logits, blends) the scores of each query
    are first moved up until its lowest candidate has 0. Where the incumbent did not return the positive there is no
    score to compare with, and nothing is mined.

    Split: a query is in dev when the hash of its id and the seed falls below dev_share. A query never moves when
    others arrive, and every stratum is split in about the same share. What is chosen on dev should rest on what people
    said: where they judged least_of_people queries, those that they did not judge are all in train.

    Raises GoldLeak when a judged query is among gold_query_ids, InputError when more than the share max_lost_share of
    the judgments are about passages that left the corpus.
    """
    leaked = sorted(set(judgments.column("query_id").to_pylist()) & set(gold_query_ids))
    if leaked:
        raise GoldLeak(
            f"{len(leaked)} judged queries are gold questions or near-duplicates of one, the first is {leaked[0]}; "
            "remove their judgments"
        )
    texts = {row["passage_id"]: row for row in passages.select(["passage_id", "title", "text"]).to_pylist()}
    ranked = _by_query(_scores_from_zero(pl.DataFrame(pl.from_arrow(candidates))))
    counts: Counter[str] = Counter()
    present = about(judgments, texts)
    _refuse_lost(judgments, present, at_most=max_lost_share)
    measuring = set(of_people(present, least=least_of_people).column("query_id").to_pylist())
    rows = []
    for query_id, everything in _by_query(_one_origin(pl.DataFrame(pl.from_arrow(judgments)))).items():
        judged = [row for row in everything if row["passage_id"] in texts]
        counts["left_the_corpus"] += len(everything) - len(judged)
        group = _group(
            judged,
            [row for row in ranked.get(query_id, []) if row["passage_id"] in texts],
            wanted=negatives_per_positive,
            depth=hard_negative_depth,
            margin=false_negative_margin,
            outside=outside,
            counts=counts,
        )
        if group is None:
            continue
        positives, negatives = group
        split = "dev" if query_id in measuring and share_of(query_id, seed) < dev_share else "train"
        counts.update({"groups": 1, split: 1, "positives": len(positives), "pairs": len(positives) + len(negatives)})
        rows.append(
            {
                "query_id": query_id,
                "query_text": judged[0]["query_text"],
                "stratum": judged[0]["stratum"],
                "split": split,
                "positives": [_graded(row, texts) for row in positives],
                "negatives": [_graded(row, texts) for row in negatives],
            }
        )
    return TrainingGroup.table(rows), {name: counts[name] for name in COUNTS}


def about(judgments: pa.Table, passage_ids: Collection[str]) -> pa.Table:
    """The judgments of these passages."""
    known = pl.Series(list(passage_ids), dtype=pl.String).implode()
    return Judgment.conform(pl.DataFrame(pl.from_arrow(judgments)).filter(pl.col("passage_id").is_in(known)).to_arrow())


def _refuse_lost(judgments: pa.Table, present: pa.Table, *, at_most: float) -> None:
    lost = judgments.num_rows - present.num_rows
    if lost and lost / judgments.num_rows > at_most:
        there = set(present["passage_id"].to_pylist())
        gone = next(row for row in judgments.to_pylist() if row["passage_id"] not in there)
        raise InputError(
            f"{lost} of {judgments.num_rows} judgments are about passages that left the corpus, such as "
            f"{gone['passage_id']} of query {gone['query_id']}; at most the share {at_most} is expected "
            "(quality.max_lost_judgment_share). Was the corpus cut into other passages, or given other ids? Then give "
            "passages their ids back, or label anew; where so many did leave, raise the setting"
        )


def share_of(query_id: str, seed: int) -> float:
    """A number in [0, 1) that depends on the query and the seed alone."""
    digest = hashlib.blake2b(f"{seed}:{query_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def shuffle_labels(judgments: pa.Table, seed: int) -> pa.Table:
    """The negative control: grades permuted among the judged passages of each query, together with their confidence
    and annotator count, each origin apart. What is trained on this has nothing to learn, and must not be promoted."""
    frame = pl.DataFrame(pl.from_arrow(judgments)).sort("query_id", "origin", "passage_id").with_row_index("row")
    taken = frame["row"].to_numpy().copy()
    for part in frame.partition_by("query_id", "origin", maintain_order=True):
        key = f"{seed}:{part['query_id'][0]}:{part['origin'][0]}"
        source = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
        rows = part["row"].to_numpy()
        taken[rows] = np.random.default_rng(source).permutation(rows)
    labels = frame[taken].select("grade", "confidence", "annotator_count")
    return Judgment.conform(frame.drop("row", *labels.columns).hstack(labels).select(Judgment.columns).to_arrow())


def _group(
    judged: list[dict[str, Any]],
    ranked: list[dict[str, Any]],
    *,
    wanted: int,
    depth: int,
    margin: float,
    outside: Collection[str],
    counts: Counter[str],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    grades = {row["passage_id"]: row for row in judged}
    positives = [row for row in judged if row["grade"] >= RELEVANT_GRADE]
    if not positives:
        counts["dropped_without_positive"] += 1
        return None
    room = wanted * len(positives)
    near = [row for row in ranked if row["rank"] <= depth]
    hard = [grades[row["passage_id"]] for row in near if row["passage_id"] in grades]
    hard += [row for row in judged if row["passage_id"] in outside]
    negatives = [row for row in hard if row["grade"] < RELEVANT_GRADE][:room]
    counts["negatives_judged"] += len(negatives)
    relevant = {row["passage_id"] for row in positives}
    scores = [row["score"] for row in ranked if row["passage_id"] in relevant]
    for row in near if scores else []:
        if len(negatives) >= room:
            break
        if row["passage_id"] in grades:
            continue
        if row["score"] > margin * min(scores):
            counts["suspected_false_negatives"] += 1
            continue
        negatives.append({"passage_id": row["passage_id"], "grade": None, "confidence": MINED_WEIGHT})
        counts["negatives_mined"] += 1
    if not negatives:
        counts["dropped_without_negative"] += 1
        return None
    return positives, negatives


def _graded(row: Mapping[str, Any], texts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    passage = texts[row["passage_id"]]
    return {
        "passage_id": row["passage_id"],
        "title": passage["title"],
        "text": passage["text"],
        "grade": row["grade"],
        "weight": row["confidence"],
    }


def _preferred(preferences: pl.DataFrame) -> pl.DataFrame:
    """Judgments (unsorted) that preferences of all users amount to."""
    general = preferences.filter(pl.col("user_group").is_null())
    side = ["query_id", "passage_id"]
    better = general.rename({"better_passage_id": "passage_id"})
    worse = general.rename({"worse_passage_id": "passage_id"})
    best = better.join(worse, on=side, how="anti")
    beaten = worse.join(best, left_on=["query_id", "better_passage_id"], right_on=side, how="semi")
    about = (*side, "query_text", "stratum", "weight", "origin")
    grades = {RELEVANT_GRADE: best, RELEVANT_GRADE - 1: beaten}
    return (
        pl.concat([part.select(*about, grade=pl.lit(grade, pl.Int8)) for grade, part in grades.items()])
        .group_by(*side, "origin")
        .agg(pl.col("query_text", "stratum", "grade").first(), confidence=pl.col("weight").mean())
        .with_columns(annotator_count=pl.lit(0, pl.Int32))
        .select(Judgment.columns)
    )


def _one_origin(judgments: pl.DataFrame) -> pl.DataFrame:
    order = pl.col("origin").replace_strict(
        {origin: place for place, origin in enumerate(ORIGINS)}, default=len(ORIGINS)
    )
    return (
        judgments.sort("query_id", "passage_id", order)
        .unique(["query_id", "passage_id"], keep="first", maintain_order=True)
        .sort("query_id", pl.col("grade"), "passage_id", descending=[False, True, False])
    )


def _scores_from_zero(candidates: pl.DataFrame) -> pl.DataFrame:
    """Scores as they are when none is negative, else with each query's lowest at 0."""
    ordered = candidates.select("query_id", "passage_id", "rank", "score").sort("query_id", "rank", "passage_id")
    lowest = ordered["score"].min()
    if isinstance(lowest, float) and lowest < 0:
        return ordered.with_columns(score=pl.col("score") - pl.col("score").min().over("query_id"))
    return ordered


def _by_query(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    def parts() -> Iterator[tuple[str, list[dict[str, Any]]]]:
        for part in frame.partition_by("query_id", maintain_order=True):
            yield part["query_id"][0], part.to_dicts()

    return dict(parts())
