"""Imported labels in the workspace: redacted, matched, kept out of gold's way, and usable by training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from rerankops import config
from rerankops.errors import ArtefactMissing, InputError
from rerankops.pipeline import imports
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import CORPUS, GOLD
from rerankops.pipeline.judgments import JUDGMENTS, take_in
from rerankops.pipeline.set_aside import stands_aside
from rerankops.records import GoldQuestion, ImportedLabel, Judgment, Passage
from rerankops.training.groups import build_groups
from rerankops.workspace import Workspace

CORPUS_ROWS = [
    {"passage_id": "d1", "title": "后备箱", "text": "后备箱容积 450升", "metadata": []},
    {"passage_id": "d2", "title": "轮胎", "text": "前轮2.3bar", "metadata": []},
]
PAIRS = [
    {"query": "后备箱多大", "passage": "后备箱容积  450升\n", "score": 1},
    {"query": "后备箱多大", "passage": "天窗可以打开", "score": 0},
    {"query": "打13812345678问胎压", "passage": "前轮2.3bar", "score": 1},
    {"query": "发动机机油型号是什么", "passage": "用5W-30", "score": 1},
]


class Place:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.context = Context(config.load(environ={}, overrides=settings), Workspace(folder / "workspace"))
        self.workspace = self.context.workspace

    def publish(self) -> None:
        question = {"accepted_answers": ["1"], "relevant_passage_ids": [], "stratum": "all"}
        gold = GoldQuestion.table([{"question_id": "g1", "text": "发动机机油型号是什么呢", **question}])
        self.workspace.point(GOLD, self.workspace.publish(GoldQuestion, gold, step="load_gold"))
        self.workspace.point(CORPUS, self.workspace.publish(Passage, Passage.table(CORPUS_ROWS), step="load_corpus"))

    def write(self, *rows: Any) -> Path:
        path = self.folder / "pairs.jsonl"
        text = ((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
        path.write_text("".join(text), encoding="utf-8")
        return path

    def take(self, *rows: Any, **more: Any) -> imports.Imported:
        path = self.write(*(rows or PAIRS))
        done: imports.Imported = imports.import_labels(path, form="pairs", name="cars", context=self.context, **more)
        return done

    def judgments(self) -> list[dict[str, Any]]:
        return self.workspace.read(self.workspace.require(JUDGMENTS, ""), Judgment).to_pylist()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    here = Place(tmp_path)
    here.publish()
    return here


def test_labels_become_judgments_of_the_corpus_s_passages_and_of_those_that_come_along(place: Place) -> None:
    done = place.take()
    found = {(row["query_text"], row["passage_id"][:9]): row["grade"] for row in place.judgments()}
    assert found == {("后备箱多大", "d1"): 3, ("后备箱多大", "imported-"): 0, ("打问胎压", "d2"): 3}
    assert {row["origin"] for row in place.judgments()} == {"imported"}
    assert {row["confidence"] for row in place.judgments()} == {0.8}
    expected = {"matched": 2, "unmatched": 2, "redactions": 1, "queries_near_gold": 1, "judgments": 3, "rejected": 0}
    assert expected.items() <= done.counts.items()
    assert (done.rule, done.bad_file) == ("binary", None)


def test_no_personal_data_of_imported_queries_are_stored(place: Place, tmp_path: Path) -> None:
    done = place.take()
    stored = place.workspace.read(done.labels, ImportedLabel)["query_text"].to_pylist()
    assert "打[PHONE]问胎压" in stored
    files = [path.read_bytes() for path in (tmp_path / "workspace").rglob("*") if path.is_file()]
    assert not any(b"13812345678" in content for content in files)


def test_the_same_file_again_changes_nothing_and_another_replaces_it(place: Place) -> None:
    first = place.take()
    objects = sorted(str(path) for path in (place.folder / "workspace").rglob("*"))
    assert place.take() == first
    assert sorted(str(path) for path in (place.folder / "workspace").rglob("*")) == objects
    second = place.take({"query": "后备箱多大", "passage": "后备箱容积 450升", "score": 0})
    assert [row["grade"] for row in place.judgments()] == [0]
    assert place.workspace.read(first.own, Judgment).num_rows == 3
    assert second.judgments != first.judgments


def test_people_s_judgments_stay_beside_imported_ones(place: Place) -> None:
    row = {
        "query_id": "h1", "passage_id": "d1", "query_text": "轮胎", "stratum": "all", "grade": 1, "confidence": 1.0,
        "annotator_count": 3, "origin": "human",
    }  # fmt: skip
    take_in(place.context, "human", place.workspace.publish(Judgment, Judgment.table([row]), step="adjudicate"))
    place.take()
    assert sorted(row["origin"] for row in place.judgments()) == ["human", "imported", "imported", "imported"]


def test_a_bad_row_is_refused_with_its_place_and_nothing_is_stored(place: Place, tmp_path: Path) -> None:
    before = sorted(str(path) for path in (tmp_path / "workspace").rglob("*"))
    with pytest.raises(InputError, match=r"^2 row\(s\) are no labels: .*:2: not valid JSON .*:3: query and"):
        place.take(PAIRS[0], "{", {"query": "", "passage": "b", "score": 1})
    assert sorted(str(path) for path in (tmp_path / "workspace").rglob("*")) == before


def test_bad_rows_can_be_set_aside_with_their_reasons(place: Place, tmp_path: Path) -> None:
    bad = tmp_path / "aside" / "bad.jsonl"
    done = place.take(PAIRS[0], "{", bad_file=bad)
    (row,) = [json.loads(line) for line in bad.read_text(encoding="utf-8").splitlines()]
    assert row["place"].endswith("pairs.jsonl:2")
    assert row["content"].strip() == "{"
    assert (done.bad, done.bad_file, len(place.judgments())) == (1, bad, 1)
    (row,) = stands_aside("import-cars", context=place.context).to_pylist()
    assert row["place"].endswith("pairs.jsonl:2")
    with pytest.raises(InputError, match=r"2 of 3 rows cannot be used.*: 2 × not valid JSON \(first: .*pairs\.jsonl:2"):
        place.take(PAIRS[0], "{", "{", bad_file=bad)


def test_labels_of_unknown_passages_can_be_dropped(tmp_path: Path) -> None:
    here = Place(tmp_path, imports={"unmatched": "drop"})
    here.publish()
    done = here.take()
    assert {row["passage_id"] for row in here.judgments()} == {"d1", "d2"}
    assert done.counts["labels_dropped_unmatched"] == 2


def test_an_import_needs_gold_to_keep_away_from(tmp_path: Path) -> None:
    with pytest.raises(ArtefactMissing, match="it freezes the gold questions"):
        Place(tmp_path).take()


def test_confidence_can_be_given_and_mere_negatives_have_their_own(place: Place) -> None:
    path = place.folder / "t.jsonl"
    path.write_text(json.dumps(["后备箱多大", "后备箱容积 450升", "前轮2.3bar"], ensure_ascii=False), encoding="utf-8")
    imports.import_labels(path, form="triples", name="t", context=place.context)
    assert {row["grade"]: row["confidence"] for row in place.judgments()} == {3: 0.8, 0: 0.5}
    imports.import_labels(path, form="triples", name="t", confidence=0.3, context=place.context)
    assert {row["confidence"] for row in place.judgments()} == {0.3}


def test_training_reads_the_texts_that_came_along_and_learns_from_their_negatives(place: Place) -> None:
    done = place.take()
    corpus = Passage.table(CORPUS_ROWS)
    outside = imports.outside_passages(place.workspace, done.judgments, corpus)
    assert outside["text"].to_pylist() == ["天窗可以打开"]
    table, counts = build_groups(
        place.workspace.read(done.judgments, Judgment),
        pa.table({"query_id": pa.array([], pa.string()), "passage_id": pa.array([], pa.string()),
                  "rank": pa.array([], pa.int32()), "score": pa.array([], pa.float64())}),
        pa.concat_tables([corpus, outside]),
        negatives_per_positive=2, hard_negative_depth=10, false_negative_margin=0.95, dev_share=0.35, seed=1,
        outside=frozenset(outside["passage_id"].to_pylist()),
    )  # fmt: skip
    (group,) = table.to_pylist()
    assert [one["text"] for one in group["positives"]] == ["后备箱容积 450升"]
    assert [one["text"] for one in group["negatives"]] == ["天窗可以打开"]
    assert (counts["negatives_judged"], counts["dropped_without_negative"]) == (1, 1)


def test_a_passage_that_left_the_corpus_keeps_its_text_for_training(place: Place) -> None:
    done = place.take()
    smaller = Passage.table(CORPUS_ROWS[1:])
    outside = imports.outside_passages(place.workspace, done.judgments, smaller)
    assert sorted(outside["passage_id"].to_pylist())[0] == "d1"
    assert outside.num_rows == 2
