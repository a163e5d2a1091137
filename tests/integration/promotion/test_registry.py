"""The registry on a real MLflow over SQLite: first promotion, compare-and-set, rollback, and doing things twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from registered_rankers import LINEAGE, decision, record

from rerankops.errors import ArtefactDamaged, ArtefactMissing, PromotionRefused
from rerankops.promotion import recording
from rerankops.promotion.registry import Recorded, Registry
from rerankops.scoring.ranker import Ranker

Open = Callable[[], Registry]


def aliases(registry: Registry) -> dict[str, str]:
    """As MLflow has them."""
    found = registry._client.get_registered_model(registry.model_name).aliases
    return {name: str(number) for name, number in found.items()}


def recorded(registry: Registry, ranker: Path, count: int) -> None:
    for number in range(1, count + 1):
        assert record(registry, ranker, f"decision {number}").version == str(number)


# -- recording ---------------------------------------------------------------------------------------------------------


def test_before_the_first_promotion_there_is_no_champion(registry: Registry) -> None:
    assert registry.champion() is None
    assert registry.previous() is None
    assert registry.audit() == []
    assert registry.versions() == []
    assert registry.problems() == []


def test_a_winner_is_recorded_registered_promoted_and_fetched(registry: Registry, cascade: Path) -> None:
    there = record(registry, cascade, "one")
    assert there.version == "1"
    assert registry.champion() is None, "recording moves no serving alias"
    assert aliases(registry) == {"challenger": "1"}
    promoted = registry.promote("1", None, "better by 25 points", actor="airflow: retrain_reranker")
    champion = registry.champion()
    assert champion == promoted
    assert champion.ranker_address == "rankers/one"
    assert champion.run_id == there.run_id
    assert aliases(registry) == {"champion": "1"}
    fetched = registry.fetch("1")
    files = sorted(path.relative_to(fetched).as_posix() for path in fetched.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(cascade).as_posix() for path in cascade.rglob("*") if path.is_file())
    assert Ranker.load(fetched).blend == Ranker.load(cascade).blend
    (entry,) = registry.audit()
    assert {
        "action": "promote",
        "actor": "airflow: retrain_reranker",
        "reason": "better by 25 points",
        "champion": "1",
        "previous": "",
        "before": "",
        "forced": False,
    }.items() <= entry.items()


def test_a_version_says_what_it_came_from(registry: Registry, ranker: Path) -> None:
    record(registry, ranker, "one")
    (version,) = registry.versions()
    assert version.passed
    assert version.system == "challenger"
    assert version.decision == f"{registry.model_name}/one"
    named = {name: version.tags[f"rerankops.{name}"] for name in ("judgment", "gold", "index", "settings")}
    assert named == {
        "judgment": LINEAGE["judgments"],
        "gold": LINEAGE["gold_questions"],
        "index": LINEAGE["indexes"],
        "settings": LINEAGE["plans"],
    }
    assert version.tags["lineage.decisions"] == LINEAGE["decisions"]


def test_a_run_holds_params_metrics_datasets_and_files(registry: Registry, ranker: Path) -> None:
    run = registry._client.get_run(record(registry, ranker, "one").run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "3"
    assert run.data.metrics["accuracy.challenger"] == 0.75
    assert run.data.metrics["recall_at_1.retrieval_only"] == 0.5
    assert run.data.metrics["accuracy.retrieval_only.数值"] == 0.5
    assert run.data.metrics["difference.accuracy.challenger.retrieval_only"] == 0.25
    assert {d.dataset.name: d.dataset.source for d in run.inputs.dataset_inputs} == LINEAGE
    names = {f.path for f in registry._client.list_artifacts(run.info.run_id)}
    assert names == {"report.html", "decision.json", "ladder.json", "model"}


def test_nothing_in_a_version_is_a_pickle(registry: Registry, cascade: Path) -> None:
    run = record(registry, cascade, "one").run_id
    names = recording.stored(registry._client, run, recording.MODEL)
    endings = {Path(name).suffix for name in names}
    assert endings == {".safetensors", ".json", ".yaml", ".txt", ".py", ""}
    assert {Path(name).name for name in names if not Path(name).suffix} == {"MLmodel"}
    assert {name for name in names if name.endswith(".py")} == {"served.py"}


def test_recording_twice_makes_one_run_and_one_version(registry: Registry, ranker: Path) -> None:
    first = record(registry, ranker, "one")
    assert record(registry, ranker, "one") == first
    assert record(registry, ranker, "two").version == "2"
    assert [version.version for version in registry.versions()] == ["1", "2"]


@pytest.mark.parametrize("at", ["create_run", "log_batch", "log_artifact", "set_terminated", "create_model_version"])
@pytest.mark.parametrize("carried_out", [False, True])
def test_a_recording_that_was_interrupted_is_completed(
    registry: Registry, open_registry: Open, cascade: Path, at: str, carried_out: bool
) -> None:
    class Interrupted(BaseException):
        pass

    method = getattr(registry._client, at)

    def interrupt(*args: object, **kwargs: object) -> None:
        if carried_out:
            method(*args, **kwargs)
        raise Interrupted

    registry._client.__dict__[at] = interrupt  # this process ends here; the next one is another registry
    with pytest.raises(Interrupted):
        record(registry, cascade, "one")
    again = open_registry()
    assert record(again, cascade, "one").version == "1"
    assert [version.version for version in again.versions()] == ["1"]
    assert aliases(again) == {"challenger": "1"}
    assert again.fetch("1").is_dir()


def test_a_large_file_that_is_there_whole_is_not_stored_again(
    registry: Registry, ranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_SMALL", 1000)
    run = record(registry, ranker, "one").run_id
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "large").write_bytes(b"1" * 5000)
    (folder / "torn").write_bytes(b"1" * 5000)
    (folder / "small").write_bytes(b"1")
    recording.upload(registry._client, run, folder)
    root = Path(registry._client.get_run(run).info.artifact_uri.removeprefix("file://").replace("%20", " "))
    (root / "model" / "torn").write_bytes(b"1" * 4999)
    (folder / "large").write_bytes(b"2" * 5000)
    (folder / "small").write_bytes(b"2")
    recording.upload(registry._client, run, folder)
    assert (root / "model" / "large").read_bytes() == b"1" * 5000
    assert (root / "model" / "torn").read_bytes() == b"1" * 5000
    assert (root / "model" / "small").read_bytes() == b"2"


def test_a_refusal_is_recorded_without_a_version(registry: Registry) -> None:
    there = record(registry, None, "refused", promote=False)
    assert there.version is None
    assert registry._client.get_run(there.run_id).data.tags["rerankops.decision"] == "refused"
    assert registry.champion() is None


def test_a_winner_without_its_folder_is_an_error(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ArtefactMissing, match="no folder"):
        record(registry, tmp_path / "absent", "one")


def test_a_version_whose_files_changed_or_went_is_not_handed_out(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 1)
    folder = registry.fetch("1")
    about = json.loads((folder / "ranker.json").read_text())
    (folder / "ranker.json").write_text(json.dumps(about | {"depth": 3}))
    with pytest.raises(ArtefactDamaged, match="not those that were registered"):
        registry.fetch("1")
    shutil.rmtree(folder)
    with pytest.raises(ArtefactMissing, match=r"version 1 of .* is gone"):
        registry.fetch("1")


def test_a_change_of_any_file_of_a_version_is_noticed_and_not_promoted(registry: Registry, cascade: Path) -> None:
    record(registry, cascade, "one")
    model = registry.fetch("1").parents[1]
    files = [path for path in sorted(model.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    assert {"served.py", "MLmodel", "files.json", "model.safetensors"} <= {path.name for path in files}
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        for use in (lambda: registry.fetch("1"), lambda: registry.promote("1", None, "better", actor="test")):
            with pytest.raises(ArtefactDamaged, match=r"were registered|was registered"):
                use()
        path.write_bytes(whole)
    (model / "extra.py").touch()
    with pytest.raises(ArtefactDamaged, match=r"extra\.py was not registered"):
        registry.fetch("1")
    (model / "extra.py").unlink()
    (model / "registered_model_meta").write_text("model_name: what MLflow leaves there\n")
    assert registry.champion() is None
    assert registry.promote("1", None, "better", actor="test").version == "1"


def test_no_damaged_version_is_rolled_back_to(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 2)
    registry.promote("1", None, "first", actor="test")
    registry.promote("2", "1", "second", actor="test")
    served = registry.fetch("1").parents[1] / "served.py"
    whole = served.read_bytes()
    served.write_bytes(whole + b"#")
    with pytest.raises(ArtefactDamaged, match=r"served\.py was changed"):
        registry.rollback("users complain", actor="test")
    assert registry.state().champion == "2"
    served.write_bytes(whole)
    assert registry.rollback("users complain", actor="test").version == "1"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b'{"promote": true}'], ids=["empty", "cut", "deep", "other"]
)
def test_a_decision_that_changed_in_mlflow_is_not_shown(registry: Registry, ranker: Path, content: bytes) -> None:
    record(registry, ranker, "one")
    assert registry.document("1", "decision.json")["promote"] is True
    (registry.fetch("1").parents[2] / "decision.json").write_bytes(content)
    with pytest.raises(
        ArtefactDamaged, match=r"decision\.json is damaged \(.*\); the workspace has the decision itself: "
    ):
        registry.document("1", "decision.json")


def test_a_version_of_before_all_files_had_a_digest_is_read_by_its_rankers(
    registry: Registry, ranker: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(registry, ranker, "one")
    registry._client.delete_model_version_tag(registry.model_name, "1", recording.FILES)
    folder = registry.fetch("1")
    assert "registered by an earlier version: of its files only the ranker's are checked" in caplog.text
    (folder / "ranker.json").write_bytes(b"{}")
    with pytest.raises(ArtefactDamaged, match="not those that were registered"):
        registry.fetch("1")


def test_an_unknown_version_is_named(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 1)
    for number in ("9", "0", "one", "-1", ""):
        with pytest.raises(ArtefactMissing, match=f"version {number} "):
            registry.promote(number, None, "?", actor="test")
    with pytest.raises(ArtefactMissing, match="has no champion"):
        registry.resolve("champion")
    assert registry.resolve("challenger").version == "1"


# -- moving ------------------------------------------------------------------------------------------------------------


def test_promotion_is_refused_when_the_champion_changed_meanwhile(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 3)
    registry.promote("1", None, "first", actor="test")
    registry.promote("2", "1", "second", actor="test")
    with pytest.raises(PromotionRefused, match=r"is version 2, expected was version 1"):
        registry.promote("3", "1", "late", actor="test")
    with pytest.raises(PromotionRefused, match=r"expected was none"):
        registry.promote("3", None, "later", actor="test")
    assert aliases(registry) == {"champion": "2", "previous": "1", "challenger": "3"}


def test_what_is_looked_at_last_can_still_forbid_a_promotion(registry: Registry, ranker: Path) -> None:
    for number in (1, 2):
        record(registry, ranker, f"decision {number}")
    registry.promote("1", None, "first", actor="test")

    def forbid() -> None:
        raise PromotionRefused("the gold questions changed")

    with pytest.raises(PromotionRefused, match="gold questions changed"):
        registry.promote("2", "1", "second", actor="test", check=forbid)
    assert [move["version"] for move in registry.audit()] == ["1"]
    assert aliases(registry)["champion"] == "1"
    assert registry.promote("2", "1", "second", actor="test", check=lambda: None).version == "2"
    assert registry.promote("2", "1", "second", actor="test", check=forbid).version == "2", "nothing was left to forbid"


def test_of_two_promotions_at_once_one_wins(registry: Registry, open_registry: Open, ranker: Path) -> None:
    recorded(registry, ranker, 3)
    registry.promote("1", None, "first", actor="test")

    def attempt(number: str) -> str:
        try:
            return open_registry().promote(number, "1", "race", actor=f"test {number}").version
        except PromotionRefused:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, ["2", "3"]))
    assert results.count("refused") == 1
    assert registry.champion().version in results


def test_promoting_the_champion_again_changes_nothing(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 2)
    registry.promote("1", None, "first", actor="test")
    registry.promote("2", "1", "second", actor="test")
    registry.promote("2", "1", "a retry", actor="test")
    assert registry.previous().version == "1"
    assert len(registry.audit()) == 2


def test_a_request_with_a_key_is_carried_out_once(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 2)
    registry.promote("1", None, "first", actor="test", key="a")
    registry.promote("2", "1", "second", actor="test", key="b")
    registry.promote("1", None, "a late retry", actor="test", key="a")
    assert registry.champion().version == "2"
    assert registry.rollback("worse", actor="test", key="c").version == "1"
    assert registry.rollback("a retry", actor="test", key="c").version == "1"
    assert len(registry.audit()) == 3
    assert registry.rollback("another request", actor="test", key="d").version == "2"


def test_a_rollback_brings_the_previous_champion_back(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 2)
    registry.promote("1", None, "first", actor="test")
    with pytest.raises(PromotionRefused, match="no champion before version 1"):
        registry.rollback("too early", actor="test")
    registry.promote("2", "1", "second", actor="test")
    assert registry.rollback("users complain", actor="an operator", expected_champion="2").version == "1"
    assert registry.champion().version == "1"
    assert registry.previous().version == "2"
    assert aliases(registry) == {"champion": "1", "previous": "2"}
    with pytest.raises(PromotionRefused, match="expected was version 2"):
        registry.rollback("a retry", actor="an operator", expected_champion="2")
    assert [entry["action"] for entry in registry.audit()] == ["promote", "promote", "rollback"]


def test_a_rollback_can_name_an_earlier_champion(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 4)
    for number in (1, 2, 3):
        registry.promote(str(number), str(number - 1) if number > 1 else None, "better", actor="test")
    for number, words in (("4", "never was champion"), ("3", "is champion already"), ("9", "never was champion")):
        with pytest.raises(PromotionRefused, match=f"version {number} .* {words}"):
            registry.rollback("worse", actor="an operator", to=number)
    assert registry.rollback("both are worse", actor="an operator", to="1").version == "1"
    assert aliases(registry) == {"champion": "1", "previous": "3", "challenger": "4"}
    assert registry.audit()[-1]["action"] == "rollback"


def test_a_rollback_without_a_champion_is_refused(registry: Registry) -> None:
    with pytest.raises(PromotionRefused, match="no champion"):
        registry.rollback("nothing there", actor="test")


def test_a_version_that_did_not_pass_is_promoted_by_force_alone(registry: Registry, ranker: Path) -> None:
    assert record(registry, ranker, "refused", promote=False).version == "1"
    assert aliases(registry) == {}
    with pytest.raises(PromotionRefused, match="did not pass the gate"):
        registry.promote("1", None, "I like it", actor="somebody")
    assert registry.champion() is None
    registry.promote("1", None, "the gold set is out of date", actor="a person", forced=True)
    assert registry.champion().version == "1"
    (entry,) = registry.audit()
    assert entry["forced"]
    assert (entry["actor"], entry["reason"]) == ("a person", "the gold set is out of date")


def test_a_version_that_was_turned_down_is_promoted_by_force_alone(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 2)
    registry.promote("1", None, "first", actor="test")
    with pytest.raises(PromotionRefused, match="version 1 is champion already"):
        registry.reject("1", "too late", actor="test")
    registry.reject("2", "it makes the reader bolder", actor="an approver")
    registry.reject("2", "again", actor="an approver")
    assert aliases(registry) == {"champion": "1"}
    with pytest.raises(PromotionRefused, match=r"turned down by an approver.*bolder"):
        registry.promote("2", "1", "second", actor="test")
    record(registry, ranker, "decision 2")
    assert aliases(registry) == {"champion": "1"}, "recorded again, it is no challenger"
    registry.promote("2", "1", "after all", actor="a person", forced=True)
    assert [entry["action"] for entry in registry.audit()] == ["promote", "reject", "promote"]
    assert registry.previous().version == "1"


def test_a_long_or_strange_reason_is_kept_as_far_as_it_fits(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 3)
    registry.promote("1", None, "后备箱\n\x00\x07 🚗 " * 20, actor="test")
    registry.promote("2", "1", "\x01" * 100_000, actor="test")
    registry.promote("3", "2", "long " * 100_000, actor="test")
    first, second, third = (entry["reason"] for entry in registry.audit())
    assert first.startswith("后备箱 \x00\x07 🚗 后备箱")
    assert set(second) == {"\x01"}
    assert third.startswith("long long")
    assert len(third) == 2000
    assert registry.champion().version == "3"


# -- what others did to it ---------------------------------------------------------------------------------------------


def test_an_alias_moved_in_mlflow_itself_is_reported_and_put_back(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 3)
    registry.promote("1", None, "first", actor="test")
    registry.promote("2", "1", "second", actor="test")
    registry._client.set_registered_model_alias(registry.model_name, "champion", "3")
    assert registry.champion().version == "2"
    (problem,) = registry.problems()
    assert "champion is at 3, the last recorded move made it 2" in problem
    with pytest.raises(PromotionRefused, match="is version 2, expected was version 3"):
        registry.promote("1", "3", "on top of it", actor="test")
    assert aliases(registry) == {"champion": "2", "previous": "1"} | {"challenger": "3"}
    assert registry.problems() == []
    last = registry.audit()[-1]
    assert (last["action"], last["champion"], last["previous"]) == ("restore", "2", "1")
    assert "champion at 3" in last["reason"]
    assert registry.rollback("all the same", actor="test").version == "1"


def test_a_model_with_champions_from_before_the_ledger_keeps_them(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 3)
    client, name = registry._client, registry.model_name
    client.delete_registered_model_tag(name, "rerankops.ledger")
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "previous", "1")
    client.delete_run(next(run.info.run_id for run in ledgers(registry)))
    assert (registry.champion().version, registry.previous().version) == ("2", "1")
    registry.promote("3", "2", "third", actor="test")
    assert [(entry["action"], entry["champion"], entry["previous"]) for entry in registry.audit()] == [
        ("found", "2", "1"),
        ("promote", "3", "2"),
    ]


def ledgers(registry: Registry) -> list[object]:
    experiment = registry._client.get_experiment_by_name(registry.experiment).experiment_id
    found: list[object] = registry._client.search_runs(
        [experiment], f"tags.`rerankops.ledger` = '{registry.model_name}'"
    )
    return found


def test_a_champion_that_was_deleted_is_named_and_can_be_rolled_back(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 3)
    registry.promote("1", None, "first", actor="test")
    registry.promote("2", "1", "second", actor="test")
    registry._client.delete_model_version(registry.model_name, "2")
    with pytest.raises(
        ArtefactMissing, match=r"version 2 of model .* is not registered; .*roll back \(rerankops models"
    ):
        registry.champion()
    assert registry.rollback("it was deleted", actor="test").version == "1"
    assert registry.previous() is None
    assert aliases(registry) == {"champion": "1", "challenger": "3"}
    with pytest.raises(PromotionRefused, match="version 2 was deleted"):
        registry.rollback("back to nothing", actor="test")


def test_an_only_champion_that_was_deleted_is_said_and_can_be_retired(registry: Registry, ranker: Path) -> None:
    recorded(registry, ranker, 1)
    registry.promote("1", None, "first", actor="test")
    with pytest.raises(PromotionRefused, match=r"version 1 .* is registered and serves"):
        registry.retire("why not", actor="test")
    registry._client.delete_model_version(registry.model_name, "1")
    [problem] = registry.problems()
    assert problem.startswith("version 1 is not registered; it is the champion and was deleted in MLflow: restore")
    with pytest.raises(PromotionRefused):
        registry.rollback("nothing before it", actor="test")
    assert registry.retire("deleted by mistake", actor="anna") == "1"
    assert registry.champion() is None
    assert registry.problems() == []
    assert [(move["action"], move["actor"], move["champion"]) for move in registry.audit()][-1] == (
        "retire",
        "anna",
        "",
    )
    with pytest.raises(PromotionRefused, match="no champion"):
        registry.retire("again", actor="anna")
    assert record(registry, ranker, "another decision").version == "2"
    registry.promote("2", None, "after it", actor="test")
    assert registry.champion().version == "2"


def test_an_interrupted_recording_from_before_has_no_version(registry: Registry, ranker: Path) -> None:
    experiment = recording.experiment_id(registry._client, registry.experiment, registry.artifact_root)
    key = f"{registry.model_name}/one"
    whole = recording.Record(decision(), {}, {}, "", ranker, "", {}, key)
    run = recording.start(registry._client, experiment, whole)
    assert registry.versions() == []
    assert record(registry, ranker, "one") == Recorded(run.info.run_id, "1")
