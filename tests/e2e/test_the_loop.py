"""The whole loop through the real DAGs, on the smaller demo world: two rounds, again, and with shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from local_stack import PROJECT, Running, run_over_rest

from rerankops.demo import runner
from rerankops.pipeline.incumbent import registry
from rerankops.records import QueryEvent

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
def demo(tmp_path_factory: pytest.TempPathFactory) -> runner.Demo:
    return runner.Demo(tmp_path_factory.mktemp("loop"), "small")


@pytest.fixture(scope="module")
def first(demo: runner.Demo) -> runner.Round:
    return runner.run(demo, rounds=1, tell=silent)[0]


@pytest.fixture(scope="module")
def stored_first(first: runner.Round, demo: runner.Demo) -> tuple[set[str], int]:
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


def test_a_challenger_with_shuffled_labels_is_not_promoted(again: Again, demo: runner.Demo) -> None:
    champion = runner.champion_version(demo)
    told = runner.run_dag(demo, "retrain_reranker", {"shuffle_labels_seed": 7, "epochs": 1})
    decision = demo.context().workspace.read_document(told["decide"])
    assert not decision["promote"]
    assert any("labels" in reason for reason in decision["reasons"])
    assert runner.champion_version(demo) == champion


@dataclass(frozen=True)
class Again:
    """Both rounds, run after the first was; what was stored, and how many versions, when its repetition was over."""

    repeated: runner.Round
    second: runner.Round
    stored: set[str]
    registered: int


@pytest.fixture(scope="module")
def again(stored_first: tuple[set[str], int], demo: runner.Demo) -> Again:
    seen: dict[str, tuple[set[str], int]] = {}

    def watch(name: str) -> None:
        if name.startswith("round 2") and not seen:
            seen["then"] = objects(demo), versions(demo)

    repeated, second = runner.run(demo, rounds=2, tell=watch)
    return Again(repeated, second, *seen["then"])


def test_running_again_changes_nothing(first: runner.Round, stored_first: tuple[set[str], int], again: Again) -> None:
    assert again.repeated.decision == first.decision
    assert again.repeated.promotion == first.promotion
    assert (again.stored, again.registered) == stored_first


def test_a_second_round_compares_with_what_the_first_one_promoted(first: runner.Round, again: Again) -> None:
    assert again.second.batch != first.batch
    assert "accepted" in {verdict["outcome"] for verdict in again.second.verdicts}
    assert again.second.decision != first.decision
    names = [row["name"] for row in again.second.ladder["systems"]]
    assert ("champion" in names) == first.promotion["promoted"]


def test_a_scheduler_runs_the_retraining_that_its_form_asks_for(again: Again, demo: runner.Demo) -> None:
    """`make up` after the demo: the same judgments and settings are the retraining that was done."""
    running = Running.on_free_ports(demo.root, "--dags", str(PROJECT / "dags"), "--plugins", str(PROJECT / "plugins"))
    registered = versions(demo)
    started = running.stack("up")
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        with running.airflow() as client:
            asked = {"epochs": None, "learning_rate": None, "seed": None, "again": None}
            run, state = run_over_rest(client, "retrain_reranker", asked, seconds=300)
            value = client.get(f"{run}/taskInstances/decide/xcomEntries/return_value").json()["value"]
            refused = client.post(
                "/api/v2/dags/retrain_reranker/dagRuns", json={"logical_date": None, "conf": {"epochs": 0}}
            )
    finally:
        stopped = running.stack("down")
    assert state == "success"
    assert value == again.second.decision
    assert refused.status_code == 400
    assert stopped.returncode == 0
    assert versions(demo) == registered


def test_a_retraining_with_an_unknown_parameter_fails(first: runner.Round, demo: runner.Demo) -> None:
    with pytest.raises(runner.DagFailed, match="epoch"):
        runner.run_dag(demo, "retrain_reranker", {"epoch": 3})


def test_the_champion_can_be_rolled_back_only_when_there_was_one_before(again: Again, demo: runner.Demo) -> None:
    book = registry(demo.context())
    champion, previous = book.champion(), book.previous()
    if champion is None or previous is None:
        with pytest.raises(runner.DagFailed, match="no champion"):
            runner.run_dag(demo, "rollback_reranker", {"reason": "a look at what happens"})
        return
    runner.run_dag(demo, "rollback_reranker", {"reason": "a look at what happens"})
    now, before = book.champion(), book.previous()
    assert now is not None
    assert before is not None
    assert (now.version, before.version) == (previous.version, champion.version)
