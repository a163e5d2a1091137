"""Feedback as steps: from a real log through pulls to judgments and preferences, gold left out, nothing done twice."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from click_log import simulate

from rerankops import config
from rerankops.pipeline import training
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD, INDEX
from rerankops.pipeline.feedback import PREFERENCES, derive_feedback, estimate_propensities
from rerankops.pipeline.judgments import JUDGMENTS, SOURCES, take_in
from rerankops.pipeline.queries import mark_asked, pull_events, pulled_events
from rerankops.pipeline.training import Plan, judged_texts, taken_in
from rerankops.queries.normalise import query_id
from rerankops.records import GoldQuestion, Judgment, Preference, Query, QueryEvent
from rerankops.workspace import Address, Workspace

MAPPED = {name: name for name in ("user_group", "preferred_passage_id", "ranker", "randomised")}
QUERIES = 60
GOLD_TEXT = "轮胎气压标准是多少"


def text_of(number: int) -> str:
    """Texts that are not alike, so that nothing is merged or near gold."""
    return "".join(chr(0x4E00 + 40 * number + step) for step in range(8))


class Place:
    """A log of one file, a gold question and a workspace."""

    def __init__(self, folder: Path, **feedback: Any) -> None:
        self.log = folder / "log.jsonl"
        overrides = {
            "query_log": {"location": str(self.log), "fields": MAPPED},
            "feedback": {"bootstrap_samples": 50, "min_rank_impressions": 50, **feedback},
        }
        settings = config.load(environ={}, overrides=overrides)
        self.workspace = Workspace(folder / "workspace")
        self.context = Context(settings, self.workspace)
        question = {"question_id": "g1", "text": GOLD_TEXT, "accepted_answers": ["2.3"], "stratum": "numeric"}
        gold = GoldQuestion.table([question | {"relevant_passage_ids": []}])
        self.workspace.point(GOLD, self.workspace.publish(GoldQuestion, gold, step="load_gold"))

    def deal_with(self, rows: list[dict[str, Any]]) -> None:
        """A pull whose batch is out."""
        with self.log.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        events = pull_events(context=self.context)
        queries = self.workspace.publish(Query, Query.empty(), step="distil_queries", inputs=[events])
        mark_asked(self.context, self.workspace.publish(Query, Query.empty(), step="sample_queries", inputs=[queries]))

    def derive(self) -> Address | None:
        propensities = estimate_propensities(context=self.context)
        return derive_feedback(propensities, context=self.context) if propensities else None

    def read(self, name: str, record: Any) -> pl.DataFrame:
        return pl.DataFrame(pl.from_arrow(self.workspace.read(self.workspace.require(name, ""), record)))

    def judgments(self) -> pl.DataFrame:
        return self.read(f"{SOURCES}/feedback", Judgment)

    def refs(self) -> dict[str, str]:
        root = Path(str(self.workspace.root)) / "refs"
        return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*.json"))}


def simulated(seed: int = 41, events: int = 6000, **options: Any) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """Rows of a log, and the truth with the ids that its queries will have."""
    log = simulate(events, seed=seed, queries=QUERIES, randomised=0.2, **options)
    texts = {f"q{number:05d}": text_of(number) for number in range(QUERIES)}
    rows = [
        row | {"event_id": f"s{seed}-{row['event_id']}", "text": texts[row["text"]]}
        for row in log.events.drop_columns(["query_id", "redactions"]).to_pylist()
    ]
    names = {name: query_id(text) for name, text in texts.items()}
    return rows, log.truth.with_columns(pl.col("query_id").replace_strict(names))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_clicks_become_judgments_and_preferences_that_are_mostly_right(place: Place) -> None:
    rows, truth = simulated()
    place.deal_with(rows)
    together = place.derive()
    judgments = place.judgments()
    assert place.workspace.ref(JUDGMENTS) == together == place.workspace.ref(f"{SOURCES}/feedback")
    assert set(judgments["origin"]) == {"feedback"}
    assert set(judgments["query_text"]) <= {text_of(number) for number in range(QUERIES)}
    known = judgments.join(truth, on=["query_id", "passage_id"], suffix="_true")
    assert known.height == judgments.height > 150
    assert ((known["grade"] >= 2) == (known["grade_true"] >= 2)).mean() > 0.85
    preferences = place.read(PREFERENCES, Preference)
    assert preferences.height > 50
    assert preferences["weight"].is_between(0.6, 1.0).all()
    counts = place.workspace.manifest(place.workspace.require(f"{SOURCES}/feedback", "")).counts
    assert counts["judgments"] == judgments.height == counts["passages"] - counts["uncertain"]
    assert (counts["clicks_used"], counts["rates_measured"]) == (1, 0)
    assert counts["events"] == 6000


def test_the_same_events_change_nothing_a_second_time(place: Place) -> None:
    rows, _ = simulated()
    place.deal_with(rows)
    together = place.derive()
    before = place.refs()
    assert place.derive() == together
    assert place.refs() == before


def test_new_events_give_new_judgments_of_all_pulls(place: Place) -> None:
    rows, _ = simulated()
    place.deal_with(rows[:3000])
    first = place.derive()
    place.deal_with(rows[3000:])
    assert place.derive() != first
    counts = place.workspace.manifest(place.workspace.require(f"{SOURCES}/feedback", "")).counts
    assert counts["events"] == 6000


def test_gold_questions_and_what_is_near_them_are_left_out_and_counted(place: Place) -> None:
    liked = {"issued_at": "2026-09-02T00:00:00Z", "source": "log", "feedback": "up", "shown_passage_ids": ["p1"]}
    texts = [GOLD_TEXT, f"{GOLD_TEXT}？", "轮胎气压标准是多少呢", "如何开启座椅加热"]
    place.deal_with([liked | {"event_id": f"e{n}", "text": texts[n % 4]} for n in range(40)])
    place.derive()
    assert set(place.judgments()["query_text"]) == {"如何开启座椅加热"}
    counts = place.workspace.manifest(place.workspace.require(f"{SOURCES}/feedback", "")).counts
    assert (counts["near_gold_events"], counts["near_gold_queries"]) == (30, 2)
    assert (counts["events"], counts["queries"]) == (10, 1)


def test_without_propensities_the_run_says_why_and_uses_what_users_said(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    event = {"issued_at": "2026-09-02T00:00:00Z", "source": "log", "shown_passage_ids": ["p1", "p2", "p3"]}
    clicks = [event | {"event_id": f"c{n}", "text": "后备箱多大", "clicked_passage_ids": ["p3"]} for n in range(90)]
    said = [event | {"event_id": f"d{n}", "text": "如何开启座椅加热", "feedback": "down"} for n in range(3)]
    named = [event | {"event_id": f"n{n}", "text": "如何开启座椅加热", "preferred_passage_id": "p3"} for n in range(2)]
    place.deal_with(clicks + said + named)
    with caplog.at_level(logging.WARNING, logger="rerankops"):
        place.derive()
    assert "clicks are not used. randomised: the log has no shuffled events" in caplog.text
    assert "feedback.click_rates are a guess" in caplog.text
    judged = place.judgments().select("query_text", "passage_id", "grade").rows()
    assert judged == [("如何开启座椅加热", "p1", 0), ("如何开启座椅加热", "p3", 2)]
    preferred = place.read(PREFERENCES, Preference)
    assert preferred.select("better_passage_id", "worse_passage_id").rows() == [("p3", "p1"), ("p3", "p2")]


def test_people_s_judgments_stay_and_calibrate_the_clicks(tmp_path: Path) -> None:
    place = Place(tmp_path, min_anchors=10)
    rows, truth = simulated(events=12_000)
    place.deal_with(rows)
    human = truth.filter(pl.col("query_id").is_in(truth["query_id"].unique().sort()[:30].to_list())).select(
        "query_id", "passage_id", query_text="query_id", stratum=pl.lit("numeric"), grade=pl.col("grade").cast(pl.Int8),
        confidence=pl.lit(0.9), annotator_count=pl.lit(3, pl.Int32), origin=pl.lit("human"),
    )  # fmt: skip
    people = place.workspace.publish(Judgment, human.sort("query_id", "passage_id").to_arrow(), step="adjudicate")
    take_in(place.context, "human", people)
    together = place.derive()
    counts = place.workspace.manifest(place.workspace.require(f"{SOURCES}/feedback", "")).counts
    assert counts["rates_measured"] == 1
    assert counts["rate_0"] < counts["rate_1"] < counts["rate_2"] < counts["rate_3"]
    assert set(place.judgments()["grade"]) >= {0, 1, 3}
    assert together
    everything = place.read(JUDGMENTS, Judgment)
    assert everything.filter(pl.col("origin") == "human").height == human.height
    assert everything.height == human.height + place.judgments().height
    assert place.derive() == together


def test_events_before_the_window_do_not_count(tmp_path: Path) -> None:
    place = Place(tmp_path, window_days=10)
    liked = {"source": "log", "feedback": "up", "shown_passage_ids": ["p1"]}
    old, new = {"issued_at": "2026-08-01T00:00:00Z"}, {"issued_at": "2026-09-02T00:00:00Z"}
    place.deal_with([liked | old | {"event_id": f"o{n}", "text": "后备箱多大"} for n in range(5)])
    place.deal_with([liked | new | {"event_id": f"n{n}", "text": "如何开启座椅加热"} for n in range(5)])
    place.derive()
    assert set(place.judgments()["query_text"]) == {"如何开启座椅加热"}
    assert len(pulled_events(place.context, 10)[0]) == 1
    assert len(pulled_events(place.context)[0]) == 2


def test_only_the_most_frequent_queries_are_learnt_from(tmp_path: Path) -> None:
    place = Place(tmp_path, max_queries=1)
    liked = {"issued_at": "2026-09-02T00:00:00Z", "source": "log", "feedback": "up", "shown_passage_ids": ["p1"]}
    texts = ["后备箱多大", "如何开启座椅加热", "如何开启座椅加热"]
    place.deal_with([liked | {"event_id": f"e{n}", "text": texts[n % 3]} for n in range(30)])
    place.derive()
    assert set(place.judgments()["query_text"]) == {"如何开启座椅加热"}


def test_nothing_to_learn_from_leaves_no_trace(place: Place) -> None:
    assert estimate_propensities(context=place.context) is None
    place.deal_with([{"event_id": "e", "text": "后备箱多大", "issued_at": "2026-09-02T00:00:00Z"}])
    assert place.derive() is None
    assert not {JUDGMENTS, PREFERENCES} & {name.removesuffix(".json") for name in place.refs()}


def test_judgments_go_when_a_gold_question_comes_near_them_later(place: Place) -> None:
    liked = {"issued_at": "2026-09-02T00:00:00Z", "source": "log", "feedback": "up", "shown_passage_ids": ["p1"]}
    place.deal_with([liked | {"event_id": f"e{n}", "text": "如何开启座椅加热"} for n in range(5)])
    place.derive()
    assert place.judgments().height == 1
    question = {"question_id": "g2", "text": "如何开启座椅加热", "accepted_answers": ["长按"], "stratum": "procedure"}
    gold = GoldQuestion.table([question | {"relevant_passage_ids": []}])
    place.workspace.point(GOLD, place.workspace.publish(GoldQuestion, gold, step="load_gold"))
    place.derive()
    assert place.judgments().height == 0


def test_a_plan_takes_in_preferences_but_none_near_its_gold_questions(place: Place) -> None:
    def preference(text: str) -> dict[str, Any]:
        about = {"query_id": query_id(text), "query_text": text, "stratum": "procedure", "weight": 0.9}
        return about | {"better_passage_id": "p1", "worse_passage_id": "p2", "origin": "feedback"}

    preferences = Preference.table([preference("如何开启座椅加热"), preference(f"{GOLD_TEXT}呢")])
    workspace = place.workspace
    plan = Plan(
        "plans/none",
        workspace.publish(Judgment, Judgment.empty(), step="adjudicate"),
        workspace.publish(Preference, preferences, step="derive_feedback"),
        workspace.require(GOLD, ""),
        "indexes/none",
        None,
        None,
        place.context,
    )
    assert judged_texts(plan) == {query_id("如何开启座椅加热"): "如何开启座椅加热"}
    table: pa.Table = taken_in(plan)
    weight = place.context.settings.training.origin_weights.feedback
    assert [(row["passage_id"], row["grade"], row["confidence"]) for row in table.to_pylist()] == [
        ("p1", 2, pytest.approx(0.9 * weight)),
        ("p2", 1, pytest.approx(0.9 * weight)),
    ]


def test_a_plan_is_another_one_only_where_there_are_preferences(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "champion", lambda context: None)  # MLflow is asked for no champion
    workspace = place.workspace
    workspace.point(JUDGMENTS, workspace.publish(Judgment, Judgment.empty(), step="adjudicate"))
    workspace.point(INDEX, workspace.publish_document("indexes", {}, step="build_index"))
    before = training.plan_retraining(context=place.context)
    workspace.point(PREFERENCES, workspace.publish(Preference, Preference.empty(), step="derive_feedback"))
    assert training.plan_retraining(context=place.context) == before
    row = {"query_id": "q", "query_text": "后备箱多大", "stratum": "numeric", "weight": 0.9, "origin": "feedback"}
    some = Preference.table([row | {"better_passage_id": "p1", "worse_passage_id": "p2"}])
    workspace.point(PREFERENCES, workspace.publish(Preference, some, step="derive_feedback"))
    after = training.plan_retraining(context=place.context)
    assert after != before
    assert training.read_plan(place.context, before).preferences is None
    assert training.read_plan(place.context, after).preferences == workspace.ref(PREFERENCES)


def test_what_a_log_has_in_the_place_of_a_segment_is_redacted(place: Place) -> None:
    event = {"issued_at": "2026-09-02T00:00:00Z", "text": "后备箱多大"}
    groups = ["dealers", "13812345678", None]
    place.deal_with([event | {"event_id": f"e{n}", "user_group": group} for n, group in enumerate(groups)])
    (address,), _ = pulled_events(place.context)
    assert place.workspace.read(address, QueryEvent)["user_group"].to_pylist() == ["dealers", "[PHONE]", None]


def test_the_command_shows_the_propensities_and_what_came_of_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from rerankops.cli import app

    def said() -> str:
        result = CliRunner().invoke(app, ["feedback"])
        assert result.exit_code == 0, result.output
        return result.output

    monkeypatch.setenv("RERANKOPS__WORKSPACE__ROOT", str(place.workspace.root))
    assert "No events were dealt with yet" in said()
    place.deal_with([{"event_id": "e", "text": "后备箱多大", "issued_at": "2026-09-02T00:00:00Z"}])
    first = said()
    assert "clicks are not used" in first
    assert "Nothing that users did is a judgment" in first
    place.deal_with(simulated()[0])
    second = said()
    assert "Propensities, randomised, used" in second
    for name, words in ((f"{SOURCES}/feedback", "judgments"), (PREFERENCES, "preferences")):
        assert f", {words} {place.workspace.manifest(place.workspace.require(name, '')).rows}" in second
