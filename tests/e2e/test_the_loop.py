"""The whole loop through the real DAGs, on the smaller demo world: two rounds, again, and with shuffled labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerankops.demo import runner
from rerankops.pipeline.incumbent import registry
from rerankops.records import QueryEvent


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


def test_running_again_changes_nothing(first: runner.Round, demo: runner.Demo) -> None:
    before, registered = objects(demo), versions(demo)
    again = runner.run(demo, rounds=1, tell=silent)[0]
    assert again.decision == first.decision
    assert again.promotion == first.promotion
    assert objects(demo) == before
    assert versions(demo) == registered


def test_a_challenger_with_shuffled_labels_is_not_promoted(first: runner.Round, demo: runner.Demo) -> None:
    champion = runner.champion_version(demo)
    told = runner.run_dag(demo, "retrain_reranker", {"shuffle_labels_seed": 7, "epochs": 1})
    decision = demo.context().workspace.read_document(told["decide"])
    assert not decision["promote"]
    assert any("labels" in reason for reason in decision["reasons"])
    assert runner.champion_version(demo) == champion


def test_a_second_round_compares_with_what_the_first_one_promoted(first: runner.Round, demo: runner.Demo) -> None:
    _, second = runner.run(demo, rounds=2, tell=silent)
    assert second.batch != first.batch
    assert second.decision != first.decision
    names = [row["name"] for row in second.ladder["systems"]]
    assert ("champion" in names) == first.promotion["promoted"]
    before, after = (demo.context().workspace.read_document(r.decision) for r in (first, second))
    assert json.dumps(before) != json.dumps(after)


def test_a_retraining_with_an_unknown_parameter_fails(first: runner.Round, demo: runner.Demo) -> None:
    with pytest.raises(runner.DagFailed, match="epoch"):
        runner.run_dag(demo, "retrain_reranker", {"epoch": 3})


def test_the_champion_can_be_rolled_back_only_when_there_was_one_before(first: runner.Round, demo: runner.Demo) -> None:
    book = registry(demo.context())
    if book.previous() is None:
        with pytest.raises(runner.DagFailed, match="no champion"):
            runner.run_dag(demo, "rollback_reranker", {"reason": "a look at what happens"})
    else:
        before = book.champion()
        runner.run_dag(demo, "rollback_reranker", {"reason": "a look at what happens"})
        after = book.champion()
        assert before is not None
        assert after is not None
        assert (after.version, book.previous().version) != (before.version, None)  # type: ignore[union-attr]
