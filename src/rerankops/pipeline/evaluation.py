"""Steps of retrain_reranker, second half: every system on the same frozen gold candidates, and what the gate says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.incumbent import Ranking, champion, pool, rank_with, scorer, with_logits
from rerankops.pipeline.queries import search
from rerankops.pipeline.training import Plan, leaks, read_plan
from rerankops.records import SYSTEMS, Candidate, GoldQuestion, Passage, PromotionDecision, Rule
from rerankops.workspace import Address

COMPARISONS = "comparisons"
"""References: every evaluation made, since each spends some of its gold questions' error budget."""


@step
def freeze_gold_candidates(context: Context, plan: Address) -> Address:
    """One candidate pool for a version of the gold questions on an index; only the reranker differs after it."""
    planned = read_plan(context, plan)

    def make() -> tuple[pa.Table, Mapping[str, float]]:
        texts = gold_questions(planned)
        found = search(planned.context, planned.index, list(texts), list(texts.values()))
        return found, {"gold_questions": len(texts), "candidates": found.num_rows}

    settings = planned.context.settings
    identity = [settings.retrieval, settings.encoder.identity()]
    return context.table(
        Candidate, make, step="freeze_gold_candidates", inputs=[planned.gold, planned.index], settings=identity
    )


@step
def evaluate(context: Context, plan: Address, contenders: Address, candidates: Address) -> Address:
    """Ranking metrics and end-to-end accuracy of every system: a folder of SYSTEM.parquet and ladder.json."""
    planned = read_plan(context, plan)
    settings = planned.context.settings

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.evaluation.end_to_end import outcomes
        from rerankops.evaluation.ladder import ladder
        from rerankops.evaluation.reader import ExtractiveReader

        gold = context.workspace.read(planned.gold, GoldQuestion)
        passages = context.workspace.read(planned.corpus, Passage)
        reader = ExtractiveReader(settings.reader.max_answer_characters, settings.reader.rank_decay)
        measured, latency = {}, {}
        for system, ranking in rankings(planned, contenders, candidates).items():
            table = outcomes(system, gold, ranking.rows, passages, reader, settings.scoring.top_k)
            pq.write_table(table, folder / f"{system}.parquet")
            measured[system], latency[system] = table, ranking.milliseconds
            log.info("evaluate: %s done, %.1f ms a query", system, ranking.milliseconds)
        steps = ladder(measured, bootstrap_samples=settings.evaluation.bootstrap_samples, seed=settings.evaluation.seed)
        for row in steps["systems"]:
            row["milliseconds_per_query"] = round(latency[row["name"]], 2)
        write_json(folder / "ladder.json", steps)
        return {"gold_questions": gold.num_rows, "systems": len(measured)}

    evaluation = context.workspace.publish_folder(
        "evaluations", build, step="evaluate", inputs=[plan, contenders, candidates]
    )
    _count(context, evaluation)
    return evaluation


@step
def decide(context: Context, plan: Address, contenders: Address, evaluation: Address) -> Address:
    """The gate's decision, as a document. Its address is the evaluation's: it is made once."""
    planned = read_plan(context, plan)
    settings = planned.context.settings

    def make() -> tuple[Mapping[str, Any], Mapping[str, float]]:
        from dataclasses import asdict

        from rerankops.evaluation.ladder import aligned
        from rerankops.promotion.gate import Evidence
        from rerankops.promotion.gate import decide as gate

        gold = context.workspace.read(planned.gold, GoldQuestion)
        current = champion(context)
        measured = read_outcomes(context, evaluation)
        values = aligned(measured, gold, settings.promotion.primary_metric)
        fits = context.workspace.read_document(contenders)["fits"]
        _count(context, evaluation)
        with context.workspace.local_folder(evaluation) as folder:
            rows = read_json(folder / "ladder.json")["systems"]
        decision = gate(
            Evidence(
                metric=values.metric,
                values=values.values,
                strata=values.strata,
                incumbent="champion" if planned.champion_version else "retrieval_only",
                contenders=("tuned_fusion", "challenger"),
                leaks=tuple(sorted(leaks(planned))),
                champion_expected=planned.champion_version,
                champion_now=current.version if current else None,
                blend_p_value=max(fit["p_value"] for fit in fits.values()),
                latency_ms={row["name"]: row["milliseconds_per_query"] for row in rows},
                comparisons_before=comparisons_before(context, evaluation),
            ),
            settings.promotion,
            bootstrap_samples=settings.evaluation.bootstrap_samples,
            seed=settings.evaluation.seed,
        )
        return asdict(decision), {"promote": float(decision.promote)}

    return context.document("decisions", make, step="decide", inputs=[plan, contenders, evaluation])


def read_decision(context: Context, decision: Address) -> PromotionDecision:
    """The stored decision as a record again."""
    stored = context.workspace.read_document(decision)
    rules = tuple(
        Rule(**{**rule, "interval": tuple(rule["interval"]) if rule["interval"] else None}) for rule in stored["rules"]
    )
    cannot_tell = stored.get("cannot_tell", False)
    return PromotionDecision(stored["promote"], stored["system"], rules, tuple(stored["reasons"]), cannot_tell)


def comparisons_before(context: Context, evaluation: Address) -> float:
    """Other evaluations on these gold questions; on another version they count by the share that it had of them."""

    @cache
    def questions(gold: Address) -> frozenset[str]:
        return frozenset(context.workspace.read(gold, GoldQuestion)["text"].to_pylist())

    def gold_of(other: Address) -> Address:
        plan: Address = context.workspace.read_document(context.workspace.manifest(other).inputs[0])["gold"]
        return plan

    now = questions(gold_of(evaluation))
    others = {context.workspace.require(name, "") for name in context.workspace.refs(COMPARISONS)} - {evaluation}
    return sum(len(now & questions(gold_of(other))) / max(1, len(now)) for other in sorted(others))


def _count(context: Context, evaluation: Address) -> None:
    context.workspace.point(f"{COMPARISONS}/{evaluation.split('/')[1]}", evaluation)


def read_outcomes(context: Context, evaluation: Address) -> dict[str, pa.Table]:
    """records.QuestionOutcome of each system of an evaluation."""
    with context.workspace.local_folder(evaluation) as folder:
        return {name: pq.read_table(path) for name in SYSTEMS if (path := folder / f"{name}.parquet").is_file()}


def rankings(planned: Plan, contenders: Address, candidates: Address) -> dict[str, Ranking]:
    """The gold candidates in the order of every system, cheapest first."""
    context = planned.context
    table = context.workspace.read(candidates, Candidate)
    found = pool(context, planned.index, table, gold_questions(planned), encoder=context.settings.encoder)
    rankers = context.workspace.read_document(contenders)["rankers"]
    ranked = {
        "retrieval_only": rank_with(context, None, found),
        "tuned_fusion": rank_with(context, rankers["tuned_fusion"], found),
    }
    base = _unfinetuned(planned, rankers["tuned_fusion"], found)
    if base is not None:
        ranked["base"] = base
    if planned.champion_ranker:
        ranked["champion"] = rank_with(context, planned.champion_ranker, found)
    ranked["challenger"] = rank_with(context, rankers["challenger"], found)
    return ranked


def gold_questions(planned: Plan) -> dict[str, str]:
    """Text of every gold question, by id."""
    gold = planned.context.workspace.read(planned.gold, GoldQuestion)
    return dict(zip(gold["question_id"].to_pylist(), gold["text"].to_pylist(), strict=True))


def _unfinetuned(planned: Plan, fusion: Address, found: Any) -> Ranking | None:
    """The base model's own logit as the score; None when the base model was never trained to rank."""
    import time

    from rerankops.retrieval.models import resolve
    from rerankops.scoring.blend import single
    from rerankops.scoring.cross_encoder import has_ranking_head
    from rerankops.scoring.ranker import Ranker

    context, training = planned.context, planned.context.settings.training
    path = resolve(training.base_model, setting="training.base_model")
    if not has_ranking_head(path):
        return None
    with context.workspace.local_folder(fusion) as folder:
        first = Ranker.load(folder).blend
    ranker = Ranker(
        blend=single("cross_encoder"),
        fusion=first,
        depth=context.settings.scoring.cross_encoder_depth,
        cross_encoder=Path(path),
        max_length=training.max_length,
    )
    model = scorer(context, path, max_length=training.max_length)
    started = time.perf_counter()
    shortlist = ranker.shortlist(found.signals)
    rows = ranker.rank(with_logits(model, found, shortlist))
    milliseconds = (time.perf_counter() - started) * 1000 / max(1, len(found.texts))
    return Ranking(rows, milliseconds, int(np.sum(shortlist)))


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    import json

    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
