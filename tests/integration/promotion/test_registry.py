"""The registry on a real MLflow over SQLite: first promotion, compare-and-set, rollback, and doing things twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rerankops.errors import ArtefactMissing, PromotionRefused
from rerankops.promotion.registry import Recorded, Registry
from rerankops.records import PromotionDecision, Rule

LADDER = {
    "systems": [
        {
            "name": "retrieval_only",
            "n": 3,
            "accuracy": 0.5,
            "accuracy_interval": [0.2, 0.8],
            "strata": {"数值": {"n": 3, "accuracy": 0.5}},
            "recall@1": 0.5,
        },
        {"name": "challenger", "n": 3, "accuracy": 0.75, "accuracy_interval": None, "strata": {}, "recall@1": None},
    ],
    "comparisons": [
        {
            "of": "challenger",
            "against": "retrieval_only",
            "metric": "accuracy",
            "difference": 0.25,
            "interval": [0.1, 0.4],
            "p_value": 0.01,
            "n": 3,
        }
    ],
    "stages": [{"name": "candidates", "seconds": 1.5, "counts": {"rows": 3}}],
}


def decision(*, promote: bool = True) -> PromotionDecision:
    rule = Rule("challenger: superiority", 0.0, 0.25, (0.1, 0.4), promote, "challenger: +25.0 points")
    return PromotionDecision(promote, "challenger" if promote else None, (rule,), ("challenger: +25.0 points",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow with space")


@pytest.fixture
def registry(folder: Path, request: pytest.FixtureRequest) -> Registry:
    """A model of its own a test, in one database: creating its tables takes seconds."""
    name = request.node.name
    return Registry(
        f"sqlite:///{folder}/registry/mlflow.db",
        name,
        "rerankops",
        folder / "registry.lock",
        artifact_root=folder / "artefacts",
    )


@pytest.fixture
def ranker(tmp_path: Path) -> Path:
    folder = tmp_path / "ranker"
    (folder / "cross_encoder").mkdir(parents=True)
    (folder / "ranker.json").write_text('{"signals": ["bm25"]}')
    (folder / "cross_encoder" / "model.safetensors").write_bytes(b"\x00" * 16)
    return folder


def record(registry: Registry, ranker: Path | None, key: str, *, promote: bool = True) -> Recorded:
    return registry.record(
        decision(promote=promote),
        LADDER,
        params={"training": {"epochs": 3, "signals": ["bm25", "cosine"]}, "seed": 42},
        report_html="<p>报告</p>",
        ranker_dir=ranker,
        ranker_address=f"rankers/{key}",
        lineage={"gold": "gold_questions/" + "a" * 32, "training": "training_groups/" + "b" * 32},
        key=f"{registry.model_name}/{key}",
    )


def test_before_the_first_promotion_there_is_no_champion(registry: Registry) -> None:
    assert registry.champion() is None
    assert registry.previous() is None
    assert registry.audit() == []


def test_a_winner_is_recorded_registered_promoted_and_fetched(registry: Registry, ranker: Path) -> None:
    recorded = record(registry, ranker, "one")
    assert recorded.version == "1"
    assert registry.champion() is None, "recording moves no serving alias"
    promoted = registry.promote("1", None, "better by 25 points", actor="airflow: retrain_reranker")
    champion = registry.champion()
    assert champion == promoted
    assert champion.ranker_address == "rankers/one"
    assert champion.run_id == recorded.run_id
    fetched = registry.fetch("1")
    assert sorted(p.relative_to(fetched).as_posix() for p in fetched.rglob("*") if p.is_file()) == [
        "cross_encoder/model.safetensors",
        "ranker.json",
    ]
    (entry,) = registry.audit()
    assert (entry["action"], entry["actor"], entry["reason"]) == (
        "promote",
        "airflow: retrain_reranker",
        "better by 25 points",
    )


def test_a_run_holds_params_metrics_datasets_and_files(registry: Registry, ranker: Path) -> None:
    run = registry._client.get_run(record(registry, ranker, "one").run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "3"
    assert run.data.metrics["accuracy.challenger"] == 0.75
    assert run.data.metrics["recall_at_1.retrieval_only"] == 0.5
    assert run.data.metrics["accuracy.retrieval_only.数值"] == 0.5
    assert run.data.metrics["difference.accuracy.challenger.retrieval_only"] == 0.25
    assert {d.dataset.name: d.dataset.source for d in run.inputs.dataset_inputs}["gold"].startswith("gold_questions/")
    names = {f.path for f in registry._client.list_artifacts(run.info.run_id)}
    assert names == {"report.html", "decision.json", "ladder.json", "ranker"}


def test_recording_twice_makes_one_run_and_one_version(registry: Registry, ranker: Path) -> None:
    first = record(registry, ranker, "one")
    assert record(registry, ranker, "one") == first
    assert record(registry, ranker, "two").version == "2"


def test_a_recording_that_was_interrupted_is_completed(registry: Registry, ranker: Path) -> None:
    run = registry._start(decision(), {}, f"{registry.model_name}/one")
    recorded = record(registry, ranker, "one")
    assert recorded == Recorded(run.info.run_id, "1")


def test_a_refusal_is_recorded_without_a_version(registry: Registry) -> None:
    recorded = record(registry, None, "refused", promote=False)
    assert recorded.version is None
    assert registry._client.get_run(recorded.run_id).data.tags["rerankops.promote"] == "false"


def test_a_winner_without_its_folder_is_an_error(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ArtefactMissing, match="no folder"):
        record(registry, tmp_path / "absent", "one")


def test_promotion_is_refused_when_the_champion_changed_meanwhile(registry: Registry, ranker: Path) -> None:
    for key in ("one", "two", "three"):
        record(registry, ranker, key)
    registry.promote("1", None, "first", actor="test")
    registry.promote("2", "1", "second", actor="test")
    with pytest.raises(PromotionRefused, match=r"is version 2, expected was version 1"):
        registry.promote("3", "1", "late", actor="test")
    with pytest.raises(PromotionRefused, match=r"expected was none"):
        registry.promote("3", None, "later", actor="test")
    assert registry.champion().version == "2"
    assert registry.previous().version == "1"


def test_of_two_promotions_at_once_one_wins(registry: Registry, ranker: Path) -> None:
    for key in ("one", "two", "three"):
        record(registry, ranker, key)
    registry.promote("1", None, "first", actor="test")

    def attempt(number: str) -> str:
        mine = Registry(registry.tracking_uri, registry.model_name, registry.experiment, registry.lock_path)
        try:
            return mine.promote(number, "1", "race", actor=f"test {number}").version
        except PromotionRefused:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, ["2", "3"]))
    assert results.count("refused") == 1
    assert registry.champion().version in results


def test_promoting_the_champion_again_changes_nothing(registry: Registry, ranker: Path) -> None:
    record(registry, ranker, "one")
    record(registry, ranker, "two")
    registry.promote("1", None, "first", actor="test")
    registry.promote("2", "1", "second", actor="test")
    registry.promote("2", "1", "a retry", actor="test")
    assert registry.previous().version == "1"
    assert len(registry.audit()) == 2


def test_a_rollback_brings_the_previous_champion_back(registry: Registry, ranker: Path) -> None:
    record(registry, ranker, "one")
    record(registry, ranker, "two")
    registry.promote("1", None, "first", actor="test")
    with pytest.raises(PromotionRefused, match="no champion before version 1"):
        registry.rollback("too early", actor="test")
    registry.promote("2", "1", "second", actor="test")
    assert registry.rollback("users complain", actor="an operator", expected_champion="2").version == "1"
    assert registry.champion().version == "1"
    assert registry.previous().version == "2"
    with pytest.raises(PromotionRefused, match="expected was version 2"):
        registry.rollback("a retry", actor="an operator", expected_champion="2")
    assert [entry["action"] for entry in registry.audit()] == ["promote", "promote", "rollback"]


def test_a_rollback_without_a_champion_is_refused(registry: Registry) -> None:
    with pytest.raises(PromotionRefused, match="no champion"):
        registry.rollback("nothing there", actor="test")


def test_an_unknown_version_is_named(registry: Registry) -> None:
    with pytest.raises(ArtefactMissing, match="version 9"):
        registry.promote("9", None, "?", actor="test")
