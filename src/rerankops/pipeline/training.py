"""Steps of retrain_reranker, first half: a plan, training groups with hard negatives, a cross-encoder, the rankers.

A plan freezes what a retraining works with: judgments, gold, index, the champion of that moment and every setting.
Its address leaves the champion out, so that the same judgments under the same settings are one retraining, however
often it is asked for; everything after it follows from the plan alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from rerankops.errors import InputError, SettingsError
from rerankops.pipeline import quality, reading
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.corpus import GOLD, INDEX
from rerankops.pipeline.feedback import PREFERENCES
from rerankops.pipeline.gold_in_force import gold_file_at_planning
from rerankops.pipeline.imports import outside_passages
from rerankops.pipeline.incumbent import Pool, champion, pool, rank_with, scorer, with_logits
from rerankops.pipeline.judgments import JUDGMENTS
from rerankops.pipeline.memory import close_gold
from rerankops.pipeline.queries import gold_texts, search
from rerankops.queries.normalise import near_to
from rerankops.records import Candidate, Judgment, Passage, Preference, TrainingGroup
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.retrieval.encoder import Encoder

_DECIDING = ("queries", "encoder", "retrieval", "training", "scoring", "evaluation", "promotion")
"""The sections of the settings that a retraining's result depends on, beside reader and judge."""
_OWN = (
    "workspace",
    "registry",
    "sources",
    "query_log",
    "elasticsearch",
    "annotation",
    "quality",
    "gold",
    "imports",
    "llm",
    "teacher",
    "feedback",
)
"""The sections that say where a step runs and what it talks to: never frozen."""
_UNKEPT: dict[str, Any] = {**dict.fromkeys(_OWN, True), "llm": {"url"}}
"""What a plan does not hold of them: addresses may have a password in them. Which language model answered it does."""


@dataclass(frozen=True)
class Plan:
    """A plan as read back, with the context that its frozen settings make. gold_file: see pipeline.gold_in_force."""

    address: Address
    judgments: Address
    preferences: Address | None
    gold: Address
    index: Address
    champion_version: str | None
    champion_ranker: Address | None
    context: Context
    gold_file: str | None = None

    @property
    def corpus(self) -> Address:
        return self.context.workspace.manifest(self.index).inputs[0]


@step
def plan_retraining(context: Context, overrides: Mapping[str, Any] | None = None, again: str | None = None) -> Address:
    """Freezes judgments, gold, index, champion and settings.

    overrides: training settings of this retraining alone, by name (`epochs`). again: any text; a new one makes the
    same retraining a new one.
    """
    workspace = context.workspace
    tree = context.settings.model_dump(mode="json")
    tree["training"] |= {key: value for key, value in (overrides or {}).items() if value is not None}
    frozen = context.with_settings(tree).settings
    inputs = [
        workspace.require(JUDGMENTS, "run ingest_annotations first; there are no judgments to train on"),
        workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions"),
        workspace.require(INDEX, "run refresh_corpus_index first; there is no index to retrieve from"),
    ]

    preferences = workspace.ref(PREFERENCES)
    if preferences and workspace.manifest(preferences).rows:
        inputs.append(preferences)

    def make() -> tuple[Mapping[str, Any], Mapping[str, float]]:
        current = champion(context)
        return {
            "judgments": inputs[0],
            "gold": inputs[1],
            "gold_file": gold_file_at_planning(context),
            "index": inputs[2],
            "preferences": inputs[3] if len(inputs) > 3 else None,
            "champion_version": current.version if current else None,
            "champion_ranker": current.ranker_address if current else None,
            "settings": frozen.model_dump(mode="json", exclude=_UNKEPT),
        }, {}

    deciding = frozen.model_dump(mode="json", include=set(_DECIDING))
    deciding["encoder"] = frozen.encoder.identity()
    for elsewhere in ("device", "min_new_labels"):  # where it runs, and when it is asked for
        deciding["training"].pop(elsewhere)
    deciding["promotion"] = frozen.promotion.identity()
    deciding |= reading.identity(frozen)
    return context.document(
        "plans", make, step="plan_retraining", inputs=inputs, settings={"settings": deciding, "again": again}
    )


def read_plan(context: Context, plan: Address) -> Plan:
    """The plan at an address. Where it runs (workspace, registry, sources, devices) is this context's own affair.

    Raises SettingsError when the plan was made by a version that had other settings.
    """
    document = context.workspace.read_document(plan)
    here = context.settings.model_dump(mode="json")
    try:
        there = context.with_settings(document["settings"] | {name: here[name] for name in _OWN})
    except SettingsError as error:
        raise SettingsError(
            f"{plan} was made by a version of rerankops with other settings ({error}); retrain, or promote its winner "
            "by hand (rerankops models promote)"
        ) from error
    return Plan(
        plan,
        document["judgments"],
        document.get("preferences"),
        document["gold"],
        document["index"],
        document["champion_version"],
        document["champion_ranker"],
        there,
        document.get("gold_file"),
    )


@step
def check_judgments(context: Context, plan: Address) -> Address:
    """The plan's judgments and gold questions against their expectations; see quality.check_judgments."""
    planned = read_plan(context, plan)
    return quality.check_judgments(planned.judgments, planned.gold, context=context)


@step
def retrieve_judged(context: Context, plan: Address) -> Address:
    """Candidates of every judged query on the plan's index."""
    planned = read_plan(context, plan)

    def make() -> tuple[pa.Table, Mapping[str, float]]:
        texts = judged_texts(planned)
        found = search(planned.context, planned.index, list(texts), list(texts.values()))
        return found, {"queries": len(texts), "candidates": found.num_rows}

    return context.table(Candidate, make, step="retrieve_judged", inputs=[plan])


@step
def build_training_groups(context: Context, plan: Address, candidates: Address) -> Address:
    """Positives and hard negatives of each judged query, mined from the incumbent's order.

    Raises GoldLeak when a judged query equals or nearly equals a gold question, InputError when too few queries have
    something to learn from.
    """
    planned = read_plan(context, plan)
    training = planned.context.settings.training

    def make() -> tuple[pa.Table, Mapping[str, float]]:
        from rerankops.scoring.ranker import rank_by
        from rerankops.training.groups import build_groups

        workspace = context.workspace
        if planned.champion_ranker is None:
            order = rank_by(workspace.read(candidates, Candidate))
        else:
            pool, who = judged_pool(planned, candidates), f"champion, version {planned.champion_version}"
            order = rank_with(planned.context, planned.champion_ranker, pool, who=who).rows
        corpus = workspace.read(planned.corpus, Passage)
        outside = outside_passages(workspace, planned.judgments, corpus)
        groups, counts = build_groups(
            _taught(planned),
            order,
            pa.concat_tables([corpus, outside]),
            negatives_per_positive=training.negatives_per_positive,
            hard_negative_depth=training.hard_negative_depth,
            false_negative_margin=training.false_negative_margin,
            dev_share=training.dev_share,
            seed=training.seed,
            gold_query_ids=leaks(planned),
            outside=frozenset(outside["passage_id"].to_pylist()),
            least_of_people=training.min_groups,
            max_lost_share=context.settings.quality.max_lost_judgment_share,
        )
        if groups.num_rows < training.min_groups:
            raise InputError(
                f"{groups.num_rows} judged queries have both a relevant passage and a negative, "
                f"training.min_groups asks for {training.min_groups}; label more, or lower it"
            )
        return groups, counts

    return context.table(TrainingGroup, make, step="build_training_groups", inputs=[plan, candidates])


@step
def train_cross_encoder(context: Context, plan: Address, groups: Address) -> Address:
    """The challenger's cross-encoder, trained in its own process; a retry continues from the last checkpoint."""
    from rerankops.retrieval.models import resolve
    from rerankops.training.process import TrainingJob, run_in_subprocess

    planned = read_plan(context, plan)
    settings = planned.context.settings.training
    work = context.local("training", groups.split("/")[1])

    def build(folder: Path) -> Mapping[str, float]:
        with context.workspace.local_folder(groups) as stored:
            job = TrainingJob(
                groups=str(stored / "data.parquet"),
                base_model=resolve(settings.base_model, setting="training.base_model"),
                base_name=settings.base_model,
                settings=settings,
                data=(plan, groups, planned.judgments),
            )
            result = run_in_subprocess(job, work)
        shutil.copytree(result.model, folder, dirs_exist_ok=True)
        before = {f"before_{name}": value for name, value in result.before.items()}
        after = {f"after_{name}": value for name, value in result.after.items()}
        return {"steps": result.steps, "pairs": result.pairs, **before, **after}

    work.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(work.with_suffix(".lock")):  # two on one machine would train in one folder; the second finds it done
        address = context.workspace.publish_folder(
            "cross_encoders", build, step="train_cross_encoder", inputs=[plan, groups]
        )
        shutil.rmtree(work, ignore_errors=True)
    return address


@step
def fit_rankers(context: Context, plan: Address, candidates: Address, groups: Address, model: Address) -> Address:
    """The two contenders: tuned fusion (no cross-encoder; fitted on every judged query) and the challenger (the fusion
    and the cross-encoder's logit, fitted on development queries, which it was not trained on). Where people judged
    min_groups queries, both are fitted on people's judgments alone. A document with their addresses and how well each
    fits, and with the gold questions that a training query asks in other words."""
    planned = read_plan(context, plan)
    settings = planned.context.settings

    def make() -> tuple[Mapping[str, Any], Mapping[str, float]]:
        from rerankops.retrieval import identity
        from rerankops.retrieval.encoder import Encoder
        from rerankops.scoring import blend, finite
        from rerankops.scoring.ranker import Ranker
        from rerankops.training.groups import of_people

        workspace = context.workspace
        chosen = pl.DataFrame(pl.from_arrow(workspace.read(groups, TrainingGroup))).select("query_id", "split")
        grades = (
            pl.DataFrame(pl.from_arrow(of_people(labels(planned), least=settings.training.min_groups)))
            .join(chosen, on="query_id")
            .select("query_id", "passage_id", "grade", "split", weight="confidence")
        )
        everything = grades.drop("split").to_arrow()
        development = grades.filter(pl.col("split") == "dev").drop("split").to_arrow()
        reader = Encoder(settings.encoder)
        found = judged_pool(planned, candidates, encoder=reader)
        close = close_gold(planned, groups, found.texts, reader)
        cheap = [name for name in settings.scoring.signals if name != "cross_encoder"]
        fusion = blend.fit(found.signals, everything, cheap or ["reciprocal_rank"], l2=settings.scoring.blend_l2)
        with workspace.local_folder(model) as trained:
            length = settings.training.max_length
            cross_encoder = scorer(planned.context, str(trained), max_length=length)
            with finite.of("challenger"):
                signals = with_logits(cross_encoder, found, _rows_of(found.signals, development))
            scored = signals.filter(pc.is_valid(signals["cross_encoder"]))
            if cheap:
                fitted = blend.fit_on_top(fusion, scored, development, l2=settings.scoring.blend_l2)
            else:
                fitted = blend.fit(scored, development, ["cross_encoder"], l2=settings.scoring.blend_l2)
            encoder = identity.record(settings.encoder)
            retrieval = settings.retrieval.model_dump(mode="json")
            tuned = Ranker(blend=fusion, encoder=encoder, retrieval=retrieval)
            challenger = Ranker(
                blend=fitted,
                fusion=fusion,
                depth=settings.scoring.cross_encoder_depth,
                encoder=encoder,
                retrieval=retrieval,
                cross_encoder=trained,
                max_length=length,
            )
            inputs = [plan, groups, candidates]
            addresses = {
                "tuned_fusion": workspace.publish_folder("rankers", tuned.save, step="tuned_fusion", inputs=inputs),
                "challenger": workspace.publish_folder(
                    "rankers", challenger.save, step="challenger", inputs=[*inputs, model]
                ),
            }
        fits = {"tuned_fusion": fusion.to_dict(), "challenger": fitted.to_dict()}
        counts = {"queries": fusion.queries, "development_queries": fitted.queries, "gold_with_close_query": len(close)}
        return {"rankers": addresses, "fits": fits, "close_gold": close}, counts

    return context.document("contenders", make, step="fit_rankers", inputs=[plan, candidates, groups, model])


def labels(planned: Plan) -> pa.Table:
    """What the plan's judgments and preferences teach of passages that there are; shuffled within each query when it is
    a negative control."""
    from rerankops.training.groups import about

    workspace = planned.context.workspace
    corpus = workspace.read(planned.corpus, Passage)
    outside = outside_passages(workspace, planned.judgments, corpus)
    known = {*corpus["passage_id"].to_pylist(), *outside["passage_id"].to_pylist()}
    return about(_taught(planned), known)


def _taught(planned: Plan) -> pa.Table:
    """The same, of passages that left the corpus too."""
    from rerankops.training.groups import shuffle_labels

    judgments = taken_in(planned)
    seed = planned.context.settings.training.shuffle_labels_seed
    return judgments if seed is None else shuffle_labels(judgments, seed)


def taken_in(planned: Plan) -> pa.Table:
    """records.Judgment: one a query and passage, weighted by origin, with what preferences amount to.

    Preferences near a gold question of the plan are left out: it may have come after them.
    """
    from rerankops.training.groups import intake

    workspace, weights = planned.context.workspace, planned.context.settings.training.origin_weights
    preferences = Preference.empty()
    if planned.preferences:
        preferences = workspace.read(planned.preferences, Preference)
        near = pa.array(sorted(_near_gold(planned, _texts(preferences))), pa.string())
        preferences = preferences.filter(pc.invert(pc.is_in(preferences["query_id"], near)))
    return intake(workspace.read(planned.judgments, Judgment), preferences, weights=weights.model_dump())


def _rows_of(signals: pa.Table, pairs: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows of the signals are among the pairs (query_id, passage_id)."""
    keys = ["query_id", "passage_id"]
    wanted = pl.DataFrame(pl.from_arrow(pairs.select(keys))).with_columns(found=True)
    rows = pl.DataFrame(pl.from_arrow(signals.select(keys))).join(wanted, on=keys, how="left", maintain_order="left")
    return rows["found"].fill_null(False).to_numpy()


def judged_texts(planned: Plan) -> dict[str, str]:
    """Text of every judged query, by id."""
    return _texts(taken_in(planned))


def judged_pool(planned: Plan, candidates: Address, *, encoder: Encoder | None = None) -> Pool:
    """The judged queries' candidates with their signals. encoder: one that is in memory already, if any."""
    from rerankops.retrieval.encoder import Encoder

    table = planned.context.workspace.read(candidates, Candidate)
    encoder = encoder or Encoder(planned.context.settings.encoder)
    return pool(planned.context, planned.index, table, judged_texts(planned), encoder=encoder)


def leaks(planned: Plan) -> set[str]:
    """Judged queries that equal or nearly equal a gold question of the plan."""
    return _near_gold(planned, judged_texts(planned))


def _near_gold(planned: Plan, texts: Mapping[str, str]) -> set[str]:
    columns = {"id": list(texts), "normal": list(texts.values())}
    queries = pl.DataFrame(columns, schema={"id": pl.String, "normal": pl.String})
    settings = planned.context.settings.queries
    gold = gold_texts(planned.context, planned.gold)
    return near_to(queries, gold, threshold=settings.gold_distance_threshold, synonyms=settings.synonyms)


def _texts(about: pa.Table) -> dict[str, str]:
    """Text of every query of a table, by id."""
    queries = pl.DataFrame(pl.from_arrow(about.select(["query_id", "query_text"])))
    return dict(queries.unique("query_id", keep="first", maintain_order=True).sort("query_id").iter_rows())
