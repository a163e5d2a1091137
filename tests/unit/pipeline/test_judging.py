"""Reader and judge in the pipeline: made from settings, paid once, never published half, measured against people."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from scripted_llm import Asked as Request
from scripted_llm import Reply as Response
from scripted_llm import ScriptedLlm, completion, error, scripted_llm
from typer.testing import CliRunner

from rerankops import config
from rerankops.cli.judge import app
from rerankops.errors import InputError, ServerUnavailable, SettingsError
from rerankops.evaluation.judge import RULES_VERSION, Given
from rerankops.evaluation.readers import Asked
from rerankops.pipeline import judge as steps
from rerankops.pipeline.context import Context
from rerankops.pipeline.reading import identity, reading, unanswerable_questions
from rerankops.pipeline.set_aside import stands_aside
from rerankops.records import GoldEntry, GoldQuestion
from rerankops.workspace import Workspace

__all__ = ["scripted_llm"]

PASSAGES = (("", "后备箱容积为450升。"),)


class World:
    def __init__(self, folder: Path, server: ScriptedLlm) -> None:
        self.folder, self.server, self.workspace = folder, server, Workspace(folder / "workspace")
        self.tree: dict[str, Any] = {
            "llm": {"url": server.url, "model": "m", "retries": 0, "timeout": 60, "concurrency": 1},
            "reader": {"kind": "llm"},
            "judge": {"kind": "llm"},
            "evaluation": {"bootstrap_samples": 200},
        }

    def context(self, **changed: dict[str, Any]) -> Context:
        tree = {name: {**self.tree.get(name, {}), **changed.get(name, {})} for name in {*self.tree, *changed}}
        return Context(config.load(environ={}, overrides=tree), self.workspace)

    def sample(self, rows: int = 40) -> Path:
        """Half of them right, half of the rest in words that containment does not find."""
        path = self.folder / "sample.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for n in range(rows):
                answer = ("450升", "四百五十个单位", "320升", "不清楚")[n % 4]
                row = {"question": f"问{n // 2}", "accepted_answers": ["450L"], "answer": answer, "correct": n % 4 < 2}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return path


@pytest.fixture
def world(tmp_path: Path, scripted_llm: ScriptedLlm, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("rerankops.llm.client._FIRST_PAUSE", 0.01)
    scripted_llm.script = says
    return World(tmp_path, scripted_llm)


def says(request: Request) -> Response:
    if "<answer-" not in request.user:
        return completion("四百五十个单位")
    [given] = re.findall(r"<answer-\w+>\n(.*?)\n<", request.user)
    return completion(json.dumps({"verdict": "right" if given == "四百五十个单位" else "wrong"}))


def asked(count: int) -> list[Asked]:
    return [Asked(f"q{n}", f"问{n}", PASSAGES) for n in range(count)]


# -- reading ----------------------------------------------------------------------------------------------------------


def test_reader_and_judge_are_those_of_the_settings_and_are_paid_once(world: World) -> None:
    def run() -> tuple[list[Any], list[Any], int]:
        with reading(world.context(judge={"model": "judge"})) as both:
            replies = both.reader.answers(asked(4))
            verdicts = both.judge.verdicts(
                [Given(f"问{n}", ("450L",), one.text or "") for n, one in enumerate(replies)]
            )
            both.require_finished(0.0)
            assert both.budget
            return replies, verdicts, both.budget.requests

    first = run()
    assert [one.text for one in first[0]] == ["四百五十个单位"] * 4
    assert [one.correct for one in first[1]] == [True] * 4
    assert first[2] == 8, "one budget for both"
    assert [request.body["model"] for request in world.server.requests] == ["m"] * 4 + ["judge"] * 4
    assert run() == (*first[:2], 0), "another process finds what this one was answered"


def test_rules_and_containment_need_no_server(tmp_path: Path) -> None:
    here = Context(config.load(environ={}), Workspace(tmp_path))
    with reading(here) as both:
        [reply] = both.reader.answers([Asked("q0", "后备箱容积是多少", PASSAGES)])
        assert "450升" in (reply.text or "")
        assert both.budget is None
        both.require_finished(0.0)
        assert both.problems() == {"reader": {}, "judge": {}}


def test_what_waits_for_another_run_is_an_error_and_what_does_not_is_a_missing_verdict(world: World) -> None:
    world.server.script = lambda request: error(503) if request.number else completion("450升")
    with reading(world.context()) as both:
        replies = both.reader.answers(asked(4))
        assert [one.text for one in replies] == ["450升", None, None, None]
        with pytest.raises(ServerUnavailable, match=r"3 of 4 questions have no verdict: .*status 503"):
            both.require_finished(0.5)
        both.require_finished(0.75)
    world.server.script = lambda request: completion("450", finish_reason="length")
    with reading(world.context()) as both:
        both.reader.answers(asked(4))
        both.require_finished(0.0)
        assert both.problems() == {"reader": {"cut": 3}, "judge": {}}


def test_a_spent_budget_says_how_to_go_on(world: World) -> None:
    with reading(world.context(llm={"request_budget": 2})) as both:
        both.reader.answers(asked(5))
        with pytest.raises(SettingsError, match=r"3 of 5 questions .*raise llm\.request_budget.*not paid for again"):
            both.require_finished(0.1)
    with reading(world.context()) as both:
        assert all(one.text for one in both.reader.answers(asked(5)))
    assert len(world.server.requests) == 5


def test_the_identity_changes_with_what_changes_an_answer_or_a_verdict(world: World) -> None:
    def of(**changed: dict[str, Any]) -> str:
        return json.dumps(identity(world.context(**changed).settings), sort_keys=True)

    assert of() == of(llm={"timeout": 9, "concurrency": 3}, promotion={"alpha": 0.01})
    changed = [of(), of(judge={"model": "j"}), of(reader={"votes": 3}), of(llm={"model": "x"}), of(llm={"seed": 1}),
               of(judge={"kind": "containment"}), of(reader={"kind": "extractive"})]  # fmt: skip
    assert len(set(changed)) == len(changed)


# -- the judge and people ---------------------------------------------------------------------------------------------


def test_a_measurement_is_published_under_the_judges_identity(world: World) -> None:
    here = world.context()
    assert steps.newest_check(here) is None
    done = steps.check_judge(world.sample(), context=here)
    assert steps.newest_check(here) == done.address
    assert world.workspace.read_document(done.address) == done.document
    assert (done.document["n"], done.document["judged"], done.document["kappa"]) == (40, 40, 1.0)
    assert done.document["by"]["containment"]["n"] == 10
    assert done.document["judge"]["llm"]["model"] == "m"
    assert len(world.server.requests) == 30
    assert steps.newest_check(world.context(llm={"timeout": 9, "concurrency": 2}))
    for other in ({"llm": {"model": "x"}}, {"judge": {"model": "x"}}, {"judge": {"votes": 3}}, {"llm": {"seed": 1}}):
        assert steps.newest_check(world.context(**other)) is None, other
    assert steps.check_judge(world.sample(), context=here) == done.__class__(
        done.address, done.document, "0 requests of 5,000 and 0 tokens of 10,000,000"
    )


def test_a_judge_of_the_same_name_that_says_something_else_is_another_measurement(world: World) -> None:
    first = steps.check_judge(world.sample(), context=world.context())
    world.server.script = lambda request: completion("wrong")
    for path in (world.folder / "workspace" / "answers").glob("*/*.json"):
        path.unlink()
    second = steps.check_judge(world.sample(), context=world.context())
    assert second.address != first.address
    assert second.document["kappa"] < 1
    assert steps.newest_check(world.context()) == second.address
    assert second.document["by"]["llm"]["false_wrong"] == 10
    agreement, interval = steps.agreement_with_people(world.context(), second.address)
    assert agreement == pytest.approx(2 / 3), "ten of forty answers were not the model's to judge"
    assert interval
    assert interval[0] < 0.5 < 0.8 < interval[1]


def test_a_measurement_that_was_not_finished_leaves_the_last_one_in_place(world: World) -> None:
    first = steps.check_judge(world.sample(20), context=world.context())
    world.server.script = lambda request: error(500)
    with pytest.raises(ServerUnavailable, match=r"15 of 40 questions have no verdict"):
        steps.check_judge(world.sample(40), context=world.context())
    assert steps.newest_check(world.context()) == first.address
    world.server.script = lambda request: completion("hm")
    done = steps.check_judge(world.sample(40), context=world.context())
    assert done.document["problems"] == {"unreadable": 15}, "garbled is what this judge is"


def test_a_row_of_a_sample_that_cannot_be_used_is_set_aside_when_asked_for(world: World) -> None:
    sample = world.sample()
    with sample.open("a", encoding="utf-8") as file:
        file.write('{"question": "how much?", "accepted_answers": ["1 L"], "answer": "1 L", "correct": "maybe"}\n')
    with pytest.raises(InputError, match="column correct"):
        steps.check_judge(sample, context=world.context())
    done = steps.check_judge(sample, context=world.context(reading={"skip_bad": True}))
    assert done.document["n"] == 40
    (row,) = stands_aside(steps.SAMPLE, context=world.context()).to_pylist()
    assert "maybe" in row["reason"]


def test_containment_can_be_measured_too_and_asks_nobody(world: World) -> None:
    done = steps.check_judge(world.sample(), context=world.context(judge={"kind": "containment"}))
    assert done.document["judge"] == {"kind": "containment", "rules": RULES_VERSION}
    assert steps.agreement_with_people(world.context(), done.address) == (None, None)
    assert done.document["confusion"]["right"] == {"right": 10, "wrong": 10, "none": 0}
    assert done.document["kappa"] == pytest.approx(0.5)
    assert done.spent == "no language model was asked"
    assert world.server.requests == []


def test_a_reader_that_cannot_be_made_does_not_stop_the_judge(world: World) -> None:
    assert steps.check_judge(world.sample(), context=world.context(reader={"kind": "model"})).document["kappa"] == 1.0


def test_a_sample_that_cannot_be_read_is_named(world: World) -> None:
    with pytest.raises(InputError, match=r"nothing\.csv: No such file"):
        steps.check_judge(world.folder / "nothing.csv", context=world.context())
    path = world.sample(3)
    path.write_text(path.read_text() + '{"question": "q"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"sample\.jsonl:4: column accepted_answers is empty"):
        steps.check_judge(path, context=world.context())
    assert world.server.requests == []


def printed_check(world: World) -> str:
    overlay = world.folder / "overlay.yaml"
    tree = world.context().settings.model_dump(mode="json") | {"workspace": {"root": str(world.folder / "workspace")}}
    overlay.write_text(json.dumps(tree), encoding="utf-8")
    arguments = ["judge", "check", "--sample", str(world.sample()), "--config", str(overlay)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return " ".join(done.output.split())


def test_the_command_shows_one_reply_in_full_what_was_wrong_with_it_and_the_setting_that_helps(world: World) -> None:
    world.server.script = lambda request: completion("[/b] I see\n\x1b[31mred", finish_reason="length")
    printed = printed_check(world)
    assert "no verdict: cut 30" in printed
    assert "cut: the reply had not ended at llm.max_tokens; raise it" in printed
    assert "it sent: [/b] I see " in printed
    assert "\x1b" not in printed


def test_the_command_prints_agreement_confusion_and_where_they_differ(world: World) -> None:
    world.server.script = lambda request: completion("wrong")
    printed = printed_check(world)
    assert "m and people" in printed
    assert "by containment: 10 answers, agreement 1.00" in printed
    assert re.search(r"by llm: 30 answers, agreement 0\.67 \(0\.4\d–0\.8\d\), 0 wrongly right, 10 wron", printed)
    assert "apart on rows 2, 6, 10" in printed
    assert "30 requests of 5,000" in printed


# -- unanswerable questions -------------------------------------------------------------------------------------------


def test_questions_that_people_marked_unanswerable_come_from_the_frozen_set_behind_gold(world: World) -> None:
    rows = [
        {
            "question_id": name, "text": f"问{name}", "accepted_answers": [] if not answerable else ["x"],
            "stratum": "all", "relevant_passage_ids": [], "unanswerable": not answerable, "answered_by": ["anna"],
            "source": "draft", "added_version": 1, "added_at": datetime(2024, 3, 1, tzinfo=UTC),
            "retired_version": retired,
        }
        for name, answerable, retired in (("a", True, None), ("b", False, None), ("c", False, 2), ("d", False, None))
    ]  # fmt: skip
    frozen = world.workspace.publish(GoldEntry, GoldEntry.table(rows), step="freeze_gold")
    asked_of_it = GoldQuestion.table([{key: rows[0].get(key) for key in GoldQuestion.columns}])
    gold = world.workspace.publish(GoldQuestion, asked_of_it, step="load_gold", inputs=[frozen])
    found = unanswerable_questions(world.context(), gold)
    assert found["question_id"].to_pylist() == ["b", "d"]
    assert found.schema.equals(GoldQuestion.schema)
    from_file = world.workspace.publish(GoldQuestion, asked_of_it, step="load_gold")
    assert unanswerable_questions(world.context(), from_file).num_rows == 0
