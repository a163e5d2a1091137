"""Retrainings that are killed, disturbed or raced; a sample of tests/campaigns/test_promotion_campaign.py."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator

import flipped_bytes
import pyarrow as pa
import pytest
from promotion_trials import BASE, DECIDED, Trials, prepared
from promotion_world import NEXT, World, settings, write_lines

from rerankops import config
from rerankops.errors import ArtefactDamaged, DiskFull, PromotionRefused, ServerUnavailable
from rerankops.pipeline.context import Context
from rerankops.pipeline.evaluation import read_refused
from rerankops.pipeline.ranking import read_rankings
from rerankops.workspace import Workspace

pytestmark = pytest.mark.timeout(1500)  # the world's own retrainings come before the first test


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    with prepared(tmp_path_factory.mktemp("promotion")) as made:
        yield made


# -- nothing happens


def ranked(table: pa.Table) -> dict[str, dict[str, float]]:
    """Scores by passage by query, best first."""
    found: dict[str, dict[str, float]] = {}
    for row in table.sort_by([("query_id", "ascending"), ("rank", "ascending")]).to_pylist():
        found.setdefault(row["query_id"], {})[row["passage_id"]] = row["score"]
    return found


def test_what_a_reader_should_refuse_is_ranked_anew_without_its_answer(trials: Trials) -> None:
    trials.restore(DECIDED)
    here = Context(
        config.load(environ={}, overrides=settings(trials.state, trials.llm)), Workspace(trials.state / "workspace")
    )
    _, _, evaluation = here.workspace.manifest(trials.decisions[NEXT]).inputs
    found = read_rankings(here, here.workspace.manifest(evaluation).inputs[-1])
    answered_by = {row["question_id"]: row["relevant_passage_ids"] for row in found.refusal_questions.to_pylist()}
    assert len(answered_by) == here.settings.evaluation.refusal_questions
    assert found.refusals.keys() == found.gold.keys()
    depth = here.settings.scoring.cross_encoder_depth
    for name, ranking in found.refusals.items():
        whole, left = ranked(found.gold[name]), ranked(ranking)
        assert left.keys() == answered_by.keys()
        for question, rows in left.items():
            taken = set(answered_by[question])
            assert rows.keys() == whole[question].keys() - taken
            if name == "challenger":
                scores = list(rows.values())
                assert scores[depth] == scores[depth - 1] - 1, "the cross-encoder read `depth` of what was left"
    refused = read_refused(here, evaluation)
    assert refused.keys() == found.gold.keys()
    assert all(values.tolist() == [1.0] * len(answered_by) for values in refused.values())


# -- kill -9


@pytest.mark.parametrize("phase", ["read", "record"])
def test_whoever_is_killed_is_resumed_to_the_same_decision(trials: Trials, phase: str) -> None:
    trials.killed_in(phase, random.Random(phase))


def test_a_death_after_the_ledgers_entry_loses_no_move(trials: Trials) -> None:
    trials.killed_by_call(trials.writes.index("log_param"), "after")


def test_a_rollback_that_died_after_the_ledgers_entry_is_not_made_twice(trials: Trials) -> None:
    assert trials.rollback_killed_by_call(trials.rollback_writes.index("log_param"), "after")


# -- two at once


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(trials: Trials) -> None:
    trials.race()


def test_a_promotion_and_a_rollback_at_once_come_one_after_the_other(trials: Trials) -> None:
    assert trials.race_with_rollback(once="log_param") == "promotion"


# -- gold questions that change under a retraining


def other_answers(trials: Trials) -> None:
    """Somebody corrects an answer in the gold file."""
    questions = World().gold()
    questions[0]["accepted_answers"] = ["7 litres"]
    write_lines(trials.state / "gold.jsonl", questions)


def test_nobody_is_promoted_on_a_gold_file_that_changed(trials: Trials) -> None:
    trials.restore(BASE)
    error = trials.disturbed("decide", lambda: other_answers(trials))
    assert isinstance(error, PromotionRefused)
    assert "gold.jsonl changed under this retraining; restore it and run this step again" in str(error)
    World().write(trials.state)
    trials.retried()


def test_nobody_is_promoted_on_gold_questions_that_are_in_force_no_more(trials: Trials) -> None:
    trials.restore(BASE)

    def refresh() -> None:
        other_answers(trials)
        trials.run("load_gold")

    error = trials.disturbed("report", refresh)
    assert isinstance(error, PromotionRefused)
    assert "the gold questions changed under this retraining" in str(error)
    assert "run retrain_reranker again" in str(error)
    trials.run("contend", again=NEXT)
    with trials.retraining() as child:
        told = child.answer()
    assert told["decision"] != trials.decision
    assert told["promotion"]["promoted"]


def test_nobody_is_promoted_on_stored_gold_questions_that_are_damaged(trials: Trials) -> None:
    trials.restore(BASE)
    (stored,) = (trials.state / "workspace" / "objects" / "gold_questions").glob("*/data.parquet")

    def damage() -> None:
        data = stored.read_bytes()
        stored.write_bytes(data[:-100] + bytes(1) + data[-99:])

    error = trials.disturbed("decide", damage)
    assert isinstance(error, ArtefactDamaged)
    assert "delete its folder and run its step again" in str(error)
    shutil.rmtree(stored.parent)
    trials.run("load_gold")
    trials.retried()


# -- a disk that is full


def test_a_report_that_does_not_fit_on_the_disk_promotes_nobody(trials: Trials) -> None:
    trials.restore(BASE)
    error = trials.short_of_room("report", 20_000)
    assert isinstance(error, DiskFull)
    assert "make room and run the step again" in str(error)
    trials.retried()


def test_a_model_that_does_not_fit_beside_the_registry_promotes_nobody(trials: Trials) -> None:
    trials.restore(BASE)
    database = (trials.state / "mlflow" / "mlflow.db").stat().st_size
    error = trials.short_of_room("record", database + 500_000)
    assert isinstance(error, DiskFull | ServerUnavailable)
    assert "File too large" in str(error)
    trials.retried()


# -- damage


def test_a_flipped_byte_is_noticed_and_never_promoted(trials: Trials) -> None:
    for found in (
        flipped_bytes.in_a_workspace(trials, 12, seed=1),
        flipped_bytes.in_a_version(trials, 12, seed=2),
    ):
        assert (found.passed_over, found.promoted) == ([], [])
        assert found.noticed.total() == 12
        assert found.tried
