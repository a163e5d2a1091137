"""The checks as steps: made once a table, told in one line, and never in the way of a table that is sound."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rerankops import config
from rerankops.errors import ArtefactMissing, InputError
from rerankops.pipeline import quality
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import CORPUS, GOLD
from rerankops.records import Candidate, GoldQuestion, Judgment, Passage, Query, QueryEvent
from rerankops.workspace import Address, Workspace

NOON = datetime(2024, 9, 1, 12, tzinfo=UTC)
PASSAGES = {"p1": "前轮胎压 2.3 bar", "p2": "后备箱容积 450 升", "p3": "每 10000 公里保养一次"}


@pytest.fixture
def here(tmp_path: Path) -> Context:
    promotion = {"min_questions": 2, "min_stratum_questions": 1}
    return Context(config.load(environ={}, overrides={"promotion": promotion}), Workspace(tmp_path / "workspace"))


def passages(here: Context) -> Address:
    rows = [{"passage_id": name, "title": "", "text": text, "metadata": []} for name, text in PASSAGES.items()]
    address = here.workspace.publish(Passage, Passage.table(rows), step="load_corpus")
    here.workspace.point(CORPUS, address)
    return address


def gold(here: Context, *changes: dict[str, Any]) -> Address:
    questions = [("g1", "前轮胎压是多少", "2.3", "p1"), ("g2", "后备箱有多大", "450L", "p2")]
    rows = [
        {
            "question_id": name,
            "text": text,
            "accepted_answers": [answer],
            "stratum": "numeric",
            "relevant_passage_ids": [passage],
            "relevant_grades": None,
        }
        for name, text, answer, passage in questions
    ]
    rows = [row | change for row, change in zip(rows, (*changes, *[{}] * len(rows)), strict=False)]
    address = here.workspace.publish(GoldQuestion, GoldQuestion.table(rows), step="load_gold")
    here.workspace.point(GOLD, address)
    return address


def events(here: Context, **change: Any) -> Address:
    rows = [
        {
            "event_id": f"e{n}",
            "text": "胎压多少",
            "issued_at": NOON + timedelta(minutes=n),
            "source": "log",
            "shown_passage_ids": [],
            "clicked_passage_ids": [],
            "feedback": "none",
            "query_id": "q1",
            "redactions": 0,
        }
        | (change if n == 4 else {})
        for n in range(5)
    ]
    return here.workspace.publish(QueryEvent, QueryEvent.table(rows), step="pull_events")


def judgments(here: Context, text: str = "保养间隔") -> Address:
    rows = [
        {
            "query_id": "q1",
            "passage_id": passage,
            "query_text": text,
            "stratum": "numeric",
            "grade": grade,
            "confidence": 1.0,
            "annotator_count": 1,
            "origin": "human",
        }
        for passage, grade in (("p3", 3), ("p1", 0))
    ]
    return here.workspace.publish(Judgment, Judgment.table(rows), step="adjudicate")


def candidates(here: Context, first: str = "p1") -> Address:
    """Of one query on an index over three passages, as retrieve_candidates publishes them."""
    corpus = passages(here)
    index = here.workspace.publish_document("indexes", {}, step="build_index", inputs=[corpus])
    query = {"query_id": "q1", "text": "胎压", "stratum": "numeric", "frequency": 1}
    asked = here.workspace.publish(
        Query, Query.table([query | {"first_seen": NOON, "last_seen": NOON}]), step="sample_queries"
    )
    rows = [
        {
            "query_id": "q1",
            "passage_id": name,
            "rank": rank,
            "fused_score": 1 / rank,
            "bm25_rank": rank,
            "bm25_score": 1.0,
            "dense_rank": rank,
            "dense_score": 0.5,
        }
        for rank, name in enumerate([first, "p2", "p3"], start=1)
    ]
    return here.workspace.publish(
        Candidate, Candidate.table(rows), step="retrieve_candidates", inputs=[asked, index], settings={"first": first}
    )


def test_a_sound_table_is_checked_once_and_its_check_can_be_opened(here: Context) -> None:
    table = events(here)
    check = quality.check_query_events(table, context=here)
    manifest = here.workspace.manifest(check)
    assert (manifest.inputs, manifest.counts["critical"], manifest.counts["events"]) == ((table,), 0, 5)
    assert Path(quality.data_docs(here, check)).is_file()
    assert here.workspace.ref("checks/query_events") == check
    assert quality.check_query_events(table, context=here) == check
    assert here.workspace.manifest(check) == manifest


def test_a_table_that_was_checked_costs_no_great_expectations(here: Context, tmp_path: Path) -> None:
    table = events(here)
    quality.check_query_events(table, context=here)
    script = (
        "import sys\nfrom pathlib import Path\nfrom rerankops import config\n"
        "from rerankops.pipeline import quality\nfrom rerankops.pipeline.context import Context\n"
        "from rerankops.workspace import Workspace\n"
        "here = Context(config.load(environ={}), Workspace(Path(sys.argv[1])))\n"
        "quality.check_query_events(sys.argv[2], context=here)\n"
        "print('great_expectations' in sys.modules, 'pandas' in sys.modules)\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "workspace"), table]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout.split(), done.returncode) == (["False", "False"], 0), done.stderr


def test_a_critical_failure_is_one_line_with_table_rule_example_and_link_each_time_it_is_asked(here: Context) -> None:
    table = events(here, text="打13812345678给我")
    said = set()
    for _ in range(2):
        with pytest.raises(quality.TableRefused) as refused:
            quality.check_query_events(table, context=here)
        said.add(str(refused.value))
    check = here.workspace.require("checks/query_events", "")
    (line,) = said
    assert line == (
        "query_events: rule 'free of personal data' is not met: event 'e4' still holds what reads as 'PHONE' (its text "
        "is not repeated here); delete this artefact and pull again; should it come back, report which kind and how it "
        "is written. All about it: "
        f"{here.workspace.root}/objects/{check}/data_docs/index.html ({table})"
    )
    assert Path(quality.data_docs(here, check)).is_file()


def test_a_warning_is_logged_and_lets_the_table_pass(here: Context, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check = quality.check_query_events(events(here, source=""), context=here)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["query_events"]
    assert "rule 'source named' is not met: event 'e4' has no source" in caplog.text
    assert [found["rule"] for found in quality.read_check(here, check)["findings"]] == ["source named"]


def test_an_event_may_be_as_late_as_its_table_and_no_later(here: Context) -> None:
    now = datetime.now(UTC)
    check = quality.check_query_events(events(here, issued_at=now), context=here)
    rules = {found["rule"] for found in quality.read_check(here, check)["findings"]}
    assert "times plausible" not in rules
    with pytest.raises(quality.TableRefused, match=r"'clocks right'|'times in order'"):
        quality.check_query_events(events(here, issued_at=now + timedelta(hours=3)), context=here)


def test_another_bound_is_another_check(here: Context) -> None:
    table = events(here, text="", query_id=None)
    lenient = quality.check_query_events(table, context=here)
    strict = here.settings.model_copy(update={"quality": here.settings.quality.model_copy(
        update={"max_empty_share": 0.1})})  # fmt: skip
    with pytest.raises(quality.TableRefused, match=r"'texts there' is not met: 20.0% of 5 events have no text"):
        quality.check_query_events(table, context=Context(strict, here.workspace))
    assert here.workspace.ref("checks/query_events") != lenient


def test_candidates_are_checked_against_their_own_queries_and_corpus(here: Context) -> None:
    table = candidates(here)
    check = quality.check_candidates(table, context=here)
    kinds = [address.split("/")[0] for address in here.workspace.manifest(check).inputs]
    assert kinds == ["candidates", "queries", "passages"]
    with pytest.raises(quality.TableRefused, match="candidate 'gone' of query 'q1' is no passage of the corpus"):
        quality.check_candidates(candidates(here, "gone"), context=here)


def test_candidates_of_nothing_known_are_refused_by_name(here: Context) -> None:
    alone = here.workspace.publish(Candidate, Candidate.empty(), step="elsewhere")
    with pytest.raises(InputError, match="does not say what was searched for; name the table, one of queries"):
        quality.check_candidates(alone, context=here)


def test_judgments_near_a_gold_question_are_refused(here: Context) -> None:
    gold(here)
    quality.check_judgments(judgments(here), context=here)
    with pytest.raises(quality.TableRefused, match=r"judgments: rule 'no gold' is not met: .* \('前轮胎压是多少'\)"):
        quality.check_judgments(judgments(here, "前轮胎压是多少"), context=here)


def test_judgments_need_gold_to_be_compared_with(here: Context) -> None:
    with pytest.raises(ArtefactMissing, match="run refresh_corpus_index first"):
        quality.check_judgments(judgments(here), context=here)


def test_gold_answers_are_looked_for_in_their_passages_as_the_reader_would(here: Context) -> None:
    """450L stands in the passage as 450 升; 2.3 is not in a passage about 12.3."""
    passages(here)
    sound = quality.check_gold_questions(gold(here), context=here)
    assert quality.read_check(here, sound)["findings"] == []
    odd = quality.check_gold_questions(gold(here, {"relevant_passage_ids": ["p2"]}), context=here)
    (found,) = quality.read_check(here, odd)["findings"]
    assert found["rule"] == "answers in the passages"
    assert "question 'g1' ('前轮胎压是多少'): answer '2.3' stands in none of its relevant passages" in found["words"]


def test_a_new_corpus_means_a_new_check_of_gold(here: Context) -> None:
    passages(here)
    questions = gold(here)
    first = quality.check_gold_questions(questions, context=here)
    rows = [{"passage_id": "new", "title": "", "text": "别的", "metadata": []}]
    here.workspace.point(CORPUS, here.workspace.publish(Passage, Passage.table(rows), step="load_corpus"))
    with pytest.raises(
        quality.TableRefused, match=r"100\.0% of 2 questions have relevant passages of which the corpus"
    ):
        quality.check_gold_questions(questions, context=here)
    assert here.workspace.ref("checks/gold_questions") != first
