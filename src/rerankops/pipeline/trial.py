"""What would the loop give on a labelled set of one's own? The same steps, the set's labels in place of annotators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from rerankops.errors import InputError
from rerankops.pipeline import corpus, index
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.corpus import CORPUS, GOLD
from rerankops.pipeline.flows import Retraining, Tell, retrain
from rerankops.pipeline.judgments import take_in
from rerankops.pipeline.queries import gold_texts, search
from rerankops.pipeline.set_aside import reading_of
from rerankops.queries.datasets import Dataset, read_dataset
from rerankops.queries.normalise import identify, near_to
from rerankops.records import GRADES, GoldQuestion, Judgment, Passage
from rerankops.workspace import Address

_CANDIDATES_A_LABEL = 2
"""Questions looked at for each one that is labelled: some have no relevant passage among their candidates."""


def run(
    context: Context,
    folder: Path,
    *,
    train_split: str,
    gold_split: str,
    labels: int,
    tell: Tell,
    grades: str = "auto",
) -> Retraining:
    """Loads the set, judges at most `labels` query-passage pairs from its own labels, retrains and gates.

    grades: how the set's scores become grades (queries.grading).
    """
    tell("read the set")
    with reading_of(context, "dataset") as aside:
        dataset = read_dataset(
            folder,
            context.settings.reading,
            train_split=train_split,
            gold_split=gold_split,
            grades=grades,
            aside=aside,
        )
    passages, _, train = load_dataset(dataset, context=context)
    tell("embed passages")
    vectors = corpus.embed_corpus(passages, context=context)
    tell("build index")
    built = index.build_index(passages, vectors, context=context)
    index.serve_index(built, context=context)
    tell("judge by the set's labels")
    judge_by_dataset(train, built, labels, context=context)
    return retrain(context, tell)


@step
def load_dataset(context: Context, dataset: Dataset) -> tuple[Address, Address, Address]:
    """Publishes the set's passages, gold questions and training questions; points `corpus` and `gold` at them."""
    workspace = context.workspace
    passages = workspace.publish(
        Passage, dataset.passages, step="load_corpus", counts={"passages": dataset.passages.num_rows}
    )
    gold = workspace.publish(
        GoldQuestion, dataset.gold, step="load_gold", counts={"gold_questions": dataset.gold.num_rows}
    )
    train = workspace.publish(GoldQuestion, dataset.train, step="load_training_questions")
    workspace.point(CORPUS, passages)
    workspace.point(GOLD, gold)
    return passages, gold, train


@step
def judge_by_dataset(context: Context, questions: Address, index: Address, labels: int) -> Address:
    """Judgments from a set's own labels, pointed at by `judgments`: for each of a seeded draw of training questions one
    relevant passage (the best graded) and the highest-ranked irrelevant candidates, as people would be asked.

    Questions near a gold question, or whose relevant passages retrieval does not find, are not drawn.
    Raises InputError when not a single question is left.
    """
    training = context.settings.training
    gold = context.workspace.require(GOLD, "load the set first")

    def make() -> tuple[pa.Table, Mapping[str, float]]:
        asked = _drawn(context, questions, gold, count=labels * _CANDIDATES_A_LABEL, seed=training.seed)
        texts = dict(asked.select("query_id", "normal").iter_rows())
        found = search(context, index, list(texts), list(texts.values()))
        order = pl.DataFrame(pl.from_arrow(found)).select("query_id", "passage_id", "rank")
        relevant = asked.select("query_id", passage_id="relevant_passage_ids", grade="grades").explode(
            "passage_id", "grade"
        )
        judged = order.join(relevant, on=["query_id", "passage_id"], how="left")
        positives = (
            judged.drop_nulls("grade")
            .sort("query_id", -pl.col("grade").cast(pl.Int32), "rank")
            .group_by("query_id", maintain_order=True)
            .head(1)
        )
        negatives = (
            judged.filter(pl.col("grade").is_null(), pl.col("rank") <= training.hard_negative_depth)
            .join(positives, on="query_id", how="semi")
            .sort("query_id", "rank")
            .group_by("query_id", maintain_order=True)
            .head(training.negatives_per_positive)
        )
        rows = pl.concat([positives, negatives.with_columns(grade=pl.lit(GRADES[0], pl.Int8))])
        kept = (
            asked.select("query_id", "normal", "place")
            .join(rows, on="query_id")
            .sort("place", "rank")
            .with_columns(total=pl.len().over("query_id").cast(pl.Int64))
        )
        whole = kept.unique("place", keep="first", maintain_order=True).with_columns(upto=pl.col("total").cum_sum())
        kept = kept.join(whole.filter(pl.col("upto") <= labels).select("query_id"), on="query_id", how="semi")
        if kept.is_empty():
            raise InputError(
                "no training question has a relevant passage among its candidates; is the corpus the set's own?"
            )
        table = kept.select(
            "query_id",
            "passage_id",
            query_text="normal",
            stratum=pl.lit("all"),
            grade=pl.col("grade"),
            confidence=pl.lit(1.0),
            annotator_count=pl.lit(1, pl.Int32),
            origin=pl.lit("human"),
        )
        return table.sort("query_id", "passage_id").to_arrow(), {
            "queries": table["query_id"].n_unique(),
            "judgments": table.height,
        }

    address = context.table(
        Judgment,
        make,
        step="judge_by_dataset",
        inputs=[questions, index, gold],
        settings={"labels": labels, "seed": training.seed, "negatives": training.negatives_per_positive},
    )
    return take_in(context, "imported-trial", address)


def _drawn(context: Context, questions: Address, gold: Address, *, count: int, seed: int) -> pl.DataFrame:
    """Up to `count` training questions in a seeded order: query_id, normal, place, relevant_passage_ids, grades."""
    settings = context.settings.queries
    frame = pl.DataFrame(pl.from_arrow(context.workspace.read(questions, GoldQuestion)))
    identified = identify(frame["text"], settings)
    relevant = pl.col("relevant_passage_ids")
    full = pl.lit(GRADES[3], pl.Int8).repeat_by(relevant.list.len())
    known = (
        frame.with_columns(
            query_id=identified["query_id"],
            normal=identified["normal"],
            grades=pl.col("relevant_grades").fill_null(full),
        )
        .drop_nulls("query_id")
        .filter(relevant.list.len() > 0)
        .unique("query_id", keep="first", maintain_order=True)
    )
    leaks = near_to(
        known.select(id="query_id", normal="normal"),
        gold_texts(context, gold),
        threshold=settings.gold_distance_threshold,
        synonyms=settings.synonyms,
    )
    clean = known.filter(~pl.col("query_id").is_in(list(leaks)))
    order = np.random.default_rng(seed).permutation(clean.height)[:count]
    return clean[order].with_row_index("place").select("query_id", "normal", "place", "relevant_passage_ids", "grades")
