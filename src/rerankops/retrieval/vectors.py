"""Vectors of a corpus from those of its parts, so that only what changed is embedded again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.retrieval.encoder import EncodedTexts, joined

_ROWS = 1024
"""Passages whose token vectors are copied at a time."""
Contents = NDArray[np.bytes_]


class Known(NamedTuple):
    """Vectors there are, and the contents they are of."""

    contents: Contents
    encoded: EncodedTexts


def contents(passages: pa.Table) -> Contents:
    """A digest of what the encoder reads of each passage (records.Passage), (n,) of 32 hexadecimal characters."""
    texts = zip(passages["title"].to_pylist(), passages["text"].to_pylist(), strict=True)
    digests = [hashlib.blake2b(joined(*text).encode(), digest_size=16).hexdigest() for text in texts]
    return np.array(digests, dtype="S32")


def missing(wanted: Contents, known: Known | None) -> NDArray[np.int64]:
    """Rows of `wanted` to embed: of each content that is not known, the first."""
    _, first = np.unique(wanted, return_index=True)
    rows = np.sort(first)
    return rows if known is None else rows[~np.isin(wanted[rows], known.contents)]


def join(
    folder: Path, wanted: Contents, embedded: NDArray[np.int64], shards: Sequence[EncodedTexts], known: Known | None
) -> int:
    """Writes the EncodedTexts of `wanted` and contents.npy into a folder; returns how many token vectors it has.

    embedded: the rows of `wanted` that the shards, one after the other, hold. Everything is copied in blocks from
    memory maps: memory does not grow with the corpus.
    """
    sources = ([known.encoded] if known is not None else []) + list(shards)
    starts = np.concatenate([[0], np.cumsum([len(source) for source in sources])]).astype(np.int64)
    where = np.concatenate([known.contents if known is not None else wanted[:0], wanted[embedded]])
    place = (
        pl.DataFrame({"content": wanted.astype("U32")})
        .join(
            pl.DataFrame({"content": where.astype("U32"), "place": np.arange(len(where))}).unique(
                "content", keep="last", maintain_order=True
            ),
            on="content",
            how="left",
            maintain_order="left",
        )["place"]
        .to_numpy()
    )
    counts = np.concatenate([np.diff(source.offsets) for source in sources])[place]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    widths = sources[0].vectors.shape[1], sources[0].tokens.shape[1]
    out = [
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
        for name, dtype, shape in (
            ("vectors", np.float32, (len(wanted), widths[0])),
            ("tokens", np.float16, (int(offsets[-1]), widths[1])),
        )
    ]
    for begin in range(0, len(wanted), _ROWS):
        rows = np.arange(begin, min(begin + _ROWS, len(wanted)))
        source_of = np.searchsorted(starts, place[rows], side="right") - 1
        for number in np.unique(source_of):
            mine = rows[source_of == number]
            at = place[mine] - starts[number]
            out[0][mine] = sources[number].vectors[at]
            out[1][_spread(offsets, mine)] = sources[number].tokens[_spread(sources[number].offsets, at)]
    for array in out:
        array.flush()
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "contents.npy", wanted)
    return int(offsets[-1])


def _spread(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every token's place of the given texts, text after text."""
    lengths = offsets[rows + 1] - offsets[rows]
    ends = np.cumsum(lengths)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    places: NDArray[np.int64] = np.repeat(offsets[rows], lengths) + within
    return places
