"""From what users type to queries: one spelling, usable or not, near-duplicates merged, strata."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rerankops.config import QuerySettings, StratumSettings
from rerankops.errors import SettingsError
from rerankops.queries.privacy import PLACEHOLDER


def normalised(text: pl.Expr) -> pl.Expr:
    """Lower-case NFKC letters, digits and the signs that belong to numbers and names; the rest becomes one space."""
    return (
        text.str.normalize("NFKC")
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


def similar_pairs(left: pl.DataFrame, right: pl.DataFrame, *, threshold: float) -> pl.DataFrame:
    """Pairs (left_id, right_id, jaccard) whose sets of character bigrams overlap by at least `threshold`.

    left, right: frames of id and normal (normalised texts); 0 < threshold <= 1. A frame against itself pairs every text
    with itself too. Exact, by prefix filtering: two sets of that overlap share
    an element among their rarest few (Bayardo, Ma and Srikant, "Scaling up all pairs similarity search", 2007).
    Pairs whose words with Latin letters or digits differ are not similar however alike the rest: X5 is not X7.
    """
    parts = {"left": _bigrams(left), "right": _bigrams(right)}
    rarity = pl.concat([part.select("gram") for part in parts.values()]).group_by("gram").len("document_frequency")
    prefixes = {}
    for side, part in parts.items():
        ordered = part.join(rarity, on="gram").sort("id", "document_frequency", "gram")
        place = pl.int_range(pl.len()).over("id")
        kept = pl.col("size") - (threshold * pl.col("size") - 1e-9).ceil() + 1
        prefixes[side] = ordered.filter(place < kept).select("id", "gram", "words")
    pairs = (
        prefixes["left"]
        .join(prefixes["right"], on=["gram", "words"])
        .select(left_id="id", right_id="id_right")
        .unique()
    )
    return (
        pairs.join(parts["left"], left_on="left_id", right_on="id")
        .join(parts["right"], left_on=["right_id", "gram"], right_on=["id", "gram"])
        .group_by("left_id", "right_id")
        .agg(shared=pl.len(), total=(pl.col("size") + pl.col("size_right")).first())
        .with_columns(jaccard=pl.col("shared") / (pl.col("total") - pl.col("shared")))
        .filter(pl.col("jaccard") >= threshold)
        .select("left_id", "right_id", "jaccard")
        .sort("left_id", "right_id")
    )


def near_to(queries: pl.DataFrame, gold: pl.DataFrame, *, threshold: float) -> set[str]:
    """Ids of the queries that equal or nearly equal a gold question; frames of id and normal."""
    found = similar_pairs(queries, gold, threshold=threshold)
    equal = queries.join(gold.select("normal"), on="normal", how="semi")
    return set(found["left_id"]) | set(equal["id"])


def clusters(ids: Sequence[str], pairs: pl.DataFrame) -> dict[str, int]:
    """Connected components over similar pairs: id to the number of its component."""
    position = {name: index for index, name in enumerate(ids)}
    rows = [position[name] for name in pairs["left_id"]]
    columns = [position[name] for name in pairs["right_id"]]
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(ids), len(ids)))
    _, labels = connected_components(graph, directed=False)
    return dict(zip(ids, (int(label) for label in labels), strict=True))


def _bigrams(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows (id, words, gram, size): the distinct bigrams of each text without spaces, how many, and its Latin words."""
    compact = frame.select(
        "id",
        words=pl.col("normal").str.extract_all(r"[a-z0-9.]+").list.sort().list.join(" "),
        gram=pl.col("normal").str.replace_all(" ", "").map_elements(_grams_of, return_dtype=pl.List(pl.String)),
    )
    return compact.with_columns(size=pl.col("gram").list.len()).explode("gram").drop_nulls("gram")


def _grams_of(text: str) -> list[str]:
    return sorted({text[i : i + 2] for i in range(max(1, len(text) - 1))}) if text else []
