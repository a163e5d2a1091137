"""From distilled queries to a batch that says why each query is in it, and to what it tells of live quality."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from artefacts import corpus_and_vectors
from hashed_encoder import MODEL, encoded

from rerankops import config
from rerankops.errors import ArtefactMissing, InputError
from rerankops.pipeline import batches, channels, index, queries
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import INDEX
from rerankops.pipeline.judgments import JUDGMENTS
from rerankops.records import (
    AnnotationTask,
    Candidate,
    Judgment,
    Passage,
    Query,
    QueryEvent,
    RankedCandidate,
    SelectedQuery,
)
from rerankops.workspace import Address, Workspace

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
PARTS = "胎压油耗电池座椅空调雨刷车灯喇叭音响导航钥匙车窗天窗后备箱方向盘刹车离合变速箱发动机冷却液"
STRATA = ("numeric", "procedure", "summary")


@dataclass(frozen=True)
class Place:
    context: Context

    @property
    def workspace(self) -> Workspace:
        return self.context.workspace

    def distilled(self, numbers: range) -> Address:
        events = QueryEvent.table(
            {
                "event_id": f"e{number}",
                "text": wording(number),
                "issued_at": NOON + timedelta(minutes=number),
                "source": "log",
                "shown_passage_ids": [],
                "clicked_passage_ids": [],
                "feedback": "none",
                "query_id": f"q{number:03}",
                "redactions": 0,
            }
            for number in numbers
        )
        rows = Query.table(
            {
                "query_id": f"q{number:03}",
                "text": wording(number),
                "stratum": STRATA[number % 3],
                "frequency": 1 + number % 5,
                "first_seen": NOON,
                "last_seen": NOON,
            }
            for number in numbers
        )
        pulled = self.workspace.publish(QueryEvent, events, step="pull_events")
        return self.workspace.publish(Query, rows, step="distil_queries", inputs=[pulled])

    def read(self, address: Address, record: Any = SelectedQuery) -> pl.DataFrame:
        return pl.DataFrame(pl.from_arrow(self.workspace.read(address, record)))

    def chosen(self, distilled: Address) -> tuple[Address, Address, Address]:
        """Pool, candidates and the queries selected from it."""
        pool = queries.sample_queries(distilled, context=self.context)
        assert pool
        candidates = queries.retrieve_candidates(pool, context=self.context)
        return pool, candidates, batches.select_queries(pool, candidates, context=self.context)


def wording(number: int) -> str:
    """Queries that share too little with one another to be near-duplicates as texts."""
    return "".join(PARTS[(number * step) % len(PARTS)] for step in (1, 3, 7, 11, 13, 17)) + chr(0x5000 + number)


def opened(folder: Path, **selection: Any) -> Context:
    overrides = {
        "encoder": {"model": MODEL},
        "annotation": {
            "outbox": str(folder / "outbox"),
            "inbox": str(folder / "inbox"),
            "candidates_per_query": 4,
            "selection": {"budget_tasks": 40, "pool_queries": 30, **selection},
        },
    }
    return Context(config.load(environ={}, overrides=overrides), Workspace(folder / "workspace"))


@pytest.fixture
def place(tmp_path: Path, read: list[str]) -> Place:
    here = opened(tmp_path)
    texts = [PARTS[start : start + 8] for start in range(0, len(PARTS) - 8)]
    passages = Passage.table(
        {"passage_id": f"p{number:02}", "title": "", "text": text, "metadata": []} for number, text in enumerate(texts)
    )
    built = index.build_index(
        *corpus_and_vectors(here.workspace, passages, encoded(texts).vectors, here.settings.encoder), context=here
    )
    here.workspace.point(INDEX, built)
    return Place(here)


def test_the_pool_holds_a_random_share_with_its_probabilities(place: Place) -> None:
    pool = queries.sample_queries(place.distilled(range(90)), context=place.context)
    assert pool
    table = place.read(pool)
    assert Counter(table["chosen_for"]) == {"random": 4, "pool": 26}  # 40 % of 40 tasks are 4 queries
    random = table.filter(pl.col("chosen_for") == "random")["inclusion_probability"]
    assert random.is_between(0, 1, closed="none").all()
    assert table["inclusion_probability"].null_count() == 26


def test_pulls_of_the_same_queries_draw_differently(place: Place) -> None:
    first, second = (
        place.read(queries.sample_queries(place.distilled(numbers), context=place.context))["query_id"].to_list()
        for numbers in (range(90), range(91))
    )
    assert len(set(first) & set(second)) < 25


def test_a_batch_says_why_each_query_is_in_it_and_keeps_to_its_budget(place: Place) -> None:
    pool, candidates, selected = place.chosen(place.distilled(range(90)))
    table = place.read(selected)
    assert Counter(table["chosen_for"]) == {"random": 4, "uncertainty": 2, "disagreement": 2, "diversity": 2}
    assert place.workspace.manifest(selected).counts["selected_for_random"] == 4
    batch = batches.make_annotation_batch(selected, candidates, context=place.context)
    tasks = place.read(batch, AnnotationTask)
    asked = tasks.filter(pl.col("control_grade").is_null())
    assert asked.height == 40
    why = dict(table.select("query_id", "chosen_for").iter_rows())
    assert all(why[query] == reason for query, reason in asked.select("query_id", "chosen_for").iter_rows())
    assert tasks.filter(pl.col("control_grade").is_not_null())["chosen_for"].null_count() == tasks.height - 40 > 0
    assert place.read(pool).height == 30


def test_people_are_not_told_why_they_are_asked(place: Place) -> None:
    _, candidates, selected = place.chosen(place.distilled(range(90)))
    batch = batches.make_annotation_batch(selected, candidates, context=place.context)
    sent = Path(channels.send_batch(batch, context=place.context)).read_text(encoding="utf-8")
    assert "胎压"[0] in sent
    assert not any(word in sent for word in ("chosen_for", "control_grade", "uncertainty", "disagreement"))


def test_choosing_again_gives_the_same_batch_whatever_was_asked_meanwhile(place: Place) -> None:
    distilled = place.distilled(range(90))
    _, candidates, selected = place.chosen(distilled)
    batch = batches.make_annotation_batch(selected, candidates, context=place.context)
    channels.send_batch(batch, context=place.context)
    again = place.chosen(distilled)
    assert again[1:] == (candidates, selected)
    assert batches.make_annotation_batch(selected, candidates, context=place.context) == batch


def test_only_what_was_selected_counts_as_asked(place: Place) -> None:
    pool, _, selected = place.chosen(place.distilled(range(90)))
    queries.mark_asked(place.context, selected)
    asked, left = place.read(selected)["query_id"], place.read(pool)
    assert queries.asked_queries(place.context)["query_id"].to_list() == asked.to_list()
    fresh = queries.sample_queries(place.distilled(range(120)), context=place.context)
    drawn = set(place.read(fresh)["query_id"])
    assert not drawn & set(asked)
    assert drawn & (set(left["query_id"]) - set(asked))
    assert place.workspace.manifest(fresh).counts["asked_before"] == len(asked)


def test_a_query_near_to_one_of_an_earlier_batch_is_passed_over(place: Place, tmp_path: Path) -> None:
    _, _, selected = place.chosen(place.distilled(range(90)))
    queries.mark_asked(place.context, selected)
    table = place.read(selected)
    # the characters of asked queries in another order: no near-duplicates as texts, the same vector
    rows = table.select(pl.col("query_id") + "x", text=pl.col("text").str.reverse())
    more = table.with_columns(rows).select(Query.columns)
    old = place.workspace.manifest(place.workspace.manifest(selected).inputs[0]).inputs[0]
    merged = pl.concat([place.read(old, Query), more]).sort("query_id")
    events = place.workspace.manifest(old).inputs[0]
    distilled = place.workspace.publish(Query, merged.to_arrow(), step="distil_queries", inputs=[events, old])
    pool, _, chosen = Place(opened(tmp_path, pool_queries=200)).chosen(distilled)
    twins = set(more["query_id"])
    assert twins < set(place.read(pool)["query_id"])
    taken = place.read(chosen).filter(pl.col("query_id").is_in(list(twins)))
    assert set(taken["chosen_for"]) <= {"random"}
    assert place.workspace.manifest(chosen).counts["passed_over"] >= len(twins) - taken.height


def test_a_pull_with_few_queries_is_asked_whole(place: Place) -> None:
    _, _, selected = place.chosen(place.distilled(range(9)))
    table = place.read(selected)
    assert table.height == 9
    random = table.filter(pl.col("chosen_for") == "random")
    assert random.height == 4


def test_a_sample_of_an_earlier_version_still_counts_as_asked(place: Place) -> None:
    old = place.distilled(range(5))
    table = place.workspace.read(old, Query)
    sample = place.workspace.publish(Query, table.slice(0, 3), step="sample_queries", inputs=[old])
    queries.mark_asked(place.context, sample)
    assert queries.asked_queries(place.context)["query_id"].to_list() == ["q000", "q001", "q002"]


def judge(place: Place, ranking: pl.DataFrame, *, relevant: set[str]) -> None:
    """Judges what stands first: grade 3 for the queries named, 0 for the others."""
    first = ranking.filter(pl.col("rank") == 1)
    table = first.select(
        "query_id",
        "passage_id",
        query_text=pl.lit("x"),
        stratum=pl.lit("numeric"),
        grade=pl.when(pl.col("query_id").is_in(list(relevant))).then(3).otherwise(0).cast(pl.Int8),
        confidence=pl.lit(1.0),
        annotator_count=pl.lit(3, pl.Int32),
        origin=pl.lit("human"),
    )
    place.workspace.point(JUDGMENTS, place.workspace.publish(Judgment, table.to_arrow(), step="adjudicate"))


def test_live_quality_is_told_from_the_random_share_alone(place: Place) -> None:
    _, candidates, selected = place.chosen(place.distilled(range(90)))
    batch = batches.make_annotation_batch(selected, candidates, context=place.context)
    with pytest.raises(ArtefactMissing, match="run ingest_annotations first"):
        batches.measure_live_quality(batch, context=place.context)
    ranking = next(
        place.read(address, RankedCandidate)
        for address in place.workspace.lineage(batch)
        if address.startswith(RankedCandidate.name)
    )
    table = place.read(selected)
    random = table.filter(pl.col("chosen_for") == "random")
    good = set(random["query_id"].sort()[:2])
    judge(place, ranking, relevant=good)
    told = place.workspace.read_document(batches.measure_live_quality(batch, context=place.context))
    of_stratum = (1 / pl.col("inclusion_probability")).sum().over("stratum")
    weight = random.with_columns(weight=pl.col("stratum_queries") / pl.col("inclusion_probability") / of_stratum)
    expected = weight.filter(pl.col("query_id").is_in(list(good)))["weight"].sum() / weight["weight"].sum()
    overall = told["queries"][0]
    assert overall["stratum"] == "all"
    assert overall["share"] == pytest.approx(expected)
    assert overall["low"] < expected < overall["high"]
    assert overall["queries"] == 4
    assert told["champion"] is None
    judge(place, ranking, relevant=good | set(table.filter(pl.col("chosen_for") != "random")["query_id"]))
    again = place.workspace.read_document(batches.measure_live_quality(batch, context=place.context))
    assert again["queries"] == told["queries"]


def test_a_batch_without_a_random_share_tells_nothing_of_live_quality(place: Place) -> None:
    workspace = place.workspace
    distilled = place.distilled(range(5))
    sample = workspace.publish(Query, workspace.read(distilled, Query), step="sample_queries", inputs=[distilled])
    found = workspace.publish(Candidate, Candidate.empty(), step="retrieve_candidates", inputs=[sample])
    batch = workspace.publish(AnnotationTask, AnnotationTask.empty(), step="old", inputs=[sample, found])
    with pytest.raises(InputError, match="before batches had a random share"):
        batches.measure_live_quality(batch, context=place.context)


def test_before_there_is_a_champion_the_incumbents_order_is_that_of_retrieval(place: Place) -> None:
    _, candidates, selected = place.chosen(place.distilled(range(30)))
    ranking = place.workspace.manifest(selected).inputs[2]
    ranked, found = place.read(ranking, RankedCandidate), place.read(candidates, Candidate)
    assert ranked.height == found.height
    assert ranked.join(found, on=["query_id", "passage_id", "rank"]).height == found.height
    assert place.workspace.manifest(ranking).counts == {"champion": 0}
