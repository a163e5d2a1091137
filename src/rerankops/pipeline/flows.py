"""The DAGs' steps in their order, for the command line: the same functions, one after the other, told as they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rerankops.pipeline import (
    adjudication,
    batches,
    channels,
    corpus,
    evaluation,
    index,
    promotion,
    quality,
    queries,
    ranking,
    training,
    validation,
)
from rerankops.pipeline.context import Context
from rerankops.workspace import Address

T = TypeVar("T")
Tell = Callable[[str], None]
"""Told the name of each step as it begins."""


@dataclass(frozen=True)
class Retraining:
    """What one retraining came to: addresses, and what the registry made of it (see promotion.promote)."""

    plan: Address
    evaluation: Address
    decision: Address
    promotion: dict[str, Any]


def refresh(context: Context, tell: Tell) -> Address:
    """refresh_corpus_index. Returns the address of the index that is served."""
    tell("load corpus and gold questions")
    passages = corpus.load_corpus(context=context)
    gold = corpus.load_gold(context=context)
    tell("embed passages")
    vectors = corpus.embed_corpus(passages, context=context)
    tell("build index")
    built = index.build_index(passages, vectors, context=context)
    tell("check gold questions")
    quality.check_gold_questions(gold, passages, context=context)
    tell("check recall")
    index.serve_index(built, context=context)
    return built


def collect(context: Context, tell: Tell, *, since: str | None = None, until: str | None = None) -> Address | None:
    """collect_annotation_batch. Returns the batch, None when the window holds nothing new to ask."""
    tell("pull and redact events")
    events = queries.pull_events(since=since, until=until, context=context)
    if events is None:
        return None
    tell("check events")
    quality.check_query_events(events, context=context)
    tell("distil queries")
    distilled = queries.distil_queries(events, context=context)
    tell("draw a pool by stratum")
    pool = queries.sample_queries(distilled, context=context)
    if pool is None:
        return None
    tell("retrieve candidates")
    candidates = queries.retrieve_candidates(pool, context=context)
    tell("check candidates")
    quality.check_candidates(candidates, context=context)
    tell("choose what to label")
    selected = batches.select_queries(pool, candidates, context=context)
    tell("make the batch")
    batch = batches.make_annotation_batch(selected, candidates, context=context)
    tell("send it")
    channels.send_batch(batch, context=context)
    return batch


def ingest(context: Context, tell: Tell, *, batch: str | None = None) -> tuple[list[dict[str, Any]], Address | None]:
    """ingest_annotations, but for sending what is contested (`rerankops adjudicate`). Returns the verdict on each
    delivery and the judgments, None when nothing was accepted."""
    tell("pull deliveries")
    verdicts = []
    for delivery in channels.pull_deliveries(batch=batch, context=context):
        tell("validate")
        verdicts.append(validation.validate_delivery(delivery, context=context))
    tell("adjudicate")
    return verdicts, adjudication.adjudicate(context=context)


def retrain(
    context: Context, tell: Tell, *, overrides: Mapping[str, Any] | None = None, again: str | None = None
) -> Retraining:
    """retrain_reranker."""
    tell("plan")
    plan = training.plan_retraining(overrides, again=again, context=context)
    tell("check judgments")
    training.check_judgments(plan, context=context)
    tell("retrieve for judged queries")
    candidates = training.retrieve_judged(plan, context=context)
    tell("mine hard negatives")
    groups = training.build_training_groups(plan, candidates, context=context)
    tell("train the cross-encoder")
    model = training.train_cross_encoder(plan, groups, context=context)
    tell("fit the blend")
    contenders = training.fit_rankers(plan, candidates, groups, model, context=context)
    tell("freeze gold candidates")
    pool = evaluation.freeze_gold_candidates(plan, context=context)
    tell("rank them with every system")
    ranked = ranking.rank_gold_candidates(plan, contenders, pool, context=context)
    tell("evaluate on gold")
    measured = evaluation.evaluate(plan, contenders, ranked, context=context)
    tell("decide")
    decision = evaluation.decide(plan, contenders, measured, context=context)
    tell("record and promote")
    return Retraining(plan, measured, decision, promotion.promote(decision, context=context))
