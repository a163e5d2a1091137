"""A ranker is scored on the signals that it was fitted on, whatever the settings say now, or not at all."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import two_encoders
from promotion_world import _bert, write_lines

from rerankops import config
from rerankops.errors import InputError, ModelUnavailable
from rerankops.pipeline import corpus, evaluation, incumbent, index, ranking
from rerankops.pipeline.context import Context
from rerankops.pipeline.own_signals import own_pool
from rerankops.pipeline.queries import search
from rerankops.pipeline.training import labels, read_plan, taken_in
from rerankops.retrieval import identity
from rerankops.retrieval.encoder import Encoder
from rerankops.scoring.blend import Blend, single
from rerankops.scoring.ranker import Ranker
from rerankops.workspace import Workspace

# -- two encoders, two rankers, one decision


@dataclass(frozen=True)
class Moved:
    """A workspace whose champion was fitted on another encoder than the challenger, up to the frozen candidates."""

    before: Context
    here: Context
    fitted: two_encoders.Fitted
    candidates: str
    champion: str

    def ranked(self, here: Context) -> str:
        return ranking.rank_gold_candidates(self.fitted.plan, self.fitted.contenders, self.candidates, context=here)

    def decided(self, here: Context) -> tuple[dict[str, Any], dict[str, Any]]:
        """Rows of the ladder by system, and the decision."""
        measured = evaluation.evaluate(self.fitted.plan, self.fitted.contenders, self.ranked(here), context=here)
        decision = evaluation.decide(self.fitted.plan, self.fitted.contenders, measured, context=here)
        with here.workspace.local_folder(measured) as folder:
            rows = evaluation.read_json(folder / "ladder.json")["systems"]
        return {row["name"]: row for row in rows}, here.workspace.read_document(decision)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("moved")
    two_encoders.write(folder)
    before, here = (two_encoders.opened(folder, name) for name in (two_encoders.CHINESE, two_encoders.ENGLISH))
    two_encoders.prepare(before, folder)
    first = two_encoders.fit(before, folder)
    champion = before.workspace.read_document(first.contenders)["rankers"]["tuned_fusion"]
    with pytest.MonkeyPatch.context() as patched:
        two_encoders.serves(patched, champion)
        two_encoders.prepare(here, folder)
        fitted = two_encoders.fit(here, folder)
        candidates = evaluation.freeze_gold_candidates(fitted.plan, context=here)
        yield Moved(before, here, fitted, candidates, champion)


def test_each_is_scored_on_its_own_signals_and_the_old_way_would_have_decided_otherwise(
    moved: Moved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(Path(moved.here.workspace.root.path), tmp_path / "old", copy_function=os.link)
    rows, decision = moved.decided(moved.here)
    old = replace(moved.here, workspace=Workspace(tmp_path / "old"))
    monkeypatch.setattr(ranking, "own_pool", lambda context, ranker, pool, who: pool)
    old_rows, old_decision = moved.decided(old)

    assert not decision["promote"], decision["reasons"]
    assert old_decision["promote"], "the champion lost on an encoder that it was never fitted on"
    assert rows["champion"]["hit@1"] > old_rows["champion"]["hit@1"] + 0.1
    for name in ("retrieval_only", "tuned_fusion", "challenger"):
        assert rows[name]["mrr@10"] == old_rows[name]["mrr@10"], name
    cost, other = rows["champion"]["cost"], rows["tuned_fusion"]["cost"]
    assert cost["signals_ms"] > other["signals_ms"], "its queries are encoded a second time"
    assert cost["memory_mb"] > other["memory_mb"] + 80, "and its encoder is in memory beside the other"


def test_the_signals_are_those_that_its_own_encoder_gives_on_the_frozen_candidates(moved: Moved) -> None:
    with moved.here.workspace.local_folder(moved.ranked(moved.here)) as folder:
        found = pq.read_table(folder / "champion.parquet").sort_by([("query_id", "ascending"), ("rank", "ascending")])
    built = moved.before.workspace.manifest(moved.before.workspace.require("index", "")).inputs[0]
    theirs = index.build_index(built, corpus.embed_corpus(built, context=moved.before), context=moved.before)
    texts = ranking.gold_questions(read_plan(moved.here, moved.fitted.plan))
    table = moved.here.workspace.read(moved.candidates, ranking.Candidate)
    pool = incumbent.pool(moved.before, theirs, table, texts, encoder=Encoder(moved.before.settings.encoder))
    with moved.here.workspace.local_folder(moved.champion) as folder:
        expected = Ranker.load(folder).rank(pool.signals)
    expected = expected.sort_by([("query_id", "ascending"), ("rank", "ascending")])
    assert found["passage_id"].to_pylist() == expected["passage_id"].to_pylist()
    assert found["score"].to_pylist() == pytest.approx(expected["score"].to_pylist(), abs=1e-3)


def test_a_retry_encodes_no_passage_and_no_question_of_the_pool_again(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = moved.ranked(moved.here)
    shutil.rmtree(Path(moved.here.workspace.root.path, "objects", address))
    encoded: list[tuple[str, int]] = []
    encode, passages = Encoder.encode_queries, Encoder.encode_passages

    def queries(self: Encoder, texts: Any) -> Any:
        encoded.append((str(self.settings.model), len(texts)))
        return encode(self, texts)

    def of_passages(self: Encoder, titles: Any, texts: Any) -> Any:
        encoded.append((str(self.settings.model), len(texts)))
        return passages(self, titles, texts)

    monkeypatch.setattr(Encoder, "encode_queries", queries)
    monkeypatch.setattr(Encoder, "encode_passages", of_passages)
    assert moved.ranked(moved.here) == address
    timed = [count for model, count in encoded if model == two_encoders.CHINESE]
    assert set(timed) == {1}, "one at a time, to measure what it takes"
    assert len(timed) == moved.here.settings.evaluation.latency_questions + 1


def test_what_was_said_about_a_passage_that_left_the_corpus_is_left_out_and_counted(moved: Moved) -> None:
    workspace = moved.here.workspace
    _, _, groups, _ = workspace.manifest(moved.fitted.contenders).inputs
    counts = workspace.manifest(groups).counts
    assert (counts["left_the_corpus"], counts["dropped_without_positive"]) == (2, 1), "of four origins one is asked"
    planned = read_plan(moved.here, moved.fitted.plan)
    assert two_encoders.GONE in taken_in(planned)["passage_id"].to_pylist()
    assert two_encoders.GONE not in labels(planned)["passage_id"].to_pylist()
    measured = evaluation.evaluate(
        moved.fitted.plan, moved.fitted.contenders, moved.ranked(moved.here), context=moved.here
    )
    counts = workspace.manifest(measured).counts
    assert (counts["lost_passages"], counts["lost_questions"]) == (1, 0)


# -- what differs, what can be made again, what refuses

PASSAGES = [
    {"passage_id": f"p{number}", "title": title, "text": " ".join((word, other, word) * (1 + number % 3))}
    for number, (title, word, other) in enumerate(
        (title, word, other) for title in ("ab", "cd") for word in ("ef", "gh", "ij") for other in ("kl", "mn", "op")
    )
]
TEXTS = {"q0": "ab ef kl", "q1": "cd gh", "q2": "ij op mn"}


@dataclass(frozen=True)
class Place:
    folder: Path

    def opened(self, **changed: dict[str, Any]) -> Context:
        tree: dict[str, Any] = {
            "sources": {"corpus": str(self.folder / "corpus.jsonl")},
            "encoder": {"model": str(self.folder / "encoder"), "max_length": 32, "device": "cpu"},
            "retrieval": {"bm25_k": 5, "dense_k": 5},
        }
        tree = {name: tree.get(name, {}) | changed.get(name, {}) for name in {*tree, *changed}}
        return Context(config.load(environ={}, overrides=tree), Workspace(self.folder / "workspace"))

    def pool(self, here: Context) -> incumbent.Pool:
        passages = corpus.load_corpus(context=here)
        built = index.build_index(passages, corpus.embed_corpus(passages, context=here), context=here)
        found = search(here, built, list(TEXTS), list(TEXTS.values()))
        return incumbent.pool(here, built, found, TEXTS, encoder=Encoder(here.settings.encoder))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    for name, seed in {"encoder": 1, "other": 2}.items():
        letters = "abcdefghijklmnop"
        _bert(folder / name, [*letters, *(f"##{letter}" for letter in letters)], seed=seed)
    return folder


@pytest.fixture
def place(tmp_path: Path, encoders: Path) -> Place:
    """Its encoders are its own: some tests change their files."""
    shutil.copytree(encoders, tmp_path, dirs_exist_ok=True)
    write_lines(tmp_path / "corpus.jsonl", PASSAGES)
    return Place(tmp_path)


def ranker(here: Context, *names: str, **changed: Any) -> Ranker:
    """As fit_rankers stores it under these settings."""
    count = len(names)
    ones, zeros = (1.0,) * count, (0.0,) * count
    blend = Blend(names, ones, zeros, zeros, ones, 0.0, 0.0, 0.0, 0.0, 1.0, 0, 0)
    made = Ranker(
        blend,
        encoder=identity.record(here.settings.encoder),
        retrieval=here.settings.retrieval.model_dump(mode="json"),
    )
    return replace(made, **changed)


def test_the_same_files_under_another_name_are_the_same_encoder(place: Place) -> None:
    here = place.opened()
    pool = place.pool(here)
    shutil.copytree(place.folder / "encoder", place.folder / "moved")
    moved = place.opened(encoder={"model": str(place.folder / "moved")})
    assert own_pool(here, ranker(moved, "bm25", "cosine"), pool, who="champion") is pool
    assert own_pool(here, ranker(here, "bm25", "cosine"), pool, who="champion") is pool


@pytest.mark.parametrize(
    "changed", [{"max_length": 4}, {"query_prompt": "op "}, {"passage_prompt": "op "}, {"model": "other"}]
)
def test_whatever_changes_vectors_makes_signals_of_its_own(place: Place, changed: dict[str, Any]) -> None:
    if "model" in changed:
        changed = {"model": str(place.folder / changed["model"])}
    here, then = place.opened(), place.opened(encoder=changed)
    pool, theirs = place.pool(here), ranker(then, "cosine", "maxsim")
    own = own_pool(here, theirs, pool, who="champion")
    assert own.candidates is pool.candidates
    expected = incumbent.pool(
        then,
        index.build_index(
            here.workspace.manifest(pool.source.index).inputs[0],
            corpus.embed_corpus(here.workspace.manifest(pool.source.index).inputs[0], context=then),
            context=then,
        ),
        pool.candidates,
        TEXTS,
        encoder=Encoder(then.settings.encoder),
    )
    for name in ("cosine", "maxsim"):
        assert own.signals[name].to_pylist() == pytest.approx(expected.signals[name].to_pylist(), abs=1e-3)
        assert own.signals[name].to_pylist() != pytest.approx(pool.signals[name].to_pylist(), abs=1e-3)
    assert own_pool(here, ranker(then, "bm25"), pool, who="champion") is pool, "no signal of it comes from an encoder"


def test_an_encoder_that_is_gone_refuses_in_words(place: Place) -> None:
    here = place.opened()
    theirs = ranker(place.opened(encoder={"model": str(place.folder / "other")}), "cosine")
    pool = place.pool(here)
    shutil.rmtree(place.folder / "other")
    with pytest.raises(ModelUnavailable, match=r"champion: .*other, which cannot be had .*no such folder.* roll back"):
        own_pool(here, theirs, pool, who="champion")


def test_files_that_changed_under_their_name_refuse_the_ranker_and_the_index(place: Place) -> None:
    here = place.opened()
    pool, theirs = place.pool(here), ranker(here, "cosine")
    shutil.rmtree(place.folder / "encoder")
    shutil.copytree(place.folder / "other", place.folder / "encoder")
    with pytest.raises(ModelUnavailable, match="not those that the ranker was fitted with"):
        own_pool(here, theirs, pool, who="champion")
    with pytest.raises(InputError, match=r"vectors of the index were made with .* its files changed since"):
        place.pool(here)


def test_an_index_is_not_searched_with_another_encoder_of_the_same_width(place: Place) -> None:
    here, other = place.opened(), place.opened(encoder={"model": str(place.folder / "other")})
    pool = place.pool(here)
    for encoder in ({"model": str(place.folder / "other")}, {"query_prompt": "op "}, {"max_length": 4}):
        with pytest.raises(InputError, match="the vectors of the index were made with"):
            search(place.opened(encoder=encoder), pool.source.index, list(TEXTS), list(TEXTS.values()))
    with pytest.raises(InputError, match=f"the settings say {place.folder / 'other'}"):
        incumbent.pool(other, pool.source.index, pool.candidates, TEXTS, encoder=Encoder(other.settings.encoder))


def test_a_ranker_from_before_the_files_were_recorded_is_taken_at_its_name_and_says_so(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    here = place.opened()
    pool, older = place.pool(here), here.settings.encoder.model_dump(mode="json")
    with caplog.at_level(logging.WARNING, logger="rerankops"):
        assert own_pool(here, ranker(here, "cosine", encoder=older), pool, who="champion, version 3") is pool
    [said] = [record.getMessage() for record in caplog.records if record.name == "rerankops"]
    assert "champion, version 3 has no digest of its encoder's files" in said
    for nothing in ({"encoder": {}}, {"retrieval": {}}):
        with pytest.raises(InputError, match=r"champion does not say .*; retrain it"):
            own_pool(here, ranker(here, "cosine", "bm25", **nothing), pool, who="champion")


@pytest.mark.parametrize("changed", [{"bm25_k1": 0.1}, {"bm25_b": 0.0}, {"title_weight": 4}, {"bm25_k": 2}])
def test_words_are_scored_by_the_bm25_that_it_was_fitted_with(place: Place, changed: dict[str, Any]) -> None:
    here, then = place.opened(), place.opened(retrieval=changed)
    pool, theirs = place.pool(here), ranker(then, "bm25")
    own = own_pool(here, theirs, pool, who="champion")
    leg = {(row["query_id"], row["passage_id"]): row["bm25_score"] for row in place.pool(then).candidates.to_pylist()}
    rows = own.candidates.to_pylist()
    both = [row for row in rows if leg.get((row["query_id"], row["passage_id"])) is not None]
    assert both
    assert [row["bm25_score"] for row in both] == [leg[row["query_id"], row["passage_id"]] for row in both]
    assert own.signals["bm25"].to_pylist() != pool.signals["bm25"].to_pylist()
    assert own.signals["cosine"].to_pylist() == pytest.approx(pool.signals["cosine"].to_pylist())
    assert own_pool(here, ranker(then, "cosine"), pool, who="champion") is pool, "no signal of it comes from words"


def test_retrieval_that_cannot_be_made_again_refuses_in_words(place: Place) -> None:
    here = place.opened()
    pool, retrieval = place.pool(here), here.settings.retrieval.model_dump(mode="json")
    elsewhere = ranker(here, "bm25", retrieval=retrieval | {"backend": "elasticsearch", "analyzer": "english"})
    with pytest.raises(InputError, match=r"Elasticsearch index .* back to retrieval.backend: elasticsearch.*english"):
        own_pool(here, elsewhere, pool, who="champion")
    other = place.opened(retrieval={"rrf_k": 7})
    with pytest.raises(InputError, match="its signal reciprocal_rank is the order of the retrieval"):
        own_pool(here, ranker(other, "reciprocal_rank", "cosine"), pool, who="champion")
    assert own_pool(here, ranker(other, "reciprocal_rank"), pool, who="champion") is pool
    assert own_pool(here, Ranker(single("reciprocal_rank")), pool, who="champion") is pool


def test_the_record_travels_with_the_folder(place: Place, tmp_path: Path) -> None:
    here = place.opened(encoder={"query_prompt": "query: "})
    ranker(here, "cosine").save(tmp_path / "ranker")
    said = json.loads((tmp_path / "ranker" / "ranker.json").read_text())["encoder"]
    assert said == identity.record(here.settings.encoder)
    assert len(said["weights"]) == 32
    told = Ranker.load(tmp_path / "ranker").made_with
    assert told.startswith(str(place.folder / "encoder"))
    assert f"weights {said['weights']}" in told
    assert Ranker(single("bm25")).made_with == "none"
