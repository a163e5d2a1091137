"""build_index, serve_index and the tuning of an index in the workspace. On Elasticsearch: tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest
from artefacts import corpus_and_vectors
from retrieval_contract import numbered

from rerankops import config
from rerankops.errors import ArtefactMissing
from rerankops.pipeline import index
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import GOLD, INDEX
from rerankops.records import GoldQuestion
from rerankops.workspace import Workspace

POOR = {"hnsw_m": 3, "hnsw_ef_construction": 4, "hnsw_ef_search": 15, "min_recall": 0.95}


def opened(folder: Path, **retrieval: object) -> Context:
    return Context(config.load(environ={}, overrides={"retrieval": retrieval}), Workspace(folder))


def test_an_index_is_served_once_its_recall_is_measured(tmp_path: Path) -> None:
    here = opened(tmp_path)
    with pytest.raises(ArtefactMissing, match="run refresh_corpus_index first; there is no index to search"):
        index.served_index(here)
    built = index.build_index(*corpus_and_vectors(here.workspace, *numbered(40)), context=here)
    assert here.workspace.ref(INDEX) is None
    assert index.serve_index(built, context=here) == {"hnsw_recall": 1.0}
    assert index.served_index(here) == built


def test_an_index_below_the_recall_asked_leaves_the_old_one_and_says_why(tmp_path: Path) -> None:
    good, poor = opened(tmp_path), opened(tmp_path, **POOR)
    old = index.build_index(*corpus_and_vectors(good.workspace, *numbered(40)), context=good)
    index.serve_index(old, context=good)
    new = index.build_index(*corpus_and_vectors(good.workspace, *numbered(900, 48)), context=poor)
    said = (
        r"^HNSW recall@15 of indexes/\w+ is 0\.\d+, below retrieval\.min_recall 0\.95; raise .*The old index stays\.$"
    )
    with pytest.raises(index.IndexRefused, match=said):
        index.serve_index(new, context=poor)
    assert index.served_index(poor) == old


def test_recall_is_measured_with_gold_questions_when_there_are_any(tmp_path: Path, read: list[str]) -> None:
    here = opened(tmp_path, recall_sample=2)
    built = index.build_index(*corpus_and_vectors(here.workspace, *numbered(40)), context=here)
    question = {"accepted_answers": [], "relevant_passage_ids": ["p0"], "stratum": "all"}
    asked = GoldQuestion.table({"question_id": f"g{n}", "text": f"问题{n}", **question} for n in range(5))
    here.workspace.point(GOLD, here.workspace.publish(GoldQuestion, asked, step="load_gold"))
    assert index.serve_index(built, context=here) == {"hnsw_recall": 1.0}
    assert len(read) == 2
    assert set(read) < set(asked["text"].to_pylist())


def test_tuning_finds_a_value_that_reaches_the_recall_and_hardly_more(tmp_path: Path) -> None:
    here, told = opened(tmp_path, **POOR), dict[int, float]()
    built = index.build_index(*corpus_and_vectors(here.workspace, *numbered(900, 48)), context=here)
    found = index.tune_index(here, built, 0.7, told.__setitem__)
    assert found is not None
    assert min(told) == 15
    assert told[15] < 0.7 <= told[found]
    below = max(value for value, recall in told.items() if recall < 0.7)
    assert found - below <= max(1, below // 20)
    assert index.measure_recall(opened(tmp_path, **POOR | {"hnsw_ef_search": found}), built) == told[found]


def test_tuning_says_when_no_value_is_enough(tmp_path: Path) -> None:
    here = opened(tmp_path, **POOR | {"hnsw_m": 2, "hnsw_ef_construction": 1})
    built = index.build_index(*corpus_and_vectors(here.workspace, *numbered(900, 48)), context=here)
    told: list[int] = []
    assert index.tune_index(here, built, 1.0, lambda value, _: told.append(value)) is None
    assert told[-1] == 10_000
