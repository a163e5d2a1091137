"""A ranker as an MLflow model: the folder of a version, and what `mlflow.pyfunc.load_model` makes of it.

| in the version's folder            | loads with                                                             |
|------------------------------------|------------------------------------------------------------------------|
| all of it                          | `mlflow.pyfunc.load_model("models:/NAME@champion")`                    |
| `artifacts/ranker`                 | `rerankops.scoring.ranker.Ranker.load`; `Registry.fetch` returns it    |
| `artifacts/ranker/cross_encoder`   | `sentence_transformers.CrossEncoder` (see scoring.maxsim for its flag) |

The model takes a DataFrame, one row a (query, passage), and returns `score` and `rank`, row for row. passage: what the
cross-encoder reads, title and text. What the score is depends on the columns:

- The signals of retrieval are there (`reciprocal_rank`, `bm25`, `cosine`, `maxsim`, as many as the ranker uses): it is
  the score that was gated, blend and cascade. Give all candidates of a query in one call, since the cascade reads its
  first few; `rank`, their order by retrieval, breaks ties and is the order of the rows when absent.
- There are none of them: it is the bare logit of the cross-encoder, which is not what the gate saw. A ranker
  without a cross-encoder cannot do this.
- Some are there and others missing: an error that names them.

The signals have to be those of the encoder and the BM25 that the ranker was fitted with: `ranker.json` records both,
and the model's metadata the encoder (`rerankops.encoder`). Another encoder's cosines rank worse and no error says so.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from mlflow.pyfunc import PythonModel

from rerankops.errors import InputError
from rerankops.promotion import version_files
from rerankops.records import Signal
from rerankops.scoring.ranker import Ranker
from rerankops.scoring.signals import CHEAP

RANKER = "artifacts/ranker"
"""Where in a version's folder the ranker's own lies."""
_BATCH = 32
"""Pairs a forward pass; `load_model(…, model_config={"batch_size": 128})` changes it."""
_EXAMPLE = [
    ("后备箱容积是多少", "后备箱 后备箱容积450升，后排放倒后1350升。"),
    ("后备箱容积是多少", "胎压 前轮2.3bar。"),
]


class PyfuncRanker(PythonModel):  # type: ignore[misc]
    """See this module's docstring. The cross-encoder is loaded when it is first needed."""

    def load_context(self, context: Any) -> None:
        """Raises ArtefactDamaged when a file of the version is not as it was registered, InputError when it holds no
        ranker."""
        ranker = Path(context.artifacts["ranker"])
        version_files.check_loaded(ranker.parents[len(Path(RANKER).parts) - 1])
        self._ranker = Ranker.load(ranker)
        self._batch = int((context.model_config or {}).get("batch_size", _BATCH))
        self._scorer: Any = None

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """score, rank. Raises InputError when columns are missing."""
        result = rank(self._ranker, pl.from_pandas(model_input), self._logits)
        return pd.DataFrame(
            {name: result[name].to_numpy() for name in ("score", "rank")}, index=getattr(model_input, "index", None)
        )

    def _logits(self, pairs: list[tuple[str, str]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        from rerankops.scoring.cross_encoder import CrossEncoderScorer

        if self._scorer is None:
            self._scorer = CrossEncoderScorer(
                str(self._ranker.cross_encoder), max_length=self._ranker.max_length or 0, batch_size=self._batch
            )
        logits: np.ndarray[Any, np.dtype[np.float32]] = self._scorer.logits(pairs)
        return logits


def rank(ranker: Ranker, rows: pl.DataFrame, logits: Any) -> pl.DataFrame:
    """score, rank (Int64) of each row, in the order of the rows. logits: pairs in, one logit each out."""
    missing = [name for name in ("query", "passage") if name not in rows.columns]
    if missing:
        raise InputError(f"column {missing[0]!r} is missing; a row is a query and a passage")
    needed = {name for blend in (ranker.blend, ranker.fusion) if blend for name in blend.names} & set(CHEAP)
    given = needed & {name for name in CHEAP if name in rows.columns and rows[name].null_count() < len(rows)}
    if needed and not given:
        return _by_logit(ranker, rows, logits)
    if needed - given:
        raise InputError(
            f"signal {sorted(needed - given)[0]!r} is missing; this ranker's score is made of {sorted(needed)}, "
            f"with the encoder {ranker.made_with}; without any of them rows get the bare logit"
        )
    signals = _signals(rows)
    if ranker.uses_cross_encoder:
        read = ranker.shortlist(signals)
        scores = np.full(len(rows), np.nan)
        scores[read] = logits(list(rows.filter(pl.Series(read)).select("query", "passage").iter_rows()))
        place = signals.schema.get_field_index("cross_encoder")
        signals = signals.set_column(place, signals.schema.field(place), pa.array(scores, mask=~read))
    ranked = pl.DataFrame(ranker.rank(signals)).select(
        pl.col("passage_id").cast(pl.Int64), "score", pl.col("rank").cast(pl.Int64)
    )
    return ranked.sort("passage_id").select("score", "rank")


def _by_logit(ranker: Ranker, rows: pl.DataFrame, logits: Any) -> pl.DataFrame:
    if ranker.cross_encoder is None:
        raise InputError(
            f"this ranker has no cross-encoder, so it needs the signals {', '.join(ranker.blend.names)} as columns"
        )
    scored = rows.select("query").with_columns(
        score=pl.Series(logits(list(rows.select("query", "passage").iter_rows())), dtype=pl.Float64)
    )
    place = pl.col("score").rank("ordinal", descending=True).over("query").cast(pl.Int64)
    return scored.with_columns(rank=place).select("score", "rank")


def _signals(rows: pl.DataFrame) -> pa.Table:
    """records.Signal: the query's text is its id, the row's number the passage's, so that both are unique."""
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    own = pl.col("rank") if "rank" in rows.columns else pl.lit(None)
    order = own.fill_null(pl.int_range(1, pl.len() + 1).over("query")).cast(pl.Int32)
    cheap = {name: (pl.col(name) if name in rows.columns else pl.lit(0.0)).cast(pl.Float64) for name in CHEAP}
    table = rows.select(
        query_id=pl.col("query"),
        passage_id=number.cast(pl.String).str.zfill(12),
        rank=order,
        cross_encoder=pl.lit(None, dtype=pl.Float64),
        **cheap,
    )
    return Signal.conform(table.to_arrow())


def save(folder: Path, ranker: Path, *, metadata: Mapping[str, str]) -> None:
    """Writes an MLflow model with the ranker's folder in it to `folder`, which must not exist yet.

    metadata: shown with the model, such as the addresses that it came from.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = [ColSpec(DataType.string, "query"), ColSpec(DataType.string, "passage")]
    inputs += [ColSpec(DataType.double, name, required=False) for name in CHEAP]
    inputs += [ColSpec(DataType.long, "rank", required=False)]
    outputs = [ColSpec(DataType.double, "score"), ColSpec(DataType.long, "rank")]
    loaded = Ranker.load(ranker)
    example: dict[str, list[Any]] = {"query": [row[0] for row in _EXAMPLE], "passage": [row[1] for row in _EXAMPLE]}
    if not loaded.uses_cross_encoder:
        example |= {name: [1.0, 0.0] for name in loaded.blend.names}
    requirements = ("rerankops", "mlflow", "sentence-transformers", "torch")
    with tempfile.TemporaryDirectory() as beside:
        named = Path(beside, Path(RANKER).name)  # MLflow keeps the name of the folder that it is given
        named.mkdir()
        for name, path in files(ranker).items():
            (named / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, named / name)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"ranker": str(named)},
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
            input_example=pd.DataFrame(example),
            model_config={"batch_size": _BATCH},
            metadata={**metadata, "rerankops.encoder": loaded.made_with},
            pip_requirements=[f"{name}=={version(name)}" for name in requirements],
        )
    version_files.finish(folder)
    if digest(folder / RANKER) != digest(ranker):
        raise InputError(f"what MLflow made of the ranker {ranker} differs from it; see {folder / RANKER}")


def files(ranker: Path) -> dict[str, Path]:
    """A ranker's files by name; the manifest that a workspace keeps beside them is not one."""
    found = {path.relative_to(ranker).as_posix(): path for path in sorted(ranker.rglob("*")) if path.is_file()}
    found.pop("manifest.json", None)
    return found


def digest(ranker: Path) -> str:
    """SHA-256 of a ranker's file names and contents: what was gated can be told from what was not."""
    whole = hashlib.sha256()
    for name, path in files(ranker).items():
        with path.open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
