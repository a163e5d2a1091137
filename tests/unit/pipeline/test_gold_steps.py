"""Gold from draft to frozen versions in a workspace: what people return is kept, and what is frozen never changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from artefacts import corpus_and_vectors
from retrieval_contract import numbered

from rerankops import config
from rerankops.errors import ArtefactMissing, GoldLeak, InputError, SettingsError
from rerankops.pipeline import corpus, gold_sets
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import CORPUS, GOLD, INDEX
from rerankops.pipeline.gold import draft_gold, gold_status
from rerankops.pipeline.gold_forms import collect_forms, source_of, write_forms, write_resolution
from rerankops.pipeline.gold_freezing import export_gold, freeze_gold, reach
from rerankops.pipeline.index import build_index
from rerankops.pipeline.judgments import JUDGMENTS, take_in
from rerankops.pipeline.queries import PULLS, gold_texts, mark_asked, pull_events
from rerankops.pipeline.set_aside import stands_aside
from rerankops.records import GoldDraft, GoldEntry, GoldQuestion, Judgment, Query
from rerankops.workspace import Workspace

QUESTIONS = ["后备箱容积是多少升", "发动机机油怎么加注", "这款车有什么亮点吗"]
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


class Place:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.log = folder / "log.jsonl"
        self.log.touch()
        self.settings = settings | {"query_log": {"location": str(self.log)}}
        self.workspace = Workspace(folder / "workspace")
        self.context = self.with_settings()

    def with_settings(self, **settings: Any) -> Context:
        return Context(config.load(environ={}, overrides=self.settings | settings), self.workspace)

    def file(self, name: str, *rows: Any) -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    def draft(self, questions: Sequence[str] = QUESTIONS, name: str = "d1") -> list[dict[str, Any]]:
        path = self.file(f"{name}.questions.jsonl", *({"text": text} for text in questions))
        address = draft_gold(name, file=path, context=self.context)
        return self.workspace.read(address, GoldDraft).to_pylist()

    def give(self, path: Path, answers: dict[str, Any]) -> Path:
        """A form filled in: question text to an accepted answer, or to fields of the row."""
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            given = answers.get(row["question"])
            row.update({"accepted_answers": [given]} if isinstance(given, str) else given or {})
        done = path.with_name(f"done-{path.name}")
        done.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return done

    def answer(self, *people: dict[str, Any], name: str = "d1") -> None:
        """Forms for anna, ben, …, filled in and collected."""
        names = ["anna", "ben", "cem"][: len(people)]
        paths = write_forms(name, names, self.folder / "forms", context=self.context)
        collect_forms([self.give(*pair) for pair in zip(paths, people, strict=True)], context=self.context)

    def settled(self, questions: Sequence[str] = QUESTIONS, name: str = "d1") -> None:
        """A draft on which two people agree."""
        self.draft(questions, name)
        same = {text: f"{number} 升" for number, text in enumerate(questions)}
        self.answer(same, same, name=name)

    def judge(self, *texts: str) -> None:
        row = {
            "passage_id": "p0", "stratum": "all", "grade": 3, "confidence": 1.0, "annotator_count": 3,
            "origin": "human",
        }  # fmt: skip
        rows = [row | {"query_id": f"j{number}", "query_text": text} for number, text in enumerate(texts)]
        take_in(self.context, "human", self.workspace.publish(Judgment, Judgment.table(rows), step="adjudicate"))

    def objects(self) -> list[str]:
        return sorted(str(path) for path in (self.folder / "workspace").rglob("*") if path.is_file())

    def entries(self, which: str) -> list[dict[str, Any]]:
        return self.workspace.read(gold_sets.find(self.workspace, which)[2], GoldEntry).to_pylist()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_draft_from_a_file_is_redacted_sorted_into_strata_and_stands(place: Place) -> None:
    rows = place.draft([*QUESTIONS, "打13812345678问胎压", "5", QUESTIONS[0] + "呢"])
    assert {row["text"]: row["stratum"] for row in rows if row["text"] in QUESTIONS} == {
        QUESTIONS[0]: "numeric", QUESTIONS[1]: "procedure", QUESTIONS[2]: "summary"
    }  # fmt: skip
    assert "打[PHONE]问胎压" in {row["text"] for row in rows}
    assert "5" not in {row["text"] for row in rows}
    assert place.draft(["别的问题在哪里"]) == rows


def test_a_draft_keeps_away_from_gold_other_drafts_and_what_was_judged(place: Place) -> None:
    question = {"accepted_answers": ["1"], "relevant_passage_ids": [], "stratum": "all"}
    asked = GoldQuestion.table([{"question_id": "g", "text": QUESTIONS[0] + "呢", **question}])
    place.workspace.point(GOLD, place.workspace.publish(GoldQuestion, asked, step="load_gold"))
    place.judge(QUESTIONS[1] + "呢")
    place.draft([QUESTIONS[2]], "other")
    assert [row["text"] for row in place.draft([*QUESTIONS, "天窗漏水怎么办"])] == ["天窗漏水怎么办"]
    with pytest.raises(InputError, match="draft 'd2': nothing is left to ask"):
        place.draft(QUESTIONS, "d2")


def test_a_draft_from_production_is_drawn_by_stratum_without_any_gold_yet(place: Place) -> None:
    with pytest.raises(InputError, match=r"no production queries to draw from yet; give a window \(--since\)"):
        draft_gold("d1", context=place.context)
    texts = [f"{part}的容积是多少升" for part in ("油箱", "水箱", "后备箱", "手套箱")] + [
        "如何打开天窗",
        "怎么连接蓝牙",
    ]
    rows = [
        {"event_id": f"e{n}", "text": text, "issued_at": (BEGIN + timedelta(hours=n)).isoformat()}
        for n, text in enumerate([*texts, "怎么连接蓝牙"])
    ]
    place.file("log.jsonl", *rows)
    window = draft_gold("w", since="2026-02-01", per_stratum=2, context=place.context)
    drawn = place.workspace.read(window, GoldDraft).to_pylist()
    assert sorted(row["stratum"] for row in drawn) == ["numeric", "numeric", "procedure", "procedure"]
    assert {row["text"]: row["frequency"] for row in drawn}["怎么连接蓝牙"] == 2
    events = pull_events(context=place.context)
    queries = place.workspace.publish(Query, Query.empty(), step="distil_queries", inputs=[events])
    mark_asked(place.context, place.workspace.publish(Query, Query.empty(), step="sample_queries", inputs=[queries]))
    assert place.workspace.refs(PULLS)
    rest = place.workspace.read(draft_gold("rest", context=place.context), GoldDraft)
    assert len(rest) == 2
    assert not set(rest["text"].to_pylist()) & {row["text"] for row in drawn}


def test_answers_that_agree_are_ready_and_the_rest_goes_to_a_third_person(place: Place) -> None:
    place.draft()
    place.answer({QUESTIONS[0]: "450 L", QUESTIONS[1]: "拧开"}, {QUESTIONS[0]: "四百五十升", QUESTIONS[1]: "旋转"})
    found = gold_status("d1", context=place.context)
    assert {one.question_id for one in found.settled if one.state == "agreed"} == {
        row["question_id"] for row in place.draft() if row["text"] == QUESTIONS[0]
    }
    assert sorted(one.state for one in found.settled) == ["agreed", "disputed", "waiting"]
    assert found.outstanding == {"anna": 1, "ben": 1}
    assert found.accord[-1].stratum == "whole set"
    assert (found.accord[-1].questions, found.accord[-1].answers) == (2, 0.5)
    path = write_resolution("d1", "cem", place.folder / "forms", context=place.context)
    assert path
    (row,) = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [words.split(";")[0] for words in row["given"]] == ["A: 拧开", "B: 旋转"]
    assert "anna" not in path.read_text(encoding="utf-8")
    collect_forms([place.give(path, {QUESTIONS[1]: "拧开"})], context=place.context)
    (resolved,) = [one for one in gold_status("d1", context=place.context).settled if one.state == "resolved"]
    assert (resolved.accepted_answers, resolved.answered_by, resolved.resolved_by) == (
        ("拧开",),
        ("anna", "ben"),
        "cem",
    )
    assert write_resolution("d1", "cem", place.folder, context=place.context) is None


def test_who_answered_cannot_settle(place: Place) -> None:
    place.draft()
    place.answer({QUESTIONS[0]: "1"}, {QUESTIONS[0]: "2"})
    assert write_resolution("d1", "ben", place.folder, context=place.context) is None
    path = write_resolution("d1", "cem", place.folder, context=place.context)
    assert path
    forged = place.give(path, {QUESTIONS[0]: "1"})
    forged.write_text(forged.read_text(encoding="utf-8").replace('"cem"', '"ben"'), encoding="utf-8")
    with pytest.raises(InputError, match=r"ben answered question \w+ as an annotator; a third person settles it"):
        collect_forms([forged], context=place.context)


def test_a_later_form_adds_to_what_its_author_answered_and_nothing_is_lost(place: Place) -> None:
    place.draft()
    (path, _) = write_forms("d1", ["anna", "ben"], place.folder / "forms", context=place.context)
    first = place.give(path, {QUESTIONS[0]: "1", QUESTIONS[1]: "2"})
    (done,) = collect_forms([first], context=place.context)
    assert (done.answered, done.changed, done.total) == (2, 2, 2)
    content = first.read_bytes()
    before = place.objects()
    (again,) = collect_forms([first], context=place.context)
    assert (again.changed, again.total) == (0, 2)
    assert place.objects() == before
    later = place.give(path, {QUESTIONS[1]: "3", QUESTIONS[2]: "4"})
    (done,) = collect_forms([later], context=place.context)
    assert (done.answered, done.changed, done.total) == (2, 2, 3)
    assert content in [Path(name).read_bytes() for name in place.objects()]
    assert set(before) <= set(place.objects())


def test_a_row_that_cannot_be_used_is_set_aside_when_asked_for(place: Place) -> None:
    place.draft()
    path, _ = write_forms("d1", ["anna", "ben"], place.folder / "forms", context=place.context)
    sent = place.give(path, {QUESTIONS[0]: "450 L", QUESTIONS[1]: {"unanswerable": True, "accepted_answers": ["no"]}})
    with pytest.raises(InputError, match="unanswerable, but with accepted answers"):
        collect_forms([sent], context=place.context)
    lenient = place.with_settings(reading={"skip_bad": True})
    (found,) = collect_forms([sent], context=lenient)
    assert found.answered == 1
    (row,) = stands_aside(source_of(found), context=place.context).to_pylist()
    assert "unanswerable, but with accepted answers" in row["reason"]
    sent = place.give(path, {QUESTIONS[0]: "450 L", QUESTIONS[1]: {"unanswerable": True}})
    (found,) = collect_forms([sent], context=lenient)
    assert (found.answered, stands_aside(source_of(found), context=place.context).num_rows) == (2, 0)


def test_forms_show_the_candidates_that_retrieval_finds_and_grades_are_of_the_corpus(
    place: Place, read: list[str]
) -> None:
    here = place.with_settings(gold={"candidates_per_question": 3}, encoder={"model": "tests/hashed"})
    place.context = here
    passages, vectors = numbered(40)
    built = build_index(*corpus_and_vectors(place.workspace, passages, vectors, here.settings.encoder), context=here)
    place.workspace.point(CORPUS, place.workspace.manifest(built).inputs[0])
    place.workspace.point(INDEX, built)
    place.draft()
    paths = write_forms("d1", ["anna", "ben"], place.folder / "forms", context=here)
    shown = [
        [c["passage_id"] for c in json.loads(path.read_text("utf-8").splitlines()[0])["candidates"]] for path in paths
    ]
    assert sorted(shown[0]) == sorted(shown[1])
    assert len(shown[0]) == 3
    question = json.loads(paths[0].read_text("utf-8").splitlines()[0])["question"]
    wrong = place.give(
        paths[0], {question: {"accepted_answers": ["1"], "other_passages": [{"passage_id": "x", "grade": 3}]}}
    )
    with pytest.raises(InputError, match="passage 'x' is not in the corpus"):
        collect_forms([wrong], context=here)
    graded = [{"passage_id": one, "grade": 3 if one == shown[0][0] else None} for one in sorted(shown[0])]
    other = next(f"p{number}" for number in range(40) if f"p{number}" not in shown[0])
    given = {"candidates": graded, "accepted_answers": ["1"], "other_passages": [{"passage_id": other, "grade": 2}]}
    collect_forms([place.give(path, {question: given}) for path in paths], context=here)
    (agreed,) = [one for one in gold_status("d1", context=here).settled if one.state == "agreed"]
    assert dict(agreed.relevant) == {shown[0][0]: 3, other: 2}


def test_freezing_makes_versions_that_hold_the_earlier_ones_unchanged(place: Place) -> None:
    place.settled()
    first = freeze_gold("cars", draft="d1", context=place.context)
    assert (first.version, first.added, first.retired) == (1, 3, 0)
    assert {tuple(row["answered_by"]) for row in place.entries("cars@1")} == {("anna", "ben")}
    before, files = place.entries("cars"), place.objects()
    assert freeze_gold("cars", draft="d1", context=place.context).version == 1
    assert place.objects() == files
    place.settled(["天窗漏水怎么办呢", "雨刮器几年换一次"], "d2")
    gone = {before[0]["question_id"]: "the car is no longer built"}
    second = freeze_gold("cars", draft="d2", retire=gone, context=place.context)
    assert (second.version, second.added, second.retired) == (2, 2, 1)
    assert freeze_gold("cars", draft="d2", retire=gone, context=place.context).version == 2
    assert place.entries("cars@1") == before
    after = place.entries("cars@2")
    same = [{**row, "retired_version": None, "retired_reason": None} for row in after[:3]]
    assert same == before
    assert [row["retired_version"] for row in after] == [2, None, None, None, None]
    assert [row["added_version"] for row in after] == [1, 1, 1, 2, 2]
    assert place.workspace.manifest(second.address).inputs[0] == first.address
    assert len(export_gold("cars", context=place.context)) == 4


def test_a_frozen_set_is_loaded_by_name_and_keeps_what_is_not_asked_out_of_training(place: Place) -> None:
    place.draft()
    unanswerable = {QUESTIONS[0]: "450升", QUESTIONS[1]: {"unanswerable": True}, QUESTIONS[2]: "省油"}
    place.answer(unanswerable, unanswerable)
    freeze_gold("cars", draft="d1", context=place.context)
    ids = {row["text"]: row["question_id"] for row in place.entries("cars")}
    freeze_gold("cars", retire={ids[QUESTIONS[2]]: "a matter of taste"}, context=place.context)
    for source, texts in {
        "frozen:cars@1": {QUESTIONS[0], QUESTIONS[2]},
        "frozen:cars@2": {QUESTIONS[0]},
        "frozen:cars": {QUESTIONS[0]},
    }.items():
        here = place.with_settings(sources={"gold": source})
        address = corpus.load_gold(context=here)
        assert place.workspace.ref(GOLD) == address
        assert set(place.workspace.read(address, GoldQuestion)["text"].to_pylist()) == texts
        assert set(gold_texts(here, address)["normal"]) == set(QUESTIONS)
    for source, words in {
        "frozen:bikes": "there is no gold set 'bikes'",
        "frozen:cars@7": r"no version '7'; it has \[1, 2\]",
    }.items():
        with pytest.raises(ArtefactMissing, match=words):
            corpus.load_gold(context=place.with_settings(sources={"gold": source}))


GOLD_ROWS = [
    {"question_id": "g1", "text": QUESTIONS[0], "accepted_answers": ["450升"], "answered_by": ["dora"]},
    {"question_id": "g2", "text": QUESTIONS[1], "accepted_answers": ["拧开"], "relevant_passage_ids": ["p1"]},
]


def test_a_gold_file_is_frozen_as_it_is_and_never_changes_after(place: Place) -> None:
    path = place.file("gold.jsonl", *GOLD_ROWS)
    with pytest.raises(InputError, match="gold set 'cars': nothing to freeze"):
        freeze_gold("cars", context=place.context)
    assert freeze_gold("cars", file=path, answered_by=["team"], context=place.context).added == 2
    assert {row["question_id"]: row["answered_by"] for row in place.entries("cars")} == {"g1": ["dora"], "g2": ["team"]}
    here = place.with_settings(sources={"gold": "frozen:cars"})
    frozen = place.workspace.read(corpus.load_gold(context=here), GoldQuestion).to_pylist()
    as_file = place.workspace.read(
        corpus.load_gold(context=place.with_settings(sources={"gold": str(path)})), GoldQuestion
    ).to_pylist()
    assert frozen == as_file
    changed = place.file("gold.jsonl", GOLD_ROWS[0] | {"accepted_answers": ["500升"]})
    with pytest.raises(InputError, match="question g1 is frozen with another accepted_answers"):
        freeze_gold("cars", file=changed, context=place.context)


def test_an_export_is_a_gold_file_that_freezes_to_the_same_questions(place: Place) -> None:
    place.settled()
    freeze_gold("cars", draft="d1", context=place.context)
    path = place.file("export.jsonl", *export_gold("cars", context=place.context))
    freeze_gold("copy", file=path, context=place.context)
    kept = ("question_id", "text", "accepted_answers", "stratum", "answered_by")
    assert [[row[name] for name in kept] for row in place.entries("copy")] == [
        [row[name] for name in kept] for row in place.entries("cars")
    ]


def test_a_fact_that_is_in_the_set_is_refused_until_it_is_left_out(place: Place) -> None:
    freeze_gold("cars", file=place.file("a.jsonl", GOLD_ROWS[0]), context=place.context)
    twin = GOLD_ROWS[0] | {"question_id": "g3", "text": QUESTIONS[0] + "呢"}
    path = place.file("b.jsonl", twin, GOLD_ROWS[1])
    with pytest.raises(InputError, match=r"the first is g3 .* and g1 .*; leave one out \(--leave-out ID\)"):
        freeze_gold("cars", file=path, context=place.context)
    assert freeze_gold("cars", file=path, leave_out=["g3"], context=place.context).added == 1
    with pytest.raises(InputError, match="--leave-out names question g9"):
        freeze_gold("cars", file=path, leave_out=["g9"], context=place.context)
    freeze_gold("cars", file=path, leave_out=["g2"], retire={"g1": "asked better"}, context=place.context)
    assert [row["question_id"] for row in place.entries("cars") if row["retired_version"] is None] == ["g2", "g3"]


def test_judged_queries_near_new_gold_refuse_it_until_they_are_withheld_from_training(place: Place) -> None:
    place.judge(QUESTIONS[0] + "呢", "天窗漏水怎么办")
    path = place.file("gold.jsonl", *GOLD_ROWS)
    with pytest.raises(GoldLeak, match=f"^1 queries that were judged .*: '{QUESTIONS[0]}呢'") as caught:
        freeze_gold("cars", file=path, context=place.context)
    report = str(caught.value).split("judgments: ")[1].split(")")[0]
    (leak,) = json.loads(Path(report).read_text(encoding="utf-8"))["queries"]
    assert (leak["query_id"], leak["question_id"], leak["judgments"], leak["origins"]) == ("j0", "g1", 1, ["human"])
    assert place.workspace.refs("gold-sets") == []
    done = freeze_gold("cars", file=path, drop_judged=True, context=place.context)
    assert (done.version, done.withheld) == (1, 1)

    def judged() -> list[str]:
        table = place.workspace.read(place.workspace.require(JUDGMENTS, ""), Judgment)
        found: list[str] = table["query_text"].to_pylist()
        return found

    assert judged() == ["天窗漏水怎么办"]
    place.judge(QUESTIONS[0] + "呢", "天窗漏水怎么办", "雨刮器怎么换")
    assert judged() == ["天窗漏水怎么办", "雨刮器怎么换"]
    human = place.workspace.require("judgments-of/human", "")
    assert place.workspace.read(human, Judgment).num_rows == 3


def test_what_a_set_can_show_follows_from_its_size_and_the_gate_s_settings(place: Place) -> None:
    done = freeze_gold("cars", file=place.file("gold.jsonl", *GOLD_ROWS), context=place.context)
    everything = reach(place.context, done.address)[-1]
    gate = place.context.settings.promotion
    assert (everything.stratum, everything.questions, everything.minimum) == ("whole set", 2, gate.min_questions)
    assert everything.needed == 901  # (2.005 + .842)² · .10 / .03²: a first look has .025, of which accuracy .9
    assert everything.noticeable == pytest.approx((8.10 * 0.1 / 2) ** 0.5, abs=1e-2)


@pytest.mark.parametrize("name", ["a/b", "a@1", "", "x" * 65, ".a"])
def test_a_name_that_cannot_stand_in_a_reference_is_refused(place: Place, name: str) -> None:
    with pytest.raises(SettingsError, match="is no name; use letters, digits"):
        freeze_gold(name, context=place.context)
    with pytest.raises(SettingsError, match="is no name; use letters, digits"):
        place.draft(name=name) if "/" not in name else draft_gold(name, file=place.log, context=place.context)


def test_a_draft_that_is_not_there_is_named(place: Place) -> None:
    place.draft()
    with pytest.raises(ArtefactMissing, match=r"there is no draft 'd9'; there are \['d1'\]"):
        gold_status("d9", context=place.context)
