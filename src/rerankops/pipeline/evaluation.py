"""Steps of retrain_reranker, second half: every system on the same frozen gold candidates, and what the gate says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerankops.pipeline import looks, quality
from rerankops.pipeline.acceptance import acceptances
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.costs import legs_alone, ranking_ms
from rerankops.pipeline.gold_in_force import refuse_changed_gold
from rerankops.pipeline.incumbent import champion
from rerankops.pipeline.judge import agreement_with_people, newest_check
from rerankops.pipeline.queries import search
from rerankops.pipeline.ranking import Rankings, asked_questions, read_rankings
from rerankops.pipeline.reading import reading
from rerankops.pipeline.training import Plan, leaks, read_plan
from rerankops.records import SYSTEMS, Candidate, GoldQuestion, Passage, PromotionDecision, Rule
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.evaluation.readers import Reader

DECISIONS = "decisions"
"""References: every decision of the gate, for the learning history."""
REFUSALS = "refusals.parquet"


@step
def freeze_gold_candidates(context: Context, plan: Address) -> Address:
    """One candidate pool for a version of the gold questions on an index; only the reranker differs after it."""
    planned = read_plan(context, plan)

    def make() -> tuple[pa.Table, Mapping[str, float]]:
        _asked(planned, context.workspace.read(planned.corpus, Passage))  # a corpus of another kind is told at once
        texts = asked_questions(planned)
        found = search(planned.context, planned.index, list(texts), list(texts.values()))
        legs = legs_alone(planned.context, planned.index, texts)
        return found, {"questions": len(texts), "candidates": found.num_rows, **legs}

    settings = planned.context.settings
    identity = [settings.retrieval, settings.encoder.identity()]
    return context.table(
        Candidate, make, step="freeze_gold_candidates", inputs=[planned.gold, planned.index], settings=identity
    )


@step
def evaluate(context: Context, plan: Address, contenders: Address, ranked: Address) -> Address:
    """Ranking metrics and end-to-end accuracy of every system: a folder of SYSTEM.parquet and ladder.json.

    ranked: what rank_gold_candidates made. That it is a look at gold is recorded before any result is written."""
    planned = read_plan(context, plan)
    settings, inputs = planned.context.settings, [plan, contenders, ranked]
    address = context.workspace.address("evaluations", step="evaluate", inputs=inputs)

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.evaluation.calibration import pair_quality
        from rerankops.evaluation.end_to_end import outcomes
        from rerankops.evaluation.ladder import Measured, ladder
        from rerankops.evaluation.metrics import qrels

        workspace = context.workspace
        passages = workspace.read(planned.corpus, Passage)
        gold, lost = _asked(planned, passages)
        rankings, measured = read_rankings(context, ranked), {}
        with reading(planned.context) as asked:
            for system, rows in rankings.gold.items():
                measured[system] = outcomes(
                    system, gold, rows, passages, asked.reader, settings.scoring.top_k, judge=asked.judge
                )
                log.info("evaluate: %s read and judged", system)
            reader_ms = asked.reader.milliseconds
            refused = _refused(rankings, passages, asked.reader, settings.scoring.top_k)
            asked.require_finished(settings.promotion.max_missing_share)
            read, missing = asked.reader.read, {"problems": asked.problems(), "examples": asked.examples()}
        looks.record(planned, address)
        for system, table in measured.items():
            pq.write_table(table, folder / f"{system}.parquet")
        if refused:
            questions = rankings.refusal_questions["question_id"]
            pq.write_table(pa.table({"question_id": questions, **refused}), folder / REFUSALS)
        own, relevance = pa.table({"query_id": gold["question_id"]}), qrels(gold)
        beside = {
            system: Measured(
                pairs=pair_quality(
                    rows.join(own, "query_id", join_type="left semi"),
                    relevance,
                    rankings.development[system],
                    rankings.qrels,
                ),
                refused=refused.get(system, ()),
                milliseconds_per_query=ranking_ms(rankings.costs[system]),
                cost={**rankings.costs[system], "reader_ms": reader_ms},
            )
            for system, rows in rankings.gold.items()
        }
        steps = ladder(
            measured,
            measured=beside,
            close=workspace.read_document(contenders).get("close_gold"),
            bootstrap_samples=settings.evaluation.bootstrap_samples,
            seed=settings.evaluation.seed,
        )
        write_json(folder / "ladder.json", {**steps, **missing})
        return {"gold_questions": gold.num_rows, **lost, "systems": len(measured), "read": read}

    return context.workspace.publish_folder("evaluations", build, step="evaluate", inputs=inputs)


@step
def decide(context: Context, plan: Address, contenders: Address, evaluation: Address) -> Address:
    """The gate's decision, as a document, made once of an evaluation; again when an LLM judge was measured since, or a
    person accepted what the gate cannot tell about (pipeline.acceptance)."""
    planned = read_plan(context, plan)
    settings = planned.context.settings
    checked = newest_check(planned.context) if settings.judge.kind == "llm" else None
    accepted = acceptances(context, planned.gold)

    def make() -> tuple[Mapping[str, Any], Mapping[str, float]]:
        from dataclasses import asdict

        from rerankops.evaluation.ladder import aligned
        from rerankops.promotion.gate import Evidence
        from rerankops.promotion.gate import decide as gate

        refuse_changed_gold(planned)
        gold, _ = _asked(planned, context.workspace.read(planned.corpus, Passage))
        current = champion(context)
        measured = read_outcomes(context, evaluation)
        metrics = settings.promotion.metrics
        values = aligned(measured, gold, metrics)
        fits = context.workspace.read_document(contenders)["fits"]
        agreement, agreement_interval = agreement_with_people(context, checked)
        look = looks.record(planned, evaluation)
        with context.workspace.local_folder(evaluation) as folder:
            rows = read_json(folder / "ladder.json")["systems"]
        decision = gate(
            Evidence(
                values=values.values,
                strata=values.strata,
                incumbent="champion" if planned.champion_version else "retrieval_only",
                contenders=("tuned_fusion", "challenger"),
                leaks=tuple(sorted(leaks(planned))),
                champion_expected=planned.champion_version,
                champion_now=current.version if current else None,
                blend_p_value=max(fit["p_value"] for fit in fits.values()),
                data_validated=_validated(planned),
                latency_ms={row["name"]: row["milliseconds_per_query"] for row in rows},
                memory_mb={row["name"]: row["cost"]["memory_mb"] for row in rows},
                unseen=[question in look.decided for question in values.question_ids],
                level=look.level,
                accepted_strata=accepted,
                refused=read_refused(context, evaluation),
                judged_by_llm="accuracy" in metrics
                and any("llm" in table["judged_by"].to_pylist() for table in measured.values()),
                judge_agreement=agreement,
                judge_interval=agreement_interval,
            ),
            settings.promotion,
        )
        return asdict(decision), {"promote": float(decision.promote)}

    decision = context.document(
        "decisions",
        make,
        step="decide",
        inputs=[plan, contenders, evaluation],
        settings=({"judge_check": checked} if checked else {}) | ({"accepted": accepted} if accepted else {}) or None,
    )
    context.workspace.point(f"{DECISIONS}/{decision.split('/')[1]}", decision)
    return decision


def newest_decision(context: Context) -> Address | None:
    """The decision made last; None before the first."""
    workspace = context.workspace
    made = [workspace.require(name, "") for name in workspace.refs(DECISIONS)]
    return max(made, key=lambda address: workspace.manifest(address).created_at, default=None)


def read_decision(context: Context, decision: Address) -> PromotionDecision:
    """The stored decision as a record again."""
    stored = context.workspace.read_document(decision)
    rules = tuple(
        Rule(**{**rule, "interval": tuple(rule["interval"]) if rule["interval"] else None}) for rule in stored["rules"]
    )
    return PromotionDecision(
        stored["promote"],
        stored["system"],
        rules,
        tuple(stored["reasons"]),
        stored.get("cannot_tell", False),
        tuple(stored.get("cannot_tell_about", ())),
    )


def _asked(planned: Plan, corpus: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """The gold questions, less what is asked of passages that left the corpus; see evaluation.lost."""
    from rerankops.evaluation.lost import without_lost

    gold = planned.context.workspace.read(planned.gold, GoldQuestion)
    return without_lost(gold, corpus, at_most=planned.context.settings.quality.max_lost_gold_share)


def read_refused(context: Context, evaluation: Address) -> dict[str, Any]:
    """Whether the reader refused, a system, see evaluation.refusals; none when the reader cannot refuse."""
    with context.workspace.local_folder(evaluation) as folder:
        path = folder / REFUSALS
        if not path.is_file():
            return {}
        table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in SYSTEMS if name in table.column_names}


def _refused(rankings: Rankings, passages: pa.Table, reader: Reader, top_k: int) -> dict[str, Any]:
    """Asks what cannot be answered, of every system; nothing when there is no such question, or the reader never
    refuses."""
    from rerankops.evaluation.refusals import refused

    questions = rankings.refusal_questions
    return {system: refused(questions, rows, passages, reader, top_k) for system, rows in rankings.refusals.items()}


def _validated(planned: Plan) -> bool:
    """Whether the judgments met their expectations; answered at once when they were checked before."""
    try:
        quality.check_judgments(planned.judgments, planned.gold, context=planned.context)
    except quality.TableRefused:
        return False
    return True


def read_outcomes(context: Context, evaluation: Address) -> dict[str, pa.Table]:
    """records.QuestionOutcome of each system of an evaluation."""
    with context.workspace.local_folder(evaluation) as folder:
        return {name: pq.read_table(path) for name in SYSTEMS if (path := folder / f"{name}.parquet").is_file()}


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    import json

    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
