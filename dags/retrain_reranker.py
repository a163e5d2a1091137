"""### Retrain the reranker

Freezes a plan (judgments, gold questions, index, champion, settings), builds training groups with **hard negatives
mined by the incumbent**, trains a challenger in its own process, fits the blend of signals on development queries, and
compares on the **frozen gold questions, end to end**: retrieval only, tuned fusion, base model, champion, challenger
and, where one is set, a teacher that is never promoted. The gate promotes only on evidence and prefers the cheapest
ranker that is as good; where it cannot tell, it refuses (see `rerankops gate accept`). Every decision is logged to
MLflow with the report; a winner is registered as `challenger` and becomes `champion` by compare-and-set.

- **When**: when at least `training.min_new_labels` judgments came or changed since the last retraining (otherwise the
  first task skips and says how many are missing, since every retraining is a look at the gold questions and uses some
  of them up), on the first of the month at 04:00 UTC, or by hand with the form.
- **Again**: the same judgments under the same settings are one retraining, which is not repeated; give *Again* a text
  of your own to ask for another. A task that is retried continues training from its last checkpoint.
- **Approval**: with `promotion.approval: human` a person approves or rejects first (*Required Actions*), the report at
  hand. A rejection, or no answer in time, leaves the champion as it is; both are kept in the registry's audit trail.
- **Meanwhile**: judgments that come while it runs start the next one, when they are enough.
- **Then**: a promotion updates the asset `rerankops://champion`. `rollback_reranker` undoes it.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from dag_defaults import GPU, JUDGMENTS, context, refuse_unknown
from later_judgments import WHEN_DUE, look_again
from promotion_tasks import WITH_APPROVAL, settle

PARAMS = {
    "epochs": Param(
        None, type=["integer", "null"], minimum=1, maximum=50, title="Epochs", description="Empty: as configured."
    ),
    "learning_rate": Param(
        None,
        type=["number", "null"],
        exclusiveMinimum=0,
        maximum=0.01,
        title="Learning rate",
        description="Empty: as configured.",
    ),
    "seed": Param(None, type=["integer", "null"], minimum=0, title="Seed", description="Empty: as configured."),
    "base_model": Param(
        None,
        type=["string", "null"],
        minLength=1,
        title="Base model",
        description="Folder, hub name or package:NAME; empty: as configured.",
    ),
    "shuffle_labels_seed": Param(
        None,
        type=["integer", "null"],
        minimum=0,
        title="Negative control",
        description="Permutes every query's labels with this seed; the gate must refuse what comes of it.",
    ),
    "again": Param(
        None, type=["string", "null"], minLength=1, title="Again", description="A new text repeats a retraining."
    ),
}


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 4 1 * *", timezone="UTC"), assets=[JUDGMENTS]),
    doc_md=__doc__,
    params=PARAMS,
    tags=["rerankops", "training"],
    **WITH_APPROVAL,
)
def retrain_reranker():
    @task
    def plan_retraining(params=None, dag_run=None) -> str:
        from rerankops.pipeline import due, training

        refuse_unknown(params, PARAMS)
        if dag_run.run_type in WHEN_DUE and not (found := due.retraining_due()).now:
            raise AirflowSkipException(found.words)
        overrides = {name: params[name] for name in PARAMS if name != "again"}
        return training.plan_retraining(overrides, again=params["again"])

    @task
    def check_judgments(plan: str) -> str:
        from rerankops.pipeline import training

        training.check_judgments(plan)
        return plan

    @task
    def retrieve_judged(plan: str) -> str:
        from rerankops.pipeline import training

        return training.retrieve_judged(plan, context=context())

    @task(**GPU)
    def build_training_groups(plan: str, candidates: str) -> str:
        from rerankops.pipeline import training

        return training.build_training_groups(plan, candidates)

    @task(execution_timeout=timedelta(hours=10), **GPU)
    def train_cross_encoder(plan: str, groups: str) -> str:
        from rerankops.pipeline import training

        return training.train_cross_encoder(plan, groups)

    @task(**GPU)
    def fit_rankers(plan: str, candidates: str, groups: str, model: str) -> str:
        from rerankops.pipeline import training

        return training.fit_rankers(plan, candidates, groups, model)

    @task
    def freeze_gold_candidates(plan: str) -> str:
        from rerankops.pipeline import evaluation

        return evaluation.freeze_gold_candidates(plan, context=context())

    @task(**GPU)
    def rank_gold_candidates(plan: str, contenders: str, gold_candidates: str) -> str:
        from rerankops.pipeline import ranking

        return ranking.rank_gold_candidates(plan, contenders, gold_candidates)

    @task
    def evaluate(plan: str, contenders: str, ranked: str) -> str:
        from rerankops.pipeline import evaluation

        return evaluation.evaluate(plan, contenders, ranked)

    @task
    def decide(plan: str, contenders: str, evaluation: str) -> str:
        from rerankops.pipeline import evaluation as steps

        return steps.decide(plan, contenders, evaluation)

    planned = plan_retraining()
    plan = check_judgments(planned)
    candidates = retrieve_judged(plan)
    groups = build_training_groups(plan, candidates)
    contenders = fit_rankers(plan, candidates, groups, train_cross_encoder(plan, groups))
    ranked = rank_gold_candidates(plan, contenders, freeze_gold_candidates(plan))
    evaluation = evaluate(plan, contenders, ranked)
    look_again(planned, settle(decide(plan, contenders, evaluation)), "retrain_reranker")


retrain_reranker()
