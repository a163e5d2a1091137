"""Turns what users type into queries: one spelling, a check of usability, strata. Near-duplicates: see
`near_duplicates`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl

from rerankops.config import QuerySettings, StratumSettings
from rerankops.errors import SettingsError
from rerankops.queries.near_duplicates import near_to as near_to
from rerankops.queries.near_duplicates import similar_pairs as similar_pairs
from rerankops.queries.privacy import PLACEHOLDER


def normalised(text: pl.Expr) -> pl.Expr:
    """Lower-case NFKC letters, digits and the signs that belong to numbers and names. Invisible characters (zero
    width, soft hyphen, direction marks) go; the rest becomes one space."""
    return (
        text.str.normalize("NFKC")
        .str.replace_all(r"\p{Cf}", "")
        .str.replace_all(PLACEHOLDER, " ")
        .str.to_lowercase()
        .str.replace_all(r"[^\p{L}\p{N}.%°/+\-]+", " ")
        .str.replace_all(r"[./+\-]+( |$)", " ")
        .str.strip_chars(" ./+-")
        .str.replace_all(r"\s+", " ")
        .str.replace_all(r"(\p{Han}) ", "${1}")
        .str.replace_all(r" (\p{Han})", "${1}")
    )


def query_id(text: str) -> str:
    """Identity of a normalised text: 16 hexadecimal characters of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify(texts: pl.Series, settings: QuerySettings) -> pl.DataFrame:
    """Columns normal and query_id, in the order given; query_id is null where the text is no usable query.

    Usable: min_characters to max_characters long, with at least one letter (a lone number asks nothing).
    """
    frame = pl.DataFrame({"text": texts}).select(normal=normalised(pl.col("text")))
    length = pl.col("normal").str.len_chars()
    usable = (
        (length >= settings.min_characters)
        & (length <= settings.max_characters)
        & pl.col("normal").str.contains(r"\p{L}")
    )
    distinct = frame.filter(usable).unique("normal").get_column("normal").to_list()
    ids = pl.DataFrame(
        {"normal": distinct, "query_id": [query_id(text) for text in distinct]},
        schema={"normal": pl.String, "query_id": pl.String},
    )
    return frame.join(ids, on="normal", how="left", maintain_order="left")


def stratum_of(text: pl.Expr, strata: Sequence[StratumSettings]) -> pl.Expr:
    """The first stratum with a matching pattern; the last one when none matches.

    Raises SettingsError naming the stratum when a pattern is no regular expression of Rust's syntax.
    """
    for stratum in strata:
        for pattern in stratum.patterns:
            try:
                pl.Series([""]).str.contains(f"(?i){pattern}")
            except pl.exceptions.ComputeError as error:
                raise SettingsError(
                    f"queries.strata: pattern {pattern!r} of {stratum.name!r} is no regular expression: "
                    + " ".join(str(error).split())
                ) from error
    chosen = pl.lit(strata[-1].name)
    for stratum in reversed(strata):
        matches = pl.any_horizontal(pl.lit(False), *(text.str.contains(f"(?i){p}") for p in stratum.patterns))
        chosen = pl.when(matches).then(pl.lit(stratum.name)).otherwise(chosen)
    return chosen
