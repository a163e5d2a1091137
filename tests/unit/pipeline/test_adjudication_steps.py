"""adjudicate, scorecards and adjudication batches, on a workspace with accepted deliveries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rerankops import config
from rerankops.annotation.adjudication import asked_of_adjudicators
from rerankops.annotation.answers import ADJUDICATION
from rerankops.cli import app
from rerankops.pipeline.adjudication import (
    adjudicate,
    make_adjudication_batch,
    scorecard_table,
    scorecards,
    send_adjudication_batch,
)
from rerankops.pipeline.channels import pull_deliveries
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.validation import validate_delivery
from rerankops.records import Annotation, AnnotationTask, GoldQuestion, Judgment, Scorecard
from rerankops.workspace import Address, Workspace

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
TASKS = 150
Grades = Mapping[tuple[int, str], int]


@pytest.fixture
def here(tmp_path: Path) -> Context:
    settings = config.load(
        environ={},
        overrides={
            "workspace": {"root": str(tmp_path / "workspace")},
            "annotation": {"outbox": str(tmp_path / "outbox"), "inbox": str(tmp_path / "inbox")},
            "adjudication": {"batch_size": 5},
        },
    )
    return Context(settings, Workspace(settings.workspace.root))


def batch(here: Context, name: str, passages: Sequence[int]) -> Address:
    rows = (
        {
            "batch_id": name,
            "task_id": f"{name}-{n}",
            "query_id": f"q{n // 6}",
            "passage_id": f"p{n:03}",
            "query_text": f"多大 {n // 6}",
            "passage_title": "",
            "passage_text": f"第 {n} 段",
            "stratum": "numeric" if n % 12 < 6 else "summary",
            "control_grade": 0 if n % 20 == 19 else None,
        }
        for n in passages
    )
    address = here.workspace.publish(AnnotationTask, AnnotationTask.table(rows), step="make_annotation_batch")
    here.workspace.point(f"batches/{name}", address)
    return address


def accept(here: Context, stream: str, asked: Address, grades: Grades, aside: Sequence[str] = ()) -> None:
    """As validation leaves it: a verdict with what was set aside, the accepted annotations, a reference."""
    workspace = here.workspace
    tasks = {row["passage_id"]: row for row in workspace.read(asked, AnnotationTask).to_pylist()}
    table = Annotation.table(
        {
            "batch_id": tasks[f"p{n:03}"]["batch_id"],
            "task_id": tasks[f"p{n:03}"]["task_id"],
            "annotator_id": who,
            "grade": grade,
            "annotated_at": WHEN + timedelta(seconds=12 * place),
            "lead_seconds": 9.0 if who == "d" else None,
        }
        for place, ((n, who), grade) in enumerate(sorted(grades.items(), key=lambda item: item[0][1]))
    )

    def verdict(folder: Path) -> None:
        pq.write_table(pa.table({"annotator_id": pa.array(aside, pa.string())}), folder / "set_aside.parquet")
        pq.write_table(table, folder / "annotations.parquet")

    made = workspace.publish_folder("verdicts", verdict, step="validate_delivery", inputs=[asked], settings=stream)
    address = workspace.publish(Annotation, table, step="validate_delivery", inputs=[made])
    workspace.point(f"annotations/{stream}", address)


def crowd(passages: Sequence[int], seed: int = 0) -> dict[tuple[int, str], int]:
    """Three of four careful people a pair, or two and e, who presses any key."""
    rng = np.random.default_rng(seed)
    given = {}
    for n in passages:
        truth = 0 if n % 20 == 19 else n % 4
        for who in rng.choice(list("abcde"), size=3, replace=False):
            step = rng.choice([-1, 0, 1], p=[0.06, 0.88, 0.06])
            given[n, str(who)] = int(rng.integers(4) if who == "e" else np.clip(truth + step, 0, 3))
    return given


@pytest.fixture
def labelled(here: Context) -> Context:
    accept(here, "one", batch(here, "first", range(TASKS)), crowd(range(TASKS)), aside=["e", "e", "a"])
    return here


def judged(here: Context) -> dict[str, dict[str, object]]:
    address = here.workspace.ref("judgments")
    assert address is not None
    return {row["passage_id"]: row for row in here.workspace.read(address, Judgment).to_pylist()}


def test_nothing_accepted_is_nothing_to_do(here):
    assert adjudicate(context=here) is None
    assert scorecards(context=here) is None
    assert make_adjudication_batch(context=here) is None
    assert scorecard_table(here).num_rows == 0


def test_judgments_are_those_of_all_accepted_deliveries_and_made_once(labelled):
    address = adjudicate(context=labelled)
    manifest = labelled.workspace.manifest(address)
    controls = len([n for n in range(TASKS) if n % 20 == 19])
    assert manifest.rows == manifest.counts["judgments"] == TASKS - controls
    assert manifest.counts["annotations"] == 3 * TASKS
    assert sum(manifest.counts[f"grade_{grade}"] for grade in range(4)) == manifest.rows
    assert 0.3 < manifest.counts["alpha"] < 0.95
    assert 0.3 < manifest.counts["kappa"] < 0.95
    assert np.mean([row["grade"] == int(name[1:]) % 4 for name, row in judged(labelled).items()]) > 0.9
    stored = sorted(path for path in Path(labelled.workspace.root.path).rglob("*") if path.is_file())
    times = [path.stat().st_mtime_ns for path in stored]
    assert adjudicate(context=labelled) == address
    assert [path.stat().st_mtime_ns for path in stored] == times
    accept(labelled, "two", batch(labelled, "second", range(200, 230)), crowd(range(200, 230)))
    assert adjudicate(context=labelled) != address
    assert len(judged(labelled)) == TASKS - controls + 29


def test_a_method_is_a_setting(labelled):
    first = adjudicate(context=labelled)
    settings = config.load(environ={}, overrides={"adjudication": {"method": "majority"}})
    plain = adjudicate(context=Context(settings, labelled.workspace))
    assert plain != first
    shares = np.array([row["confidence"] for row in judged(labelled).values()])
    assert np.abs(shares[:, None] - [1, 2 / 3, 1 / 3]).min(axis=1).max() < 1e-9


def test_scorecards_lie_beside_the_judgments(labelled):
    page = scorecards(context=labelled)
    text = page.read_text(encoding="utf-8")
    assert "<!doctype html>" in text
    assert page.parent.name in {address.split("/")[1] for address in labelled.workspace.lineage(_folder(page))}
    assert {path.name for path in page.parent.iterdir()} >= {
        "scorecards.html",
        "scorecards.parquet",
        "agreement.json",
        "contested.parquet",
    }
    agreement = json.loads((page.parent / "agreement.json").read_text())
    assert set(agreement["strata"]) == {"numeric", "summary"}
    assert scorecards(context=labelled) == page


def _folder(page: Path) -> Address:
    return f"scorecards/{page.parent.name}"


def test_a_card_says_what_an_annotator_did(labelled):
    table = scorecard_table(labelled)
    assert table.schema.equals(Scorecard.schema)
    cards = {row["annotator_id"]: row for row in table.to_pylist()}
    assert cards["e"]["verdict"] == "careless"
    assert {cards[who]["verdict"] for who in "abcd"} == {"fine"}
    answered = {who: sum(1 for _, by in crowd(range(TASKS)) if by == who) for who in "abcde"}
    assert {who: card["tasks"] + card["controls"] for who, card in cards.items()} == answered
    assert cards["e"]["set_aside"] == pytest.approx(2 / (answered["e"] + 2))
    assert cards["b"]["set_aside"] == 0
    assert cards["a"]["seconds"] == 12
    assert cards["d"]["seconds"] == 9


def test_contested_pairs_go_to_adjudicators_once(labelled):
    address = make_adjudication_batch(context=labelled)
    tasks = labelled.workspace.read(address, AnnotationTask)
    assert tasks.num_rows == 5
    assert set(tasks["chosen_for"].to_pylist()) == {ADJUDICATION}
    assert tasks["control_grade"].null_count == 5
    name = tasks["batch_id"][0].as_py()
    assert labelled.workspace.ref(f"batches/{name}") == address
    assert make_adjudication_batch(context=labelled) == address
    asked = set(tasks["passage_id"].to_pylist())
    confidence = {name: row["confidence"] for name, row in (adjudicate(context=labelled), judged(labelled))[1].items()}
    assert max(confidence[passage] for passage in asked) < np.median(list(confidence.values()))

    accept(labelled, "two", batch(labelled, "second", range(200, 230)), crowd(range(200, 230)))
    second = make_adjudication_batch(context=labelled)
    assert second != address
    waiting = labelled.workspace.read(second, AnnotationTask)
    assert not asked & set(waiting["passage_id"].to_pylist())


def test_what_adjudicators_answer_stands_and_what_they_leave_is_asked_again(labelled):
    address = make_adjudication_batch(context=labelled)
    passages = labelled.workspace.read(address, AnnotationTask)["passage_id"].to_pylist()
    answered, left = passages[:4], passages[4]
    accept(labelled, "experts", address, {(int(name[1:]), "expert"): int(name[1:]) % 4 for name in answered})
    assert adjudicate(context=labelled) is not None
    for name in answered:
        row = judged(labelled)[name]
        assert (row["grade"], row["confidence"], row["annotator_count"]) == (int(name[1:]) % 4, 0.95, 4)
    assert "expert" not in scorecard_table(labelled)["annotator_id"].to_pylist()
    again = make_adjudication_batch(context=labelled)
    assert again not in {None, address}
    asked = labelled.workspace.read(again, AnnotationTask)["passage_id"].to_pylist()
    assert left in asked
    assert not set(answered) & set(asked)


def test_agreement_leaves_nothing_to_adjudicate(here):
    same = {(n, who): n % 4 for n in range(40) for who in "abc"}
    accept(here, "one", batch(here, "first", range(40)), same)
    assert make_adjudication_batch(context=here) is None


def test_an_adjudication_batch_goes_out_without_marking_a_sample(labelled):
    address = make_adjudication_batch(context=labelled)
    place = send_adjudication_batch(address, context=labelled)
    sent = pl.read_ndjson(place)
    assert sent["task_id"].to_list() == labelled.workspace.read(address, AnnotationTask)["task_id"].to_pylist()
    assert "chosen_for" not in sent.columns
    assert labelled.workspace.refs("samples") == []
    assert send_adjudication_batch(address, context=labelled) == place


def test_adjudicators_answers_come_back_through_the_door(labelled, tmp_path):
    """Sent, answered in a file, pulled, validated by what adjudicators are asked, adjudicated."""
    workspace = labelled.workspace
    question = {"question_id": "g", "text": "轮胎多重", "accepted_answers": ["9 kg"], "stratum": "numeric"}
    gold = GoldQuestion.table([question | {"relevant_passage_ids": [], "relevant_grades": None}])
    workspace.point(GOLD, workspace.publish(GoldQuestion, gold, step="load_gold"))
    address = make_adjudication_batch(context=labelled)
    sent = pl.read_ndjson(send_adjudication_batch(address, context=labelled))
    answers = [
        {
            "batch_id": row["batch_id"],
            "task_id": row["task_id"],
            "annotator_id": "expert",
            "grade": 3 if place else 0,
            "annotated_at": (WHEN + timedelta(days=1, minutes=place)).isoformat(),
            "lead_seconds": 30.0 + place,
        }
        for place, row in enumerate(sent.iter_rows(named=True))
    ]
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "experts.jsonl").write_text("\n".join(map(json.dumps, answers)))
    [delivery] = pull_deliveries(context=labelled)
    asked = labelled.settings.model_copy(
        update={"annotation": asked_of_adjudicators(labelled.settings.annotation)},
    )
    verdict = validate_delivery(delivery, context=replace(labelled, settings=asked))
    assert verdict["outcome"] == "accept", verdict
    adjudicate(context=labelled)
    assert [judged(labelled)[name]["grade"] for name in sent["passage_id"]] == [0, 3, 3, 3, 3]


@pytest.fixture
def run(labelled: Context, tmp_path: Path) -> Callable[..., str]:
    overlay = tmp_path / "here.yaml"
    overlay.write_text(
        json.dumps(
            {
                "workspace": {"root": str(labelled.workspace.root)},
                "annotation": {"outbox": str(tmp_path / "outbox"), "inbox": str(tmp_path / "inbox")},
                "adjudication": {"batch_size": 5},
            }
        )
    )

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--config", str(overlay)])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_the_command_line_shows_annotators_and_sends_what_is_contested(run, labelled):
    shown = run("annotators")
    assert "careless" in shown
    assert str(scorecards(context=labelled)) in shown
    assert "5 contested pair(s) are in" in run("adjudicate")
