"""The deployable unit: everything that turns signals into an order, in one folder that can be served anywhere.

A folder holds `ranker.json` (readable) and, when the blend uses a cross-encoder, `cross_encoder/` with its
safetensors. What is gated is this folder, byte for byte, and what is served is the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.errors import InputError
from rerankops.scoring.blend import Blend

FORMAT = 1
FILE = "ranker.json"
CROSS_ENCODER = "cross_encoder"
RANKED = pa.schema(
    [("query_id", pa.string()), ("passage_id", pa.string()), ("rank", pa.int32()), ("score", pa.float64())]
)
"""What a ranker returns: every candidate of every query, rank 1 best."""
_ENCODER = ("model", "query_prompt", "passage_prompt", "max_length", "weights")
_RETRIEVAL = (
    "backend",
    "bm25_k1",
    "bm25_b",
    "title_weight",
    "analyzer",
    "bm25_k",
    "dense_k",
    "fusion",
    "rrf_k",
    "bm25_weight",
)
_REFUSED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py")
"""Files that run code when they are loaded; they are not carried along."""


@dataclass(frozen=True)
class Ranker:
    """A blend, what its signals are made with, and where its cross-encoder is.

    blend: the score that ranks. fusion, depth: with a cross-encoder, the cheap blend that orders all candidates first
    and how many of its best the cross-encoder reads; the rest keep their order behind them (a cascade; Wang, Lin and
    Metzler, 2011). fusion None: everything is read.
    encoder, retrieval: what made the signals that the blend was fitted on, and what it has to be given to rank by:
    retrieval.identity.record of the encoder (without `weights` in folders from before that was kept) and the settings.
    cross_encoder: folder of the cross-encoder, None when the blend uses none. max_length: tokens of a pair.
    """

    blend: Blend
    fusion: Blend | None = None
    depth: int | None = None
    encoder: Mapping[str, Any] = field(default_factory=dict)
    retrieval: Mapping[str, Any] = field(default_factory=dict)
    cross_encoder: Path | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.uses_cross_encoder and self.cross_encoder is None:
            raise InputError("the blend uses the signal cross_encoder, but the ranker has no cross-encoder")

    @property
    def made_with(self) -> str:
        """The encoder that its signals need, in words; `none` when it uses none."""
        used = {name for blend in (self.blend, self.fusion) if blend for name in blend.names}
        return told_of_encoder(self.encoder) if used & {"cosine", "maxsim"} else "none"

    @property
    def uses_cross_encoder(self) -> bool:
        return "cross_encoder" in self.blend.names

    def shortlist(self, signals: pa.Table) -> NDArray[np.bool_]:
        """Which rows the cross-encoder has to read: those that `rank` wants a logit for."""
        if not self.uses_cross_encoder:
            return np.zeros(signals.num_rows, dtype=np.bool_)
        if self.fusion is None or self.depth is None:
            return np.ones(signals.num_rows, dtype=np.bool_)
        first = _ranked(_scored(signals, self.fusion)).filter(pl.col("rank") <= self.depth)
        rows = pl.DataFrame(pl.from_arrow(signals.select(["query_id", "passage_id"]))).with_row_index()
        chosen = rows.join(first, on=["query_id", "passage_id"], how="semi")["index"].to_numpy()
        mask = np.zeros(signals.num_rows, dtype=np.bool_)
        mask[chosen] = True
        return mask

    def rank(self, signals: pa.Table) -> pa.Table:
        """RANKED, best first within each query; ties go to the better retrieval rank, then the smaller passage id.

        signals: records.Signal, with a logit in every row of `shortlist`. In a cascade the rows outside it come after
        it, and their scores say only that.
        """
        read = self.shortlist(signals)
        if read.all() or not self.uses_cross_encoder or self.fusion is None:
            return _ranked(_scored(signals, self.blend)).to_arrow().cast(RANKED)
        first = _scored(signals.filter(pa.array(read)), self.blend)
        lowest = pl.DataFrame({"query_id": first["query_id"], "score": first["score"]}).group_by("query_id").min()
        rest = _scored(signals.filter(pa.array(~read)), self.fusion)
        best = pl.col("score").max().over("query_id")
        behind = rest.join(lowest.rename({"score": "lowest"}), on="query_id", how="left").with_columns(
            score=pl.col("lowest") - 1.0 - (best - pl.col("score"))
        )
        return _ranked(pl.concat([first, behind.drop("lowest")])).to_arrow().cast(RANKED)

    def save(self, folder: Path) -> None:
        """Write the folder, which must be new or empty; the cross-encoder is copied into it if the blend uses it."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.uses_cross_encoder and self.cross_encoder is not None:
            if not any(self.cross_encoder.glob("*.safetensors")):
                raise InputError(f"{self.cross_encoder} holds no safetensors weights")
            shutil.copytree(
                self.cross_encoder,
                folder / CROSS_ENCODER,
                ignore=shutil.ignore_patterns(*(f"*{ending}" for ending in _REFUSED)),
            )
        about = {
            "format": FORMAT,
            "signals": list(self.blend.names),
            "blend": self.blend.to_dict(),
            "fusion": self.fusion.to_dict() if self.fusion else None,
            "depth": self.depth,
            "encoder": dict(self.encoder),
            "retrieval": dict(self.retrieval),
            "cross_encoder": CROSS_ENCODER if self.uses_cross_encoder else None,
            "max_length": self.max_length,
        }
        (folder / FILE).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Ranker:
        """Raises InputError when the folder holds no ranker, or one of another format."""
        try:
            about = json.loads((folder / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{folder} holds no ranker: {error}") from error
        if not isinstance(about, dict):
            raise InputError(f"{folder} holds no ranker: {FILE} is no JSON object")
        if about.get("format") != FORMAT:
            raise InputError(f"{folder / FILE} has format {about.get('format')!r}; this version reads {FORMAT}")
        try:
            return cls(
                blend=Blend.from_dict(about["blend"]),
                fusion=Blend.from_dict(about["fusion"]) if about["fusion"] else None,
                depth=about["depth"],
                encoder=about["encoder"],
                retrieval=about["retrieval"],
                cross_encoder=folder / about["cross_encoder"] if about["cross_encoder"] else None,
                max_length=about["max_length"],
            )
        except KeyError as error:
            raise InputError(f"{folder / FILE} lacks {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{folder / FILE} is not what a ranker writes: {error}") from error


def told_of_encoder(said: Mapping[str, Any]) -> str:
    """A ranker's record of its encoder in words."""
    return _told(said, _ENCODER)


def told_of_retrieval(said: Mapping[str, Any]) -> str:
    """What of a ranker's record of retrieval its signals depend on, in words."""
    return _told(said, _RETRIEVAL)


def _told(said: Mapping[str, Any], names: Sequence[str]) -> str:
    first, *rest = names
    known = [f"{name.replace('_', ' ')} {said[name]}" for name in rest if said.get(name) not in (None, "")]
    return ", ".join([str(said[first]), *known]) if said.get(first) else "not recorded"


def rank_by(candidates: pa.Table) -> pa.Table:
    """RANKED by retrieval alone, the `retrieval_only` system: the fused order and score. candidates: Candidate."""
    frame = pl.DataFrame(pl.from_arrow(candidates)).select("query_id", "passage_id", "rank", score="fused_score")
    return frame.sort("query_id", "rank").to_arrow().cast(RANKED)


def _scored(signals: pa.Table, blend: Blend) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(signals))
    return frame.with_columns(score=pl.Series(blend.score(signals), dtype=pl.Float64))


def _ranked(frame: pl.DataFrame) -> pl.DataFrame:
    ordered = frame.sort(["query_id", "score", "rank", "passage_id"], descending=[False, True, False, False])
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("query_id")
    return ordered.select("query_id", "passage_id", rank.alias("rank"), "score")
