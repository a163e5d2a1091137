"""The teacher's steps on a small world, with a model that grades as told behind a real server: what is asked, what is
believed, what is paid, and what becomes of it all when the run is stopped."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from artefacts import corpus_and_vectors
from hashed_encoder import MODEL, encoded
from scripted_llm import Asked, Reply, ScriptedLlm, completion, error, scripted_llm
from typer.testing import CliRunner

from rerankops import config
from rerankops.annotation.teacher import TeacherGrade, TeacherPair
from rerankops.cli import app
from rerankops.errors import ServerUnavailable, SettingsError
from rerankops.pipeline import index, teacher
from rerankops.pipeline.answers import FOLDER, StoredAnswers
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import CORPUS, GOLD
from rerankops.pipeline.judgments import JUDGMENTS, SOURCES, take_in
from rerankops.pipeline.queries import mark_asked, pull_events
from rerankops.queries.normalise import query_id
from rerankops.records import GoldQuestion, Judgment, Passage, Query
from rerankops.workspace import Workspace

__all__ = ["scripted_llm"]

THINGS = [
    *("胎压", "机油", "雨刷", "座椅", "空调", "车窗", "后视镜", "安全带", "儿童锁", "行车记录仪"),
    *("备胎", "千斤顶", "天窗", "尾门"),
]
JUDGED = THINGS[:10]
KNOWN = 70
"""Pairs of JUDGED, seven each, that people judged."""
PASSAGES = 30
GOLD_TEXT = "方向盘加热怎么打开"
Model = Callable[[str, str], int]


def truth(query: str, passage: str) -> int:
    """What a pair is worth, as far as this world goes."""
    return hashlib.sha256(f"{query}|{passage}".encode()).digest()[0] % 4


def guess(query: str, passage: str) -> int:
    return hashlib.sha256(f"guess|{query}|{passage}".encode()).digest()[0] % 4


def pairs_of(asked: Asked) -> list[tuple[str, str]]:
    """Query and passage texts of a request."""
    [(code, query)] = re.findall(r"<query-(\w+)>\n(.*?)\n</query-\1>", asked.user, re.DOTALL)
    bodies = re.findall(rf"<passage-{code} n=.*?>\n(.*?)\n</", asked.user, re.DOTALL)
    return [(query, body.split("\n", 1)[1]) for body in bodies]


def says(model: Model) -> Callable[[Asked], Reply]:
    def script(asked: Asked) -> Reply:
        grades = [model(*pair) for pair in pairs_of(asked)]
        if len(grades) == 1:
            return completion(json.dumps({"grade": grades[0]}))
        return completion(json.dumps({str(n): grade for n, grade in enumerate(grades, start=1)}))

    return script


def text_of(number: int) -> str:
    return f"第{number}段说的是{THINGS[number % len(THINGS)]}。"


class World:
    """A corpus that is indexed, a gold question, a pull of 16 queries, and people's judgments of 12 of them."""

    def __init__(self, folder: Path, server: ScriptedLlm) -> None:
        self.folder, self.server = folder, server
        self.log = folder / "log.jsonl"
        self.tree: dict[str, Any] = {
            "query_log": {"location": str(self.log)},
            "encoder": {"model": MODEL},
            "llm": {"url": server.url, "model": "m", "retries": 1, "timeout": 60},
            "teacher": {"min_pairs": 60, "sample_size": 100, "bootstrap_samples": 300, "candidates_per_query": 8},
        }
        self.workspace = Workspace(folder / "workspace")
        server.script = says(truth)

    def context(self, **changed: dict[str, Any]) -> Context:
        tree = {name: {**self.tree.get(name, {}), **changed.get(name, {})} for name in {*self.tree, *changed}}
        return Context(config.load(environ={}, overrides=tree), self.workspace)

    def build(self) -> None:
        rows = [
            {"passage_id": f"p{n:02}", "title": "手册", "text": text_of(n), "metadata": []} for n in range(PASSAGES)
        ]
        passages = Passage.table(rows)
        vectors = encoded([row["text"] for row in rows]).vectors
        here = self.context()
        corpus, embedded = corpus_and_vectors(self.workspace, passages, vectors, here.settings.encoder)
        self.workspace.point(CORPUS, corpus)
        index.serve_index(index.build_index(corpus, embedded, context=here), context=here)
        gold = {"question_id": "g1", "text": GOLD_TEXT, "accepted_answers": ["按键"], "stratum": "procedure",
                "relevant_passage_ids": []}  # fmt: skip
        self.workspace.point(GOLD, self.workspace.publish(GoldQuestion, GoldQuestion.table([gold]), step="load_gold"))
        self.pull([f"{thing}怎么用" for thing in THINGS] + [GOLD_TEXT, f"{GOLD_TEXT}呢"])
        known = [(f"{thing}怎么用", n) for thing in JUDGED for n in range(7)]
        self.judge(known + [(f"{GOLD_TEXT}呢", n) for n in range(9)])

    def pull(self, texts: list[str], day: int = 1) -> None:
        moment = datetime(2024, 3, day, tzinfo=UTC)
        with self.log.open("a", encoding="utf-8") as file:
            for n, text in enumerate(texts):
                row = {"event_id": f"{day}-{n}", "text": text, "issued_at": (moment + timedelta(minutes=n)).isoformat()}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        here = self.context()
        events = pull_events(context=here)
        assert events
        queries = self.workspace.publish(Query, Query.empty(), step="distil_queries", inputs=[events])
        mark_asked(here, self.workspace.publish(Query, Query.empty(), step="sample_queries", inputs=[queries]))

    def judge(self, pairs: list[tuple[str, int]]) -> None:
        judged = Judgment.table(
            {
                "query_id": query_id(text), "passage_id": f"p{n:02}", "query_text": text, "stratum": "procedure",
                "grade": truth(text, text_of(n)), "confidence": 0.97, "annotator_count": 3, "origin": "human",
            }
            for text, n in pairs
        )  # fmt: skip
        take_in(self.context(), "human", self.workspace.publish(Judgment, judged, step="adjudicate"))

    def run(self, **changed: dict[str, Any]) -> teacher.Teaching:
        return teacher.run(self.context(**changed), lambda name: None)

    def judgments(self) -> list[dict[str, Any]]:
        return self.workspace.read(self.workspace.require(JUDGMENTS, ""), Judgment).to_pylist()

    def requests(self) -> int:
        return len(self.server.requests)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves the world for the others to copy."""
    return tmp_path_factory.mktemp("template") / "world"


@pytest.fixture
def world(
    tmp_path: Path, template: Path, scripted_llm: ScriptedLlm, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.setattr("rerankops.llm.client._FIRST_PAUSE", 0.01)
    if not template.exists():
        template.mkdir()
        World(template, scripted_llm).build()
    shutil.copytree(template, tmp_path / "world")
    return World(tmp_path / "world", scripted_llm)


def test_a_teacher_that_grades_as_people_do_gives_labels_that_stand_behind_theirs(world: World) -> None:
    done = world.run()
    assert done.trust["trusted"]
    assert done.trust["kappa"] == pytest.approx(1.0)
    assert (done.trust["asked"], done.trust["graded"]) == (KNOWN, KNOWN)
    assert done.labels
    assert done.judgments == world.workspace.ref(JUDGMENTS)
    rows = world.judgments()
    people = {(row["query_id"], row["passage_id"]) for row in rows if row["origin"] == "human"}
    taught = [row for row in rows if row["origin"] == "teacher"]
    assert len(people) == KNOWN + 9
    assert len(taught) > 30
    assert not people & {(row["query_id"], row["passage_id"]) for row in taught}
    for row in taught:
        assert row["grade"] == truth(row["query_text"], text_of(int(row["passage_id"][1:])))
        assert row["annotator_count"] == 1
        assert 0.9 < row["confidence"] <= 1
    behind = world.workspace.lineage(done.judgments)
    assert {done.trust_address, done.labels} <= set(behind)


def test_what_ran_once_costs_nothing_the_second_time_and_changes_nothing(world: World) -> None:
    first = world.run()
    sent = world.requests()
    assert sent == sum(spent.requests for spent in first.spent)
    again = world.run(llm={"timeout": 30, "concurrency": 1})
    assert world.requests() == sent
    assert (again.trust_address, again.labels) == (first.trust_address, first.labels)
    assert again.judgments is None
    assert [spent.requests for spent in again.spent] == [0, 0]
    assert sum(spent.cached for spent in again.spent) == sent


def test_a_teacher_that_guesses_is_refused_in_numbers_and_not_even_asked_for_labels(world: World) -> None:
    world.server.script = says(guess)
    before = world.workspace.ref(JUDGMENTS)
    done = world.run()
    assert not done.trust["trusted"]
    [words] = done.trust["objections"]
    assert re.search(r"kappa with people is -?0\.\d\d, 95 % interval -?0\.\d\d to 0\.\d\d on 70 pairs", words)
    assert (done.labels, done.judgments) == (None, None)
    assert world.workspace.ref(JUDGMENTS) == before
    assert world.requests() == KNOWN
    stored = world.workspace.read(world.workspace.manifest(done.trust_address).inputs[0], TeacherGrade)
    assert stored.num_rows == KNOWN
    assert stored["grade"].null_count == 0


def test_grades_of_one_that_is_not_trusted_can_be_kept_to_look_at_but_are_not_used(world: World) -> None:
    world.server.script = says(guess)
    before = world.workspace.ref(JUDGMENTS)
    done = world.run(teacher={"grade_untrusted": True})
    assert done.labels
    assert world.workspace.manifest(done.labels).kind == TeacherGrade.name
    assert world.workspace.manifest(done.labels).rows > 30
    assert (done.judgments, world.workspace.ref(JUDGMENTS)) == (None, before)
    assert world.workspace.refs(SOURCES) == [f"{SOURCES}/human"]


def test_labels_of_a_teacher_that_is_trusted_no_more_are_taken_out(world: World) -> None:
    assert world.run().judgments
    world.server.script = says(guess)
    done = world.run(llm={"model": "another"})
    assert not done.trust["trusted"]
    assert done.judgments == world.workspace.ref(JUDGMENTS)
    assert {row["origin"] for row in world.judgments()} == {"human"}
    assert world.run(llm={"model": "another"}).judgments is None, "once"
    assert world.run().judgments, "the first model is trusted still, and its answers are known"
    assert {row["origin"] for row in world.judgments()} == {"human", "teacher"}


def test_nothing_near_a_gold_question_is_ever_shown_to_the_teacher(world: World) -> None:
    world.run()
    shown = {query for asked in world.server.requests for query, _ in pairs_of(asked)}
    assert shown == {f"{thing}怎么用" for thing in THINGS}


def test_labels_of_queries_that_a_gold_question_came_near_to_later_are_left_out(world: World) -> None:
    world.run()
    taken = THINGS[-1]
    row = {"question_id": "g2", "text": f"{taken}怎么用", "accepted_answers": ["x"], "stratum": "procedure",
           "relevant_passage_ids": []}  # fmt: skip
    gold = world.workspace.publish(GoldQuestion, GoldQuestion.table([row]), step="load_gold")
    assert f"{taken}怎么用" in {row["query_text"] for row in world.judgments()}
    world.workspace.point(GOLD, gold)
    world.run()
    assert f"{taken}怎么用" not in {row["query_text"] for row in world.judgments()}


def test_several_passages_a_request_cost_fewer_requests_and_give_the_same_labels(world: World) -> None:
    done = world.run(teacher={"batch_size": 5})
    assert done.trust["kappa"] == pytest.approx(1.0)
    assert done.spent[0].requests == 20
    for row in world.judgments():
        assert row["grade"] == truth(row["query_text"], text_of(int(row["passage_id"][1:])))


def test_too_few_pairs_that_people_judged_are_no_ground_for_trust(world: World) -> None:
    world.judge([(f"{JUDGED[0]}怎么用", n) for n in range(10)])
    done = world.run()
    [words] = done.trust["objections"]
    assert words.startswith("there are only 10 pairs that people surely judged")
    assert done.judgments is None


def test_where_nobody_judged_anything_nothing_is_asked(world: World) -> None:
    world.judge([])
    done = world.run()
    assert not done.trust["trusted"]
    assert done.trust["kappa"] is None
    assert world.requests() == 0


def test_a_budget_ends_the_measurement_unfinished_and_the_next_run_goes_on(world: World) -> None:
    done = world.run(llm={"request_budget": 30})
    assert world.requests() == 30
    assert not done.trust["trusted"]
    assert any("no grade to 57.1% of 70 pairs (40 budget)" in words for words in done.trust["objections"])
    done = world.run(llm={"request_budget": 40})
    assert done.trust["trusted"]
    world.run()
    asked = [json.dumps(asked.body, sort_keys=True) for asked in world.server.requests]
    assert len(asked) == len(set(asked)), "nothing was paid for twice"


def test_labels_that_the_budget_left_over_come_with_the_next_run(world: World) -> None:
    teacher.measure_teacher(context=world.context())
    done = world.run(llm={"request_budget": 10})
    assert [spent.requests for spent in done.spent] == [0, 10]
    assert done.labels
    assert world.workspace.manifest(done.labels).rows == 10
    done = world.run()
    pairs = teacher.choose_pairs(context=world.context())
    assert pairs
    assert done.labels
    assert world.workspace.manifest(done.labels).rows == world.workspace.manifest(pairs).rows > 10


def test_labels_of_earlier_pulls_stay_when_new_ones_come(world: World) -> None:
    world.run()
    before = {(row["query_id"], row["passage_id"]) for row in world.judgments()}
    sent = world.requests()
    world.pull(["雪地模式怎么用", "拖车钩怎么用"], day=5)
    world.run(teacher={"queries": 2})
    after = {(row["query_id"], row["passage_id"]) for row in world.judgments()}
    assert before <= after
    world.run(teacher={"queries": 200})
    assert {row["query_text"] for row in world.judgments()} >= {"雪地模式怎么用", "拖车钩怎么用"}
    asked = [json.dumps(asked.body, sort_keys=True) for asked in world.server.requests]
    assert len(asked) == len(set(asked))
    assert len(asked) > sent


def test_some_nonsense_is_reported_and_too_much_of_it_refused(world: World) -> None:
    def mumbling(share: float) -> Callable[[Asked], Reply]:
        def script(asked: Asked) -> Reply:
            [(query, passage)] = pairs_of(asked)
            lot = hashlib.sha256(f"lot|{query}|{passage}".encode()).digest()[0] / 256
            return completion("这个段落大概值 3 分吧") if lot < share else says(truth)(asked)

        return script

    world.server.script = mumbling(0.03)
    done = world.run(teacher={"max_ungraded_share": 0.1})
    assert done.trust["trusted"]
    assert 0 < done.trust["problems"]["unreadable"] < 7
    world.server.script = mumbling(0.3)
    done = world.run(llm={"model": "another"}, teacher={"max_ungraded_share": 0.1})
    assert not done.trust["trusted"]
    assert any("unreadable" in words for words in done.trust["objections"])
    for row in world.judgments():
        assert row["grade"] == truth(row["query_text"], text_of(int(row["passage_id"][1:])))


def test_a_server_that_goes_away_is_an_error_to_try_again_and_nothing_is_paid_twice(world: World) -> None:
    world.server.script = lambda asked: says(truth)(asked) if asked.number < 25 else error(503)
    before = world.workspace.ref(JUDGMENTS)
    with pytest.raises(ServerUnavailable, match="status 503"):
        world.run()
    assert world.workspace.ref(JUDGMENTS) == before
    answered = len(list((world.folder / "workspace" / FOLDER).glob("*/*.json")))
    assert answered == 25
    world.server.script = says(truth)
    sent = world.requests()
    done = world.run()
    assert done.trust["trusted"]
    assert done.spent[0].cached == 25
    assert world.requests() - sent == sum(spent.requests for spent in done.spent)
    assert done.spent[0].requests == KNOWN - 25


def test_a_run_that_is_killed_goes_on_where_it_was(world: World) -> None:
    killed = threading.Event()

    def script(asked: Asked) -> Reply:
        if asked.number >= KNOWN - 10:  # who asks so much before it is killed waits for that
            killed.wait(60)
        return Reply(says(truth)(asked).content, delay=0.1)

    world.server.script = script
    context = world.context()
    overlay = world.folder / "overlay.yaml"
    tree = context.settings.model_dump(mode="json") | {"workspace": {"root": str(world.folder / "workspace")}}
    overlay.write_text(json.dumps(tree), encoding="utf-8")
    command = [sys.executable, "-m", "rerankops.cli", "teach", "--config", str(overlay)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ))
    deadline = time.monotonic() + 300
    while world.requests() < 20:
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed.set()
    time.sleep(0.2)
    sent = world.requests()
    assert sent < KNOWN
    done = world.run()
    assert done.trust["trusted"]
    in_flight = context.settings.llm.concurrency
    assert done.spent[0].requests <= KNOWN - sent + in_flight
    assert done.spent[0].cached >= sent - in_flight


def test_an_answer_on_disk_that_is_damaged_is_asked_for_again(world: World) -> None:
    first = world.run()
    sent = world.requests()
    stored = sorted((world.folder / "workspace" / FOLDER).glob("*/*.json"))
    assert len(stored) == sent
    for path, damage in zip(stored[:4], [b"", b"{", b"[]", b'{"text": "3"}'], strict=True):
        path.write_bytes(damage)
    again = world.run()
    assert world.requests() - sent == 4
    assert (again.trust_address, again.labels) == (first.trust_address, first.labels)


def test_answers_are_whole_or_not_there(tmp_path: Path) -> None:
    stored = StoredAnswers(Workspace(tmp_path))
    assert stored.get("ab12") is None
    stored.put("ab12", {"text": "汉字 \ud800", "finish_reason": "stop", "tokens": 3, "model": "m"})
    found = stored.get("ab12")
    assert found == {"text": "汉字 \ud800", "finish_reason": "stop", "tokens": 3, "seconds": None, "reasoning": ""}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ab12.json"]
    remote = StoredAnswers(Workspace("memory://answers-test"))
    entry = {"text": "3", "finish_reason": "stop", "tokens": 3, "seconds": 0.25}
    remote.put("ab12", entry)
    assert remote.get("ab12") == {**entry, "reasoning": ""}


def test_an_answer_that_was_changed_is_asked_for_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored = StoredAnswers(Workspace(tmp_path))
    stored.put("ab12", {"text": "3", "finish_reason": "stop", "tokens": 3})
    path = tmp_path / FOLDER / "ab" / "ab12.json"
    path.write_bytes(path.read_bytes().replace(b'"3"', b'"0"'))
    with caplog.at_level("WARNING", logger="rerankops"):
        assert stored.get("ab12") is None
    assert f"{path} cannot be read and is asked for again: it is not what was written" in caplog.text
    for unreadable in (b"[" * 100_000, b'{"text": "3", "finish_reason": "stop", "tokens": 3, "xheck": "0"}'):
        path.write_bytes(unreadable)
        assert stored.get("ab12") is None


def test_an_answer_of_an_earlier_version_is_taken_as_it_is(tmp_path: Path) -> None:
    entry = {"text": "3", "finish_reason": "stop", "tokens": 3}
    path = tmp_path / FOLDER / "ab" / "ab12.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**entry, "model": "m", "answered_at": "2026-01-01T00:00:00+00:00"}))
    assert StoredAnswers(Workspace(tmp_path)).get("ab12") == {**entry, "seconds": None, "reasoning": ""}


def test_without_a_server_the_schedule_passes_it_by_and_the_command_says_what_to_set(world: World) -> None:
    here = world.context(llm={"url": None})
    assert teacher.measure_teacher(context=here) is None
    with pytest.raises(SettingsError, match=r"llm\.url is not set"):
        teacher.run(here, lambda name: None)


def test_the_steps_one_by_one_are_the_run(world: World) -> None:
    here = world.context()
    trust = teacher.measure_teacher(context=here)
    pairs = teacher.choose_pairs(context=here)
    assert trust
    assert pairs
    table = world.workspace.read(pairs, TeacherPair)
    assert set(table["source"].to_pylist()) == {"candidate"}
    assert table["known_grade"].null_count == table.num_rows
    judgments = teacher.teach(trust, pairs, context=here)
    assert judgments == world.workspace.ref(JUDGMENTS)
    assert teacher.teach(trust, pairs, context=here) is None
    done = world.run()
    assert (done.trust_address, done.judgments) == (trust, None)


@pytest.mark.parametrize("model", [truth, guess])
def test_the_command_prints_agreement_what_was_spent_and_where_to_look(
    world: World, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    world.server.script = says(model)
    monkeypatch.setattr("rerankops.pipeline.context.load", lambda overlay: world.context())
    result = CliRunner().invoke(app, ["teach"])
    assert result.exit_code == 0, result.output
    assert re.search(r"70\s+70\s+0\s+-?[01]\.\d\d\s+-?[01]\.\d\d–-?[01]\.\d\d", result.output)
    assert "measuring: 70 requests of 5,000 and 1,750 tokens of 10,000,000; 0 answers" in result.output
    assert re.search(r"measurement: \S+/objects/teacher_trust/\w{32}", result.output)
    assert ("judgments: " in result.output) == (model is truth)
    assert ("Not trusted: its labels are not used" in result.output) == (model is guess)


def test_order_of_the_log_and_the_corpus_does_not_change_what_is_asked() -> None:
    """The same pair is the same prompt, wherever it stands in its table."""
    from rerankops.annotation.teacher import sheets

    settings = config.load(environ={}).teacher
    rows = [
        {"query_id": f"q{n}", "passage_id": "p", "query_text": f"问{n}", "passage_title": "", "passage_text": "段",
         "stratum": "s", "source": "candidate", "known_grade": None}
        for n in range(20)
    ]  # fmt: skip
    table = TeacherPair.table(rows)
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(20)))
    assert {sheet.prompt for sheet in sheets(table, settings)} == {sheet.prompt for sheet in sheets(shuffled, settings)}
