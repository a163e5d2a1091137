"""What every DAG here promises, read off the parsed DAGs, and the wiring of each, edge by edge."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rerankops import errors

SHARED = {"dag_defaults", "later_judgments", "promotion_tasks"}
"""Modules in dags/ that hold no DAG."""
MAX_LINES = 150
HEAVY = [
    *("torch", "transformers", "sentence_transformers", "mlflow", "great_expectations", "pandas", "polars", "pyarrow"),
    "rerankops.pipeline",
]
CORPUS, INDEX, BATCH, JUDGMENTS, CHAMPION = (
    f"rerankops://{name}" for name in ("corpus", "index", "annotation-batch", "judgments", "champion")
)


@dataclass(frozen=True)
class Shape:
    """What a DAG must look like. edges: each task with those that wait for it."""

    area: str
    edges: dict[str, set[str]]
    cron: str | None = None
    waits_for: set[str] = field(default_factory=set)
    updates: dict[str, str] = field(default_factory=dict)
    gpu: set[str] = field(default_factory=set)
    registry: set[str] = field(default_factory=set)
    mapped: set[str] = field(default_factory=set)
    may_skip: set[str] = field(default_factory=set)
    branches: set[str] = field(default_factory=set)
    asks_a_person: set[str] = field(default_factory=set)
    runs_when: dict[str, str] = field(default_factory=dict)
    instead_of_an_update: set[str] = field(default_factory=set)
    ends_within: timedelta = timedelta(hours=12)


SHAPES = {
    "refresh_corpus_index": Shape(
        area="retrieval",
        cron="0 2 * * *",
        edges={
            "load_corpus": {"plan_embedding", "join_vectors", "build_index", "check_gold_questions"},
            "load_gold": {"check_gold_questions"},
            "check_gold_questions": {"serve_index"},
            "plan_embedding": {"embed_shard"},
            "embed_shard": {"join_vectors"},
            "join_vectors": {"build_index"},
            "build_index": {"serve_index"},
            "serve_index": set(),
        },
        waits_for={CORPUS},
        updates={"serve_index": INDEX},
        runs_when={"join_vectors": "none_failed"},
        gpu={"embed_shard"},
        mapped={"embed_shard"},
    ),
    "collect_annotation_batch": Shape(
        area="annotation",
        cron="0 3 * * 1",
        edges={
            "pull_events": {"check_query_events"},
            "check_query_events": {"distil_queries"},
            "distil_queries": {"sample_queries"},
            "sample_queries": {"retrieve_candidates", "select_queries"},
            "retrieve_candidates": {"check_candidates", "select_queries"},
            "check_candidates": {"make_annotation_batch"},
            "select_queries": {"make_annotation_batch"},
            "make_annotation_batch": {"send_batch"},
            "send_batch": set(),
        },
        updates={"send_batch": BATCH},
        may_skip={"pull_events", "sample_queries"},
    ),
    "ingest_annotations": Shape(
        area="annotation",
        cron="0 * * * *",
        edges={
            "pull_deliveries": {"validate_delivery"},
            "validate_delivery": {"tell_quarantined"},
            "tell_quarantined": {"adjudicate"},
            "adjudicate": set(),
        },
        updates={"adjudicate": JUDGMENTS},
        mapped={"validate_delivery"},
        may_skip={"pull_deliveries"},
    ),
    "ask_adjudicators": Shape(
        area="annotation",
        cron="0 7 * * *",
        waits_for={JUDGMENTS},
        edges={"make_adjudication_batch": {"send_adjudication_batch"}, "send_adjudication_batch": set()},
        updates={"send_adjudication_batch": BATCH},
        may_skip={"make_adjudication_batch"},
    ),
    "derive_feedback": Shape(
        area="annotation",
        cron="0 5 * * 1",
        edges={"estimate_propensities": {"derive_feedback"}, "derive_feedback": set()},
        updates={"derive_feedback": JUDGMENTS},
        may_skip={"estimate_propensities"},
    ),
    "retrain_reranker": Shape(
        area="training",
        cron="0 4 1 * *",
        waits_for={JUDGMENTS},
        edges={
            "plan_retraining": {"check_judgments", "retrain_for_later_judgments"},
            "check_judgments": {
                "retrieve_judged",
                "build_training_groups",
                "train_cross_encoder",
                "fit_rankers",
                "freeze_gold_candidates",
                "rank_gold_candidates",
                "evaluate",
                "decide",
            },
            "retrieve_judged": {"build_training_groups", "fit_rankers"},
            "build_training_groups": {"train_cross_encoder", "fit_rankers"},
            "train_cross_encoder": {"fit_rankers"},
            "fit_rankers": {"rank_gold_candidates", "evaluate", "decide"},
            "freeze_gold_candidates": {"rank_gold_candidates"},
            "rank_gold_candidates": {"evaluate"},
            "evaluate": {"decide"},
            "decide": {"register", "approve", "promote", "reject"},
            "register": {"who_decides", "approve"},
            "who_decides": {"approve", "promote"},
            "approve": {"promote", "reject"},
            "promote": {"retrain_for_later_judgments"},
            "reject": {"retrain_for_later_judgments"},
            "retrain_for_later_judgments": set(),
        },
        updates={"promote": CHAMPION},
        gpu={"build_training_groups", "train_cross_encoder", "fit_rankers", "rank_gold_candidates"},
        registry={"register", "promote", "reject"},
        branches={"who_decides", "approve"},
        asks_a_person={"approve"},
        runs_when={
            "promote": "none_failed_min_one_success",
            "retrain_for_later_judgments": "all_done_setup_success",
        },
        instead_of_an_update={"reject"},
        ends_within=timedelta(hours=12, days=7),
    ),
    "review_quarantine": Shape(
        area="annotation",
        edges={"review_delivery": {"adjudicate"}, "adjudicate": set()},
        updates={"adjudicate": JUDGMENTS},
    ),
    "teacher_grades": Shape(
        area="annotation",
        cron="0 6 * * 1",
        edges={
            "measure_teacher": {"choose_pairs", "teach"},
            "choose_pairs": {"teach"},
            "teach": set(),
        },
        updates={"teach": JUDGMENTS},
        may_skip={"measure_teacher", "choose_pairs"},
    ),
    "rollback_reranker": Shape(
        area="promotion",
        edges={"roll_back": set()},
        updates={"roll_back": CHAMPION},
        registry={"roll_back"},
    ),
}
DAG_IDS = sorted(SHAPES)
each_dag = pytest.mark.parametrize("dag_id", DAG_IDS)
Find = Callable[[str], Any]


def schedule_of(dag: Any) -> tuple[str | None, set[str]]:
    """(cron expression in UTC or None, names of the assets that start it)."""
    from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable

    timetable, assets = dag.timetable, set()
    if isinstance(timetable, AssetOrTimeSchedule):
        assets = {asset.name for asset in timetable.asset_condition.objects}
        timetable = timetable.timetable
    if not isinstance(timetable, CronTriggerTimetable):
        return None, assets
    assert str(getattr(timetable.timezone, "name", timetable.timezone)) == "UTC"
    return timetable.expression, assets


def edges_of(dag: Any) -> dict[str, set[str]]:
    return {task_id: set(dag.get_task(task_id).downstream_task_ids) for task_id in dag.task_ids}


def test_the_folder_holds_exactly_these_dags(dag_bag: Any) -> None:
    assert dag_bag.import_errors == {}
    assert sorted(dag_bag.dags) == DAG_IDS


def test_no_file_warns_when_it_is_parsed(dag_bag: Any) -> None:
    assert dag_bag.captured_warnings == {}


def test_every_file_holds_one_dag_of_its_own_name(dag_bag: Any, dag_folder: Path) -> None:
    found = {stem: [] for stem in (path.stem for path in dag_folder.glob("*.py"))}
    for dag_id, dag in dag_bag.dags.items():
        found[Path(dag.fileloc).stem].append(dag_id)
    assert found == {stem: [] if stem in SHARED else [stem] for stem in found}


def test_no_file_is_longer_than_150_lines(dag_folder: Path) -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in dag_folder.glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_every_pool_in_use_is_known_and_an_unknown_one_would_be_noticed(dag_bag: Any) -> None:
    assert dag_bag.dag_warnings == set()
    pools, dag_bag.known_pools = dag_bag.known_pools, {"default_pool"}
    noticed = {warning.dag_id for warning in dag_bag.dag_warnings}
    dag_bag.known_pools = pools
    assert noticed == {dag_id for dag_id, shape in SHAPES.items() if shape.gpu or shape.registry}


def test_the_stack_creates_the_pools_that_the_dags_use(project: Path) -> None:
    for script in ("scripts/stack.py", "docker/airflow/init.sh"):
        text = (project / script).read_text(encoding="utf-8")
        assert all(f'"{pool}' in text for pool in ("gpu", "registry")), script


@each_dag
def test_tasks_and_edges_are_exactly_these(find_dag: Find, dag_id: str) -> None:
    assert edges_of(find_dag(dag_id)) == SHAPES[dag_id].edges


@each_dag
def test_it_is_scheduled_as_its_page_says(find_dag: Find, dag_id: str) -> None:
    assert schedule_of(find_dag(dag_id)) == (SHAPES[dag_id].cron, SHAPES[dag_id].waits_for)


@each_dag
def test_only_the_named_tasks_update_an_asset(find_dag: Find, dag_id: str) -> None:
    dag = find_dag(dag_id)
    updated = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert updated == {task_id: [asset] for task_id, asset in SHAPES[dag_id].updates.items()}
    assert all(not task.inlets for task in dag.tasks)


@each_dag
def test_the_asset_is_updated_by_the_last_task_alone(find_dag: Find, dag_id: str) -> None:
    shape, dag = SHAPES[dag_id], find_dag(dag_id)
    after = {task.task_id for task in dag.tasks if task.is_teardown}  # has no part in the state of a run
    last = {task.task_id for task in dag.tasks if task.task_id not in after and task.downstream_task_ids <= after}
    assert last == set(shape.updates) | shape.instead_of_an_update


def test_the_assets_chain_the_dags(dag_bag: Any) -> None:
    made, wanted = {}, {}
    for dag_id, dag in dag_bag.dags.items():
        for task in dag.tasks:
            for asset in task.outlets:
                made.setdefault(asset.name, set()).add(dag_id)
        wanted[dag_id] = schedule_of(dag)[1]
    assert made == {
        INDEX: {"refresh_corpus_index"},
        BATCH: {"ask_adjudicators", "collect_annotation_batch"},
        JUDGMENTS: {"derive_feedback", "ingest_annotations", "review_quarantine", "teacher_grades"},
        CHAMPION: {"retrain_reranker", "rollback_reranker"},
    }
    assert {dag_id: assets for dag_id, assets in wanted.items() if assets} == {
        "refresh_corpus_index": {CORPUS},
        "ask_adjudicators": {JUDGMENTS},
        "retrain_reranker": {JUDGMENTS},
    }


@each_dag
def test_only_the_named_tasks_take_the_gpu_or_the_registry(find_dag: Find, dag_id: str) -> None:
    shape = SHAPES[dag_id]
    for task in find_dag(dag_id).tasks:
        pool = "gpu" if task.task_id in shape.gpu else "registry" if task.task_id in shape.registry else "default_pool"
        queue = "gpu" if task.task_id in shape.gpu else "default"
        assert (task.task_id, task.pool, task.queue, task.pool_slots) == (task.task_id, pool, queue, 1)


@each_dag
def test_only_the_named_tasks_are_mapped_or_may_end_a_run_early(find_dag: Find, dag_id: str) -> None:
    from airflow.providers.common.compat.sdk import BranchMixIn
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    tasks = find_dag(dag_id).tasks
    assert {task.task_id for task in tasks if isinstance(task, MappedOperator)} == SHAPES[dag_id].mapped
    assert {task.task_id for task in tasks if "ShortCircuit" in task.task_type} == SHAPES[dag_id].may_skip
    assert {task.task_id for task in tasks if isinstance(task, BranchMixIn)} == SHAPES[dag_id].branches


@each_dag
def test_all_but_the_named_tasks_run_when_all_before_them_succeeded(find_dag: Find, dag_id: str) -> None:
    rules = {task.task_id: task.trigger_rule for task in find_dag(dag_id).tasks if task.trigger_rule != "all_success"}
    assert rules == SHAPES[dag_id].runs_when


@each_dag
def test_only_the_named_tasks_ask_a_person_and_silence_is_a_refusal(find_dag: Find, dag_id: str) -> None:
    from airflow.providers.standard.operators.hitl import HITLOperator

    asking = {task.task_id: task for task in find_dag(dag_id).tasks if isinstance(task, HITLOperator)}
    assert set(asking) == SHAPES[dag_id].asks_a_person
    for task in asking.values():
        assert task.options == ["Approve", "Reject"]
        assert task.defaults == ["Reject"]
        assert task.options_mapping == {"Approve": "promote", "Reject": "reject"}


def test_the_longest_wait_for_a_person_ends_before_the_run_does(find_dag: Find) -> None:
    from pydantic import ValidationError

    from rerankops import config

    dag = find_dag("retrain_reranker")
    longest = dag.get_task("approve").response_timeout
    settings = config.load().promotion
    hours = longest / timedelta(hours=1)
    assert type(settings).model_validate(settings.model_dump() | {"approval_timeout_hours": hours})
    with pytest.raises(ValidationError, match="approval_timeout_hours"):
        type(settings).model_validate(settings.model_dump() | {"approval_timeout_hours": hours + 1})
    assert dag.dagrun_timeout - longest >= timedelta(hours=12)


@each_dag
def test_it_is_tagged_and_owned(find_dag: Find, dag_id: str) -> None:
    dag = find_dag(dag_id)
    assert dag.tags == {"rerankops", SHAPES[dag_id].area}
    assert {task.owner for task in dag.tasks} == {"rerankops"}


@each_dag
def test_its_page_is_the_docstring_of_its_file(find_dag: Find, dag_folder: Path, dag_id: str) -> None:
    source = (dag_folder / f"{dag_id}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source), clean=False)
    page = find_dag(dag_id).doc_md
    assert page == docstring
    assert page.startswith("### ")
    assert "- **When**:" in page
    assert "- **Then**:" in page


@each_dag
def test_it_neither_catches_up_nor_runs_beside_itself(find_dag: Find, dag_id: str) -> None:
    dag = find_dag(dag_id)
    assert (dag.catchup, dag.max_active_runs, dag.dagrun_timeout) == (False, 1, SHAPES[dag_id].ends_within)
    assert dag.start_date is None  # with one, catchup=False still runs the latest past interval at first sight


@each_dag
def test_every_task_is_retried_with_growing_pauses_and_ends_in_time(find_dag: Find, dag_id: str) -> None:
    dag = find_dag(dag_id)
    for task in dag.tasks:
        assert task.retries == 2, task.task_id
        assert timedelta(0) < task.retry_delay <= timedelta(minutes=1), task.task_id
        assert task.retry_exponential_backoff > 1, task.task_id
        assert task.max_retry_delay <= timedelta(minutes=10), task.task_id
        assert timedelta(0) < task.execution_timeout < dag.dagrun_timeout, task.task_id


def all_errors() -> list[type[errors.RerankopsError]]:
    found = [errors.RerankopsError]
    for error in found:
        found.extend(error.__subclasses__())
    return found


@each_dag
def test_bad_input_fails_at_once_and_anything_else_is_tried_again(find_dag: Find, dag_id: str) -> None:
    from airflow.sdk.definitions.retry_policy import RetryAction

    for task in find_dag(dag_id).tasks:
        policy = task.partial_kwargs["retry_policy"] if hasattr(task, "partial_kwargs") else task.retry_policy
        for error in all_errors():
            decision = policy.evaluate(error("bad input"), try_number=1, max_tries=2)
            away = issubclass(error, errors.ServerUnavailable)
            assert decision.action is (RetryAction.RETRY if away else RetryAction.FAIL), (task.task_id, error)
            assert decision.reason
        for passing in (OSError("disk"), ConnectionError("reset"), TimeoutError(), MemoryError()):
            decision = policy.evaluate(passing, try_number=1, max_tries=2)
            assert decision.action is RetryAction.DEFAULT, (task.task_id, passing)


@each_dag
def test_it_survives_being_stored_and_read_back(find_dag: Find, dag_id: str) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = find_dag(dag_id)
    stored = json.dumps(DagSerialization.to_dict(dag))
    back = DagSerialization.from_dict(json.loads(stored))
    assert json.dumps(DagSerialization.to_dict(dag)) == stored
    assert (back.dag_id, back.doc_md, set(back.tags)) == (dag_id, dag.doc_md, dag.tags)
    assert edges_of(back) == SHAPES[dag_id].edges
    assert {name: back.params.get_param(name).schema for name in back.params} == {
        name: param.schema for name, param in dag.params.items()
    }
    for task in dag.tasks:
        other = back.get_task(task.task_id)
        for name in ("pool", "queue", "retries", "retry_delay", "execution_timeout", "owner", "is_mapped"):
            assert getattr(other, name, None) == getattr(task, name, None), (task.task_id, name)
        assert [asset.name for asset in other.outlets] == [asset.name for asset in task.outlets]


PARSE_EACH = """
import importlib.util, json, sys
import airflow.sdk

heavy, files = json.loads(sys.argv[1])
before = sorted(name for name in heavy if name in sys.modules)
found = {}
for file in files:
    spec = importlib.util.spec_from_file_location("parsed", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    found[file] = sorted(name for name in heavy if name in sys.modules)
print(json.dumps([before, found]))
"""


def test_parsing_loads_no_heavy_module(dag_folder: Path, airflow_variables: dict[str, str]) -> None:
    files = [str(path) for path in sorted(dag_folder.glob("*.py"))]
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "RERANKOPS"))}
    done = subprocess.run(
        [sys.executable, "-c", PARSE_EACH, json.dumps([HEAVY, files])],
        env=outer | airflow_variables | {"PYTHONPATH": str(dag_folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    before, found = json.loads(done.stdout.splitlines()[-1])
    assert before == []
    assert found == {file: [] for file in files}
