"""The pipeline's index steps and `rerankops search` with Elasticsearch as the backend."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from artefacts import corpus_and_vectors
from elasticsearch import Elasticsearch
from hashed_encoder import MODEL
from indexes import fresh_alias, names, set_only, settings_of
from retrieval_contract import numbered

from rerankops import cli
from rerankops.errors import ServerRefused
from rerankops.pipeline import index
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import INDEX
from rerankops.workspace import Workspace

Open = Callable[..., Context]
POOR = {"hnsw_m": 2, "hnsw_ef_construction": 2, "hnsw_ef_search": 15, "recall_sample": 40}


@pytest.fixture
def alias(elasticsearch_url: str) -> Iterator[str]:
    with fresh_alias(elasticsearch_url) as alias:
        yield alias


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(elasticsearch_url, request_timeout=60) as client:
        yield client


@pytest.fixture
def opened(elasticsearch_url: str, alias: str, tmp_path: Path) -> Open:
    """A context on the same workspace and alias; retrieval settings by name."""
    return lambda **retrieval: Context(
        settings_of(elasticsearch_url, alias, retrieval=retrieval), Workspace(tmp_path / "workspace")
    )


def build(here: Context, count: int = 40, dimensions: int = 16) -> str:
    return index.build_index(*corpus_and_vectors(here.workspace, *numbered(count, dimensions)), context=here)


def test_an_index_is_built_served_searched_and_replaced(opened: Open, alias: str, client: Elasticsearch) -> None:
    here, served = opened(), []
    for count in (40, 41):
        built = build(here, count)
        assert here.workspace.ref(INDEX) == (served[-1] if served else None)
        assert index.serve_index(built, context=here) == {"hnsw_recall": 1.0}
        assert index.served_index(here) == built
        [name] = client.indices.get_alias(name=alias)
        assert name == f"{alias}-{built.split('/')[1][:16]}"
        assert client.count(index=alias)["count"] == count
        with index.open_index(here, built) as retriever:
            found = retriever.bm25(["q"], [f"word{count - 1}"], k=3)
            assert found["passage_id"].to_list() == [f"p{count - 1}"]
        served.append(built)
    assert len(names(client, alias)) == 2
    again = build(here, 40)
    assert again == served[0]
    index.serve_index(again, context=here)
    assert client.count(index=alias)["count"] == 40


def test_an_index_that_the_server_lost_is_loaded_again(opened: Open, alias: str, client: Elasticsearch) -> None:
    here = opened()
    built = build(here)
    index.serve_index(built, context=here)
    client.indices.delete(index=names(client, alias)[0])
    with pytest.raises(ServerRefused, match=r"no such index .*; refresh the index \(rerankops refresh\)$"):
        index.measure_recall(here, built)
    assert build(here) == built
    assert index.serve_index(built, context=here) == {"hnsw_recall": 1.0}
    assert client.count(index=alias)["count"] == 40


def test_a_poor_index_is_not_served_until_tuning_finds_what_it_takes(
    opened: Open, alias: str, client: Elasticsearch
) -> None:
    here = opened()
    old = build(here)
    index.serve_index(old, context=here)
    before = client.indices.get_alias(name=alias).body
    poor = opened(**POOR)
    new = build(poor, 1500, 48)
    with pytest.raises(index.IndexRefused, match=r"^HNSW recall@15 .* below retrieval\.min_recall 0\.95; raise retrie"):
        index.serve_index(new, context=poor)
    assert (client.indices.get_alias(name=alias).body, index.served_index(poor)) == (before, old)

    told: dict[int, float] = {}
    found = index.tune_index(poor, new, 0.95, told.__setitem__)
    assert found is not None
    assert told[15] < 0.95 <= told[found]
    tuned = opened(**POOR | {"hnsw_ef_search": found})
    assert index.serve_index(new, context=tuned)["hnsw_recall"] >= 0.95
    assert index.served_index(tuned) == new
    assert client.count(index=alias)["count"] == 1500


def test_the_command_line_refreshes_searches_and_filters(
    elasticsearch_url: str,
    alias: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    read: list[str],
) -> None:
    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rerankops", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        assert left.value.code in (None, 0), said.err
        return said.out

    passages = [
        {"passage_id": "oil", "title": "机油", "text": "加注机油0W-20。", "metadata": {"model": "X3"}},
        {"passage_id": "change", "title": "机油", "text": "每一万公里更换。", "metadata": {"model": "X5"}},
        {"passage_id": "boot", "title": "后备箱", "text": "后备箱容积520L。", "metadata": {"model": "X5"}},
    ]
    gold = [{"question_id": "g1", "text": "机油型号", "accepted_answers": ["0W-20"]}]
    own = {
        **{
            "ELASTICSEARCH__HOSTS": f"[{elasticsearch_url}]",
            "ELASTICSEARCH__ALIAS": alias,
            "ELASTICSEARCH__REPLICAS": 0,
        },
        **{"RETRIEVAL__BACKEND": "elasticsearch", "ENCODER__MODEL": MODEL, "WORKSPACE__ROOT": tmp_path / "workspace"},
    }
    for name, rows in (("corpus", passages), ("gold", gold)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        own[f"SOURCES__{name.upper()}"] = tmp_path / f"{name}.jsonl"
    set_only(monkeypatch, **own)

    assert "check recall" in run("refresh")
    found = run("search", "机油")
    assert all(name in found for name in ("oil", "change", "boot"))
    narrow = run("search", "机油", "--where", "model=X5")
    assert [name in narrow for name in ("oil", "change", "boot")] == [False, True, True]
    assert "recall@15 1.0000" in run("index", "tune")
