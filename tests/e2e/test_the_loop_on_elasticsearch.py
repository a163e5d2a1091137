"""One round of the loop through the real DAGs, retrieval on a real Elasticsearch node, and a corpus that changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from rerankops.demo import runner
from rerankops.demo.dags import Dags
from rerankops.records import Candidate

QUICK = {
    "ENCODER__MAX_LENGTH": "96",
    "TRAINING__MAX_LENGTH": "64",
    "TRAINING__EPOCHS": "1",
    "ANNOTATION__SELECTION__POOL_QUERIES": "100",
    "ANNOTATION__SELECTION__BUDGET_TASKS": "420",
    "EVALUATION__LATENCY_QUESTIONS": "3",
}
"""What is tested is the way, not how well it learns."""

pytestmark = pytest.mark.timeout(1500)  # a whole round of the loop, on a machine that may be busy


def silent(_: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[runner.Demo]:
    place = runner.Demo(tmp_path_factory.mktemp("loop"), "small", "elasticsearch")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setenv(f"RERANKOPS__{name}", value)
        with runner.node(place, silent):
            yield place


@pytest.fixture(scope="module")
def only(demo: runner.Demo, dags: Dags) -> runner.Round:
    return runner.run(demo, rounds=1, tell=silent, dags=dags)[0]


@pytest.fixture
def client(demo: runner.Demo) -> Iterator[Elasticsearch]:
    with Elasticsearch(runner.node_url(demo), request_timeout=60) as client:
        yield client


def index_behind(client: Elasticsearch, alias: str) -> str:
    (name,) = client.indices.get_alias(name=alias)
    return str(name)


def counts(round_: runner.Round) -> dict[str, Any]:
    return {name: count for stage in round_.ladder["stages"] for name, count in stage["counts"].items()}


def test_the_loop_reaches_a_decision_on_candidates_from_the_cluster(only: runner.Round, demo: runner.Demo) -> None:
    assert [row["name"] for row in only.ladder["systems"]] == ["retrieval_only", "tuned_fusion", "challenger"]
    assert only.ladder["decision"]["reasons"]
    workspace = demo.context().workspace
    candidates = workspace.read(workspace.manifest(only.batch).inputs[1], Candidate)
    queries = len(set(candidates["query_id"].to_pylist()))
    assert queries == counts(only)["sampled"]
    assert 15 <= candidates.num_rows / queries <= 30


def test_the_alias_points_at_every_passage(only: runner.Round, demo: runner.Demo, client: Elasticsearch) -> None:
    alias = demo.context().settings.elasticsearch.alias
    assert client.count(index=alias)["count"] == counts(only)["passages"]
    found = client.search(index=alias, query={"match": {"text": "胎压"}}, size=1)["hits"]["hits"]
    assert "胎压" in found[0]["_source"]["title"] + found[0]["_source"]["text"]


def test_a_new_passage_costs_one_embedding_and_moves_the_alias(
    only: runner.Round, demo: runner.Demo, dags: Dags, client: Elasticsearch
) -> None:
    alias = demo.context().settings.elasticsearch.alias
    before, passages = index_behind(client, alias), client.count(index=alias)["count"]
    corpus = demo.state / "demo" / "corpus.jsonl"
    added = {
        "passage_id": "recall-2026",
        "title": "召回通知",
        "text": "2026 年批次的雨刮电机免费更换。",
        "metadata": {},
    }
    corpus.write_text(
        corpus.read_text(encoding="utf-8") + json.dumps(added, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    returned = dags.run("refresh_corpus_index")
    assert demo.context().workspace.manifest(returned["join_vectors"]).counts["embedded"] == 1
    after = index_behind(client, alias)
    assert after != before
    assert client.count(index=alias)["count"] == passages + 1
    assert client.search(index=alias, query={"match": {"title": "召回"}})["hits"]["hits"][0]["_id"] == "recall-2026"
    assert client.indices.exists(index=before)  # the version before stays, for going back
