"""The whole loop through the real DAGs, on the smaller demo world: two rounds, again, and with shuffled labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from local_stack import PROJECT, Running, answered, run_over_rest

from rerankops.demo import runner
from rerankops.demo.dags import DagFailed, Dags
from rerankops.pipeline.incumbent import registry
from rerankops.pipeline.reporting import full_ladder
from rerankops.records import AnnotationTask, Candidate, PromotionDecision, QueryEvent

QUICK = {
    "ENCODER__MAX_LENGTH": "96",
    "TRAINING__MAX_LENGTH": "64",
    "TRAINING__EPOCHS": "1",
    "ANNOTATION__SELECTION__POOL_QUERIES": "100",
    "ANNOTATION__SELECTION__BUDGET_TASKS": "420",
    "EVALUATION__LATENCY_QUESTIONS": "3",
}
"""What is tested is the way, not how well it learns."""

pytestmark = pytest.mark.timeout(1500)  # whole rounds of the loop, on a machine that may be busy


def silent(_: str) -> None:
    """Nobody watches."""


def objects(demo: runner.Demo) -> set[str]:
    """Addresses of everything stored."""
    folder = demo.state / "workspace" / "objects"
    return {f"{path.parent.parent.name}/{path.parent.name}" for path in folder.glob("*/*/manifest.json")}


def versions(demo: runner.Demo) -> int:
    return len(
        registry(demo.context())._client.search_model_versions(
            f"name = '{demo.context().settings.registry.model_name}'"
        )
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[runner.Demo]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setenv(f"RERANKOPS__{name}", value)
        yield runner.Demo(tmp_path_factory.mktemp("loop"), "small")


@pytest.fixture(scope="module")
def first(demo: runner.Demo, dags: Dags) -> runner.Round:
    return runner.run(demo, rounds=1, tell=silent, dags=dags)[0]


@pytest.fixture(scope="module")
def shuffled(first: runner.Round, demo: runner.Demo, dags: Dags) -> dict[str, Any]:
    """A retraining on the first round's judgments, their grades permuted."""
    told = dags.run("retrain_reranker", {"shuffle_labels_seed": 7, "epochs": 1})
    return dict(demo.context().workspace.read_document(told["decide"]))


@pytest.fixture(scope="module")
def stored_first(first: runner.Round, shuffled: dict[str, Any], demo: runner.Demo) -> tuple[set[str], int]:
    return objects(demo), versions(demo)


def test_the_first_round_goes_from_events_to_a_decision(first: runner.Round, demo: runner.Demo) -> None:
    counts: dict[str, float] = {}
    for stage in first.ladder["stages"]:
        counts |= stage["counts"]
    assert counts["events"] > 200
    assert counts["redactions"] > 0
    assert counts["judgments"] > 100
    assert counts["pairs"] > 100
    assert [row["name"] for row in first.ladder["systems"]] == ["retrieval_only", "tuned_fusion", "challenger"]
    assert {verdict["outcome"] for verdict in first.verdicts} == {"accepted", "quarantined"}
    assert first.ladder["decision"]["reasons"]


def test_a_quarantined_delivery_says_what_is_wrong_with_it(first: runner.Round) -> None:
    folder = next(Path(verdict["folder"]) for verdict in first.verdicts if verdict["outcome"] == "quarantined")
    assert "interrupted-upload" in (folder / "reasons.md").read_text()
    assert (folder / "data_docs" / "index.html").is_file()


def test_a_promoted_ranker_is_the_registrys_champion_and_a_refused_one_is_not(
    first: runner.Round, demo: runner.Demo
) -> None:
    assert runner.champion_version(demo) == (first.promotion["version"] if first.promotion["promoted"] else None)


def test_no_personal_data_is_stored(first: runner.Round, demo: runner.Demo) -> None:
    here = demo.context()
    (events,) = (a for a in objects(demo) if a.startswith(f"{QueryEvent.name}/"))
    stored = "\n".join(here.workspace.read(events, QueryEvent)["text"].to_pylist())
    world = runner.build(runner.SEED, "small")
    planted = [row["value"] for row in world.personal.to_pylist() if row["kind"] not in {"name"}]
    leaked = [value for value in planted if value in stored]
    assert not leaked


def test_a_challenger_with_shuffled_labels_is_not_promoted(shuffled: dict[str, Any], demo: runner.Demo) -> None:
    assert not shuffled["promote"]
    assert any("labels" in reason for reason in shuffled["reasons"])
    assert runner.champion_version(demo) is None


def crown(demo: runner.Demo, decision: str) -> None:
    """Makes a refused challenger champion. The small world's gold is too small for the gate to promote anybody, and
    the second round is to meet a champion."""
    here = demo.context()
    _, contenders, evaluation = here.workspace.manifest(decision).inputs
    ranker = here.workspace.read_document(contenders)["rankers"]["challenger"]
    book = registry(here)
    with here.workspace.local_folder(ranker) as folder:
        recorded = book.record(
            PromotionDecision(True, "challenger", (), ("by hand",)),
            full_ladder(here, evaluation, decision),
            params={},
            report_html="<p>by hand</p>",
            ranker_dir=folder,
            ranker_address=ranker,
            lineage={},
            key=f"{decision} by hand",
        )
    book.promote(recorded.version, None, "by hand", actor="a test")


@dataclass(frozen=True)
class Again:
    """Both rounds, run after the first was, with the first one's challenger made champion between them; what was
    stored, and how many versions, when the repetition of the first was over."""

    repeated: runner.Round
    second: runner.Round
    stored: set[str]
    registered: int


@pytest.fixture(scope="module")
def again(first: runner.Round, stored_first: tuple[set[str], int], demo: runner.Demo, dags: Dags) -> Again:
    seen: dict[str, tuple[set[str], int]] = {}

    def watch(name: str) -> None:
        if name.startswith("round 2") and not seen:
            seen["then"] = objects(demo), versions(demo)
            assert not first.promotion["promoted"]
            crown(demo, first.decision)

    repeated, second = runner.run(demo, rounds=2, tell=watch, dags=dags)
    return Again(repeated, second, *seen["then"])


def test_running_again_changes_nothing(first: runner.Round, stored_first: tuple[set[str], int], again: Again) -> None:
    assert again.repeated.decision == first.decision
    assert again.repeated.promotion == first.promotion
    assert (again.stored, again.registered) == stored_first


def test_a_second_round_compares_with_the_champion(first: runner.Round, again: Again, demo: runner.Demo) -> None:
    workspace = demo.context().workspace
    assert again.second.batch != first.batch
    assert "accepted" in {verdict["outcome"] for verdict in again.second.verdicts}
    systems = {row["name"]: row for row in again.second.ladder["systems"]}
    assert list(systems) == ["retrieval_only", "tuned_fusion", "champion", "challenger"]
    crowned = next(row for row in first.ladder["systems"] if row["name"] == "challenger")
    beside = {"name", "milliseconds_per_query", "cost", "calibration", "classification", "close"}
    """What was measured anew, on this round's development queries, or beside this round's training queries."""
    assert {key: systems["champion"][key] for key in crowned if key not in beside} == {
        key: value for key, value in crowned.items() if key not in beside
    }
    plan = workspace.read_document(workspace.manifest(again.second.decision).inputs[0])
    assert plan["champion_version"] == runner.champion_version(demo)
    assert any(c["against"] == "champion" for c in again.second.ladder["comparisons"])


def test_people_are_asked_what_the_champion_puts_first(again: Again, demo: runner.Demo) -> None:
    workspace = demo.context().workspace
    tasks = pl.DataFrame(pl.from_arrow(workspace.read(again.second.batch, AnnotationTask)))
    candidates = workspace.manifest(again.second.batch).inputs[1]
    found = pl.DataFrame(pl.from_arrow(workspace.read(candidates, Candidate)))
    asked = tasks.filter(pl.col("control_grade").is_null()).select("query_id", "passage_id")
    per_query = demo.context().settings.annotation.candidates_per_query
    fused = found.filter(pl.col("rank") <= per_query).select("query_id", "passage_id")
    assert asked.join(found, on=["query_id", "passage_id"], how="anti").is_empty()
    assert 0 < asked.join(fused, on=["query_id", "passage_id"], how="anti").height < asked.height


def test_a_scheduler_runs_the_retraining_that_its_form_asks_for(again: Again, demo: runner.Demo, dags: Dags) -> None:
    """`make up` after the demo: the same judgments and settings are the retraining that was done."""
    running = Running.on_free_ports(demo.root, "--dags", str(PROJECT / "dags"), "--plugins", str(PROJECT / "plugins"))
    registered = versions(demo)
    dags.close()
    try:
        started = running.stack("up")
        assert started.returncode == 0, started.stdout + started.stderr
        with running.airflow() as client:
            asked = {"epochs": None, "learning_rate": None, "seed": None, "again": None}
            run, state = run_over_rest(client, "retrain_reranker", asked, seconds=900)
            told = answered(client, "GET", f"{run}/taskInstances/decide/xcomEntries/return_value", seconds=60)
            wrong = {"logical_date": None, "conf": {"epochs": 0}}
            refused = answered(client, "POST", "/api/v2/dags/retrain_reranker/dagRuns", json=wrong, seconds=60)
    finally:
        stopped = running.stack("down")
    assert state == "success"
    assert told.json()["value"] == again.second.decision
    assert refused.status_code == 400
    assert stopped.returncode == 0
    assert versions(demo) == registered


def test_a_retraining_with_an_unknown_parameter_fails(first: runner.Round, dags: Dags) -> None:
    with pytest.raises(DagFailed, match="epoch"):
        dags.run("retrain_reranker", {"epoch": 3})


def test_the_champion_can_be_rolled_back_only_when_there_was_one_before(
    again: Again, demo: runner.Demo, dags: Dags
) -> None:
    book = registry(demo.context())
    champion = book.champion()
    assert champion is not None
    assert book.previous() is None
    with pytest.raises(DagFailed, match="no champion before"):
        dags.run("rollback_reranker", {"reason": "a look at what happens"})
    now = book.champion()
    assert now is not None
    assert now.version == champion.version
