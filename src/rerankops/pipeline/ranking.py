"""Step of retrain_reranker between training and reading: every system orders the same frozen gold candidates.

A folder:

| file                          | what it holds                                                                       |
|-------------------------------|-------------------------------------------------------------------------------------|
| `SYSTEM.parquet`              | the gold candidates in the system's order (scoring.ranker.RANKED)                   |
| `development/SYSTEM.parquet`  | the candidates of the judged development queries, likewise                          |
| `development/qrels.parquet`   | what those were judged: question_id, passage_id, grade                              |
| `refusals/SYSTEM.parquet`     | of a reader that can refuse: what it should refuse (evaluation.refusals), likewise   |
| `refusals/questions.parquet`  | the questions of these (records.GoldQuestion)                                       |
| `costs.json`                  | what each system costs, see pipeline.costs                                          |
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.costs import LEGS, Rehearsal
from rerankops.pipeline.incumbent import Pool, cross_encoder_of, order, pool
from rerankops.pipeline.own_signals import own_pool
from rerankops.pipeline.reading import unanswerable_questions
from rerankops.pipeline.training import Plan, judged_pool, labels, read_plan
from rerankops.records import Candidate, GoldQuestion, Passage, TrainingGroup
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.evaluation.refusals import RefusalQuestions
    from rerankops.retrieval.encoder import Encoder
    from rerankops.scoring.ranker import Ranker

DEVELOPMENT, REFUSALS = "development", "refusals"
QUESTIONS = "questions.parquet"


@dataclass(frozen=True)
class Rankings:
    """What rank_gold_candidates made. gold, development, refusals: RANKED of each system, cheapest first; no refusals
    of a reader that never refuses. qrels: of the development queries. refusal_questions: records.GoldQuestion.
    costs: see pipeline.costs."""

    gold: Mapping[str, pa.Table]
    development: Mapping[str, pa.Table]
    qrels: pa.Table
    refusals: Mapping[str, pa.Table]
    refusal_questions: pa.Table
    costs: Mapping[str, Mapping[str, float | None]]


@step
def rank_gold_candidates(context: Context, plan: Address, contenders: Address, candidates: Address) -> Address:
    """The gold candidates in the order of every system, and what each of them costs. The only step of a comparison
    that needs a GPU."""
    planned = read_plan(context, plan)

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.retrieval.encoder import Encoder
        from rerankops.scoring import finite
        from rerankops.scoring.once import ReadOnce

        workspace, here = context.workspace, planned.context
        table = workspace.read(candidates, Candidate)
        encoder = Encoder(here.settings.encoder)
        gold = pool(here, planned.index, table, asked_questions(planned), encoder=encoder)
        development, qrels = _development(planned, contenders, encoder)
        (folder / DEVELOPMENT).mkdir()
        pq.write_table(qrels, folder / DEVELOPMENT / "qrels.parquet")
        refusing = _refusing(planned, gold)
        if refusing is not None:
            (folder / REFUSALS).mkdir()
            pq.write_table(refusing.questions, folder / REFUSALS / QUESTIONS)
        costs, pairs, scoring = {}, 0, 0.0
        rehearsal, legs = Rehearsal(here, gold), workspace.manifest(candidates).counts
        for system, ranker in _systems(planned, contenders):
            with finite.of(system):
                model = cross_encoder_of(here, ranker) if ranker else None
                once = ReadOnce(model) if model else None
                own, dev = (
                    own_pool(here, ranker, seen, who=system) if ranker else seen for seen in (gold, development)
                )
                started = time.perf_counter()
                ranking = order(ranker, once, own)
                scoring += time.perf_counter() - started
                pq.write_table(ranking.rows, folder / f"{system}.parquet")
                judged = order(ranker, once, _judged(dev, qrels))
                pq.write_table(judged.rows, folder / DEVELOPMENT / f"{system}.parquet")
                if refusing is not None:
                    reduced = order(ranker, once, _left(refusing, own))
                    pq.write_table(reduced.rows, folder / REFUSALS / f"{system}.parquet")
                costs[system] = {
                    **{leg: legs.get(leg) for leg in LEGS},
                    **rehearsal.cost(ranker, model, own),
                    "pairs_per_query": round(ranking.pairs_scored / max(1, len(gold.texts)), 2),
                }
            pairs += ranking.pairs_scored
            log.info("rank_gold_candidates: %s done, %s", system, costs[system])
        (folder / "costs.json").write_text(json.dumps(costs, indent=1) + "\n", encoding="utf-8")
        return {"questions": len(gold.texts), "systems": len(costs), "pairs": pairs, "scoring_s": round(scoring, 2)}

    return context.workspace.publish_folder(
        "rankings", build, step="rank_gold_candidates", inputs=[plan, contenders, candidates]
    )


def read_rankings(context: Context, rankings: Address) -> Rankings:
    """What rank_gold_candidates made."""
    with context.workspace.local_folder(rankings) as folder:
        costs = json.loads((folder / "costs.json").read_text(encoding="utf-8"))

        def of_systems(part: Path) -> dict[str, pa.Table]:
            return {name: pq.read_table(part / f"{name}.parquet") for name in costs}

        asked = folder / REFUSALS / QUESTIONS
        return Rankings(
            gold=of_systems(folder),
            development=of_systems(folder / DEVELOPMENT),
            qrels=pq.read_table(folder / DEVELOPMENT / "qrels.parquet"),
            refusals=of_systems(folder / REFUSALS) if asked.is_file() else {},
            refusal_questions=pq.read_table(asked) if asked.is_file() else GoldQuestion.empty(),
            costs=costs,
        )


def gold_questions(planned: Plan) -> dict[str, str]:
    """Text of every gold question, by id."""
    gold = planned.context.workspace.read(planned.gold, GoldQuestion)
    return dict(zip(gold["question_id"].to_pylist(), gold["text"].to_pylist(), strict=True))


def asked_questions(planned: Plan) -> dict[str, str]:
    """The gold questions, and those that people marked unanswerable: on these a reader should refuse."""
    marked = unanswerable_questions(planned.context, planned.gold)
    return gold_questions(planned) | dict(
        zip(marked["question_id"].to_pylist(), marked["text"].to_pylist(), strict=True)
    )


def _systems(planned: Plan, contenders: Address) -> Iterator[tuple[str, Ranker | None]]:
    """Every row of the ladder, cheapest first; None is retrieval's own order."""
    from rerankops.scoring.ranker import Ranker

    workspace, settings = planned.context.workspace, planned.context.settings
    rankers = workspace.read_document(contenders)["rankers"]
    with ExitStack() as folders:

        def load(address: Address) -> Ranker:
            return Ranker.load(folders.enter_context(workspace.local_folder(address)))

        fusion = load(rankers["tuned_fusion"])
        yield "retrieval_only", None
        yield "tuned_fusion", fusion
        base = _as_it_comes(planned, settings.training.base_model, fusion, "training.base_model")
        if base is not None:
            yield "base", base
        if planned.champion_ranker:
            yield "champion", load(planned.champion_ranker)
        yield "challenger", load(rankers["challenger"])
        if settings.evaluation.teacher_model is not None:
            teacher = _as_it_comes(planned, settings.evaluation.teacher_model, fusion, "evaluation.teacher_model")
            if teacher is None:
                log.warning("evaluation.teacher_model was never trained to rank; it has no row in the ladder")
            else:
                yield "teacher", teacher


def _as_it_comes(planned: Plan, model: str | None, fusion: Ranker, setting: str) -> Ranker | None:
    """A cross-encoder's own logit as the score; None when the model was never trained to rank."""
    from rerankops.retrieval.models import resolve
    from rerankops.scoring.blend import single
    from rerankops.scoring.cross_encoder import has_ranking_head
    from rerankops.scoring.ranker import Ranker

    path = resolve(model, setting=setting)
    if not has_ranking_head(path):
        return None
    settings = planned.context.settings
    return Ranker(
        blend=single("cross_encoder"),
        fusion=fusion.blend,
        depth=settings.scoring.cross_encoder_depth,
        cross_encoder=Path(path),
        max_length=settings.training.max_length,
        encoder=fusion.encoder,
        retrieval=fusion.retrieval,
    )


def _refusing(planned: Plan, gold: Pool) -> RefusalQuestions | None:
    """The questions that a reader should refuse; None when the reader never refuses or there is no such question."""
    from rerankops.evaluation import refusals
    from rerankops.evaluation.readers import may_refuse

    workspace, settings = planned.context.workspace, planned.context.settings
    if not may_refuse(settings.reader):
        return None
    chosen = refusals.choose(
        workspace.read(planned.gold, GoldQuestion),
        unanswerable_questions(planned.context, planned.gold),
        gold.candidates,
        workspace.read(planned.corpus, Passage),
        size=settings.evaluation.refusal_questions,
        seed=settings.evaluation.seed,
    )
    return chosen if chosen.questions.num_rows else None


def _left(refusing: RefusalQuestions, pool: Pool) -> Pool:
    """What is left to rank for the questions that a reader should refuse."""
    from rerankops.evaluation.refusals import left

    texts = {name: pool.texts[name] for name in refusing.questions["question_id"].to_pylist()}
    return replace(pool, candidates=left(refusing, pool.candidates), signals=left(refusing, pool.signals), texts=texts)


def _development(planned: Plan, contenders: Address, encoder: Encoder) -> tuple[Pool, pa.Table]:
    """The development queries' candidates with their signals, and what they were judged: question_id, passage_id,
    grade."""
    workspace = planned.context.workspace
    _, retrieved, groups, _ = workspace.manifest(contenders).inputs
    chosen = pl.DataFrame(pl.from_arrow(workspace.read(groups, TrainingGroup))).filter(pl.col("split") == "dev")
    grades = pl.DataFrame(pl.from_arrow(labels(planned))).join(chosen, on="query_id", how="semi")
    qrels = grades.select(question_id="query_id", passage_id="passage_id", grade="grade")
    found, own = judged_pool(planned, retrieved, encoder=encoder), set(qrels["question_id"])
    theirs = pa.array(sorted(own), pa.string())
    candidates, signals = (
        table.filter(pc.is_in(table["query_id"], theirs)) for table in (found.candidates, found.signals)
    )
    texts = {query_id: text for query_id, text in found.texts.items() if query_id in own}
    return replace(found, candidates=candidates, signals=signals, texts=texts), qrels.to_arrow()


def _judged(pool: Pool, qrels: pa.Table) -> Pool:
    """The candidates that were judged alone; a signal may be relative to all of a query's."""
    judged = pl.DataFrame(qrels).select("passage_id", query_id="question_id")

    def those(table: pa.Table) -> pa.Table:
        rows = pl.DataFrame(pl.from_arrow(table)).join(judged, on=["query_id", "passage_id"], how="semi")
        return rows.to_arrow().cast(table.schema)

    return replace(pool, candidates=those(pool.candidates), signals=those(pool.signals))
