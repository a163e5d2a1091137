"""What an answer costs: gold questions asked one at a time, as production asks them, stage by stage.

| figure           | what it is                                                                          |
|------------------|-------------------------------------------------------------------------------------|
| `bm25_ms`        | the search by words                                                                 |
| `dense_ms`       | the query's vectors and the search among the passages'                              |
| `fusion_ms`      | two lists made one                                                                  |
| `signals_ms`     | cosine and late interaction of every candidate; where they are not of the encoder   |
|                  | that retrieval used, the query's vectors of the ranker's own too                    |
| `cross_encoder_ms` | choosing what it reads, and reading it                                            |
| `blend_ms`       | the signals made a score and an order                                               |
| `memory_mb`      | the cross-encoder's weights, those of an encoder of the ranker's own, and the       |
|                  | memory that ranking one query takes beyond them                                     |

Times are medians in milliseconds, after one question that is not counted; a stage that a system lacks is null, and
so is memory where the machine does not tell.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rerankops.pipeline.context import Context
from rerankops.pipeline.incumbent import Pool, Source, with_logits
from rerankops.pipeline.index import open_index
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.scoring.cross_encoder import CrossEncoderScorer
    from rerankops.scoring.ranker import Ranker

T = TypeVar("T")
LEGS = ("bm25_ms", "dense_ms", "fusion_ms")
STAGES = ("signals_ms", "cross_encoder_ms", "blend_ms")
_MEGABYTE = 1e6


def legs_alone(context: Context, index: Address, texts: Mapping[str, str]) -> dict[str, float]:
    """LEGS of a sample of the texts, on the index's own backend."""
    from rerankops.retrieval.encoder import Encoder
    from rerankops.retrieval.search import fused

    retrieval, encoder = context.settings.retrieval, Encoder(context.settings.encoder)
    seen: dict[str, list[float]] = {leg: [] for leg in LEGS}
    with open_index(context, index) as retriever:
        for query_id in _sampled(context, texts):
            words, bm25 = _timed(partial(retriever.bm25, k=retrieval.bm25_k), [query_id], [texts[query_id]])
            vectors, encoding = _timed(lambda text: encoder.encode_queries([text]).vectors, texts[query_id])
            near, dense = _timed(partial(retriever.dense, k=retrieval.dense_k), [query_id], vectors)
            _, fusion = _timed(fused, words, near, retrieval)
            for leg, milliseconds in zip(LEGS, (bm25, encoding + dense, fusion), strict=True):
                seen[leg].append(milliseconds)
    medians = {leg: _median(values) for leg, values in seen.items()}
    return {leg: median for leg, median in medians.items() if median is not None}


def ranking_ms(cost: Mapping[str, float | None]) -> float:
    """Milliseconds that a system takes to order one query's candidates; retrieval and reader, which all systems share,
    left out."""
    return round(sum(cost[stage] or 0.0 for stage in STAGES), 2)


class Rehearsal:
    """Ranks sampled questions of a pool one at a time, with any ranker."""

    def __init__(self, context: Context, pool: Pool) -> None:
        self._context, self._sample = context, _sampled(context, pool.texts)
        self._signals_ms: dict[Address, float | None] = {}

    def cost(self, ranker: Ranker | None, model: CrossEncoderScorer | None, pool: Pool) -> dict[str, float | None]:
        """signals_ms, cross_encoder_ms, blend_ms and memory_mb of a ranker. Retrieval's own order has no stages, and
        takes no memory. pool: the same candidates, with the ranker's own signals."""
        pools = [_of(pool, query_id) for query_id in self._sample]
        if ranker is None or not pools:
            none = dict.fromkeys(STAGES)
            return {**none, "memory_mb": 0.0 if ranker is None else None}
        source = pool.source
        if source.vectors not in self._signals_ms:
            self._signals_ms[source.vectors] = _signals_ms(self._context, source, pools)
        reading, blending = [], []
        with _peak() as working:
            for one in pools:
                signals = one.signals
                if model is not None:
                    signals, milliseconds = _timed(_read, ranker, model, one)
                    reading.append(milliseconds)
                blending.append(_timed(ranker.rank, signals)[1])
        taken, held = working(), _weights(model.model) if model else 0.0
        if not source.shares_encoder:
            held += _weights(source.encoder.model)
        return {
            "signals_ms": self._signals_ms[source.vectors],
            "cross_encoder_ms": _median(reading) if model is not None else None,
            "blend_ms": _median(blending),
            "memory_mb": None if taken is None else round(taken + held, 1),
        }


def _signals_ms(context: Context, source: Source, pools: list[Pool]) -> float | None:
    from rerankops.retrieval.encoder import EncodedTexts
    from rerankops.scoring.signals import similarities

    seen = []
    with context.workspace.local_folder(source.vectors) as folder:
        place = {name: row for row, name in enumerate(json.loads((folder / "passage_ids.json").read_text()))}
        passages, known = EncodedTexts.load(folder), list(source.query_ids)
        for one in pools:
            [(query_id, text)] = one.texts.items()
            rows = np.array([place[name] for name in one.candidates["passage_id"].to_pylist()])
            query = np.full(len(rows), known.index(query_id))
            milliseconds = _timed(similarities, query, rows, source.queries, passages)[1]
            if not source.shares_encoder:
                milliseconds += _timed(source.encoder.encode_queries, [text])[1]
            seen.append(milliseconds)
    return _median(seen)


def _read(ranker: Ranker, model: CrossEncoderScorer, pool: Pool) -> pa.Table:
    return with_logits(model, pool, ranker.shortlist(pool.signals))


def _sampled(context: Context, texts: Mapping[str, str]) -> list[str]:
    """Evenly spread over the queries that there are, so that it is the same sample for every system."""
    names, wanted = sorted(texts), context.settings.evaluation.latency_questions + 1
    return [names[place] for place in np.linspace(0, len(names) - 1, min(wanted, len(names)), dtype=int)]


def _of(pool: Pool, query_id: str) -> Pool:
    """The pool of one query."""

    def own(table: pa.Table) -> pa.Table:
        return table.filter(pc.equal(table["query_id"], query_id))

    texts = {query_id: pool.texts[query_id]}
    return replace(pool, candidates=own(pool.candidates), signals=own(pool.signals), texts=texts)


def _timed(function: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    started = time.perf_counter()
    result = function(*arguments)
    return result, (time.perf_counter() - started) * 1000


def _median(values: list[float]) -> float | None:
    """Without the first, which warms up, unless it is the only one."""
    return round(statistics.median(values[1:] or values), 3) if values else None


def _weights(model: Any) -> float:
    """Megabytes of a torch module."""
    parts = [*model.parameters(), *model.buffers()]
    return float(sum(part.numel() * part.element_size() for part in parts)) / _MEGABYTE


@contextmanager
def _peak() -> Iterator[Callable[[], float | None]]:
    """How many megabytes more than at the beginning were in use at once: on the GPU when there is one, else resident
    in this process (Linux; None elsewhere)."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: (torch.cuda.max_memory_allocated() - before) / _MEGABYTE
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew; see proc(5)
        resident = _resident("VmRSS")
    except OSError:
        yield lambda: None
        return
    yield lambda: max(0.0, _resident("VmHWM") - resident)


def _resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / _MEGABYTE for line in lines if line.startswith(f"{name}:"))
