"""Groups as the rows a loss reads: single pairs, contrasts, or whole lists.

Rendered to Parquet and read back as a `datasets.Dataset`, memory-mapped, so that a set larger than memory trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from rerankops.records import RELEVANT_GRADE
from rerankops.retrieval.encoder import joined

if TYPE_CHECKING:
    from datasets import Dataset

Format = Literal["pointwise", "pairwise", "listwise"]
POINTWISE = pa.schema(
    [("query", pa.string()), ("passage", pa.string()), ("weight", pa.float64()), ("label", pa.float64())]
)
PAIRWISE = pa.schema(
    [("query", pa.string()), ("positive", pa.string()), ("negative", pa.string()), ("weight", pa.float64())]
)
LISTWISE = pa.schema(
    [
        ("query", pa.string()),
        ("passages", pa.list_(pa.string())),
        ("weights", pa.list_(pa.float64())),
        ("label", pa.list_(pa.float64())),
    ]
)


def binary(grade: int | None) -> float:
    """1 for a relevant grade, 0 for another or none."""
    return float(grade is not None and grade >= RELEVANT_GRADE)


def graded(grade: int | None) -> float:
    """The grade itself, 0 when there is none."""
    return float(grade or 0)


def share(grade: int | None) -> float:
    """The grade on a scale from 0 to 1."""
    return graded(grade) / 3


Label = Callable[[int | None], float]


def render(groups: pa.Table, form: Format, label: Label = binary) -> pa.Table:
    """groups: records.TrainingGroup, of the split wanted. label: what becomes of a grade (binary, graded, share).

    pointwise: one row a pair, POINTWISE. pairwise: one row a (positive, negative), PAIRWISE, weight the product of
    theirs. listwise: one row a group, LISTWISE, positives first.
    """
    render_one, schema = {
        "pointwise": (_pointwise, POINTWISE),
        "pairwise": (_pairwise, PAIRWISE),
        "listwise": (_listwise, LISTWISE),
    }[form]
    rows = [row for group in groups.to_pylist() for row in render_one(group, label)]
    return pa.Table.from_pylist(rows, schema=schema)


def dataset(table: pa.Table, folder: Path, name: str) -> Dataset:
    """The table as a Dataset over folder/NAME.parquet; its Arrow cache lies beside it."""
    from datasets import Dataset

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    pq.write_table(table, path)
    return Dataset.from_parquet(str(path), cache_dir=str(folder / "cache"))


def _text(passage: dict[str, Any]) -> str:
    return joined(passage["title"] or "", passage["text"])


def _pointwise(group: dict[str, Any], label: Label) -> Iterator[dict[str, Any]]:
    for passage in [*group["positives"], *group["negatives"]]:
        yield {
            "query": group["query_text"],
            "passage": _text(passage),
            "weight": passage["weight"],
            "label": label(passage["grade"]),
        }


def _pairwise(group: dict[str, Any], label: Label) -> Iterator[dict[str, Any]]:
    for positive in group["positives"]:
        for negative in group["negatives"]:
            yield {
                "query": group["query_text"],
                "positive": _text(positive),
                "negative": _text(negative),
                "weight": positive["weight"] * negative["weight"],
            }


def _listwise(group: dict[str, Any], label: Label) -> Iterator[dict[str, Any]]:
    passages = [*group["positives"], *group["negatives"]]
    yield {
        "query": group["query_text"],
        "passages": [_text(passage) for passage in passages],
        "weights": [passage["weight"] for passage in passages],
        "label": [label(passage["grade"]) for passage in passages],
    }
