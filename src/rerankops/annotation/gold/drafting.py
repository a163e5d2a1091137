"""Which questions become gold, and who answers which."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl

from rerankops.errors import InputError
from rerankops.queries.sampling import stratified_sample


def draw(queries: pl.DataFrame, strata: Sequence[str], *, per_stratum: int, seed: int) -> pl.DataFrame:
    """Up to `per_stratum` queries of each stratum, drawn with weight sqrt(frequency) (see queries.sampling).

    queries: records.Query as a frame. Returns records.GoldDraft as a frame, in the order of its id: a stratum that has
    fewer is drawn whole, and nothing is made up for by the others, because each is gated on its own.
    """
    parts = [
        stratified_sample(queries.filter(pl.col("stratum") == name), {name: 1.0}, size=per_stratum, seed=seed)
        for name in strata
    ]
    return (
        pl.concat(parts)
        .select(
            question_id="query_id", text="text", stratum="stratum", source=pl.lit("production"), frequency="frequency"
        )
        .sort("question_id")
    )


def assign(question_ids: Sequence[str], annotators: Sequence[str], *, per_question: int, seed: int) -> pl.DataFrame:
    """Who answers what: columns question_id and annotator_id, `per_question` rows a question.

    Every annotator gets as many as any other, but for one; who is paired with whom is drawn for each question, so that
    no two people always judge together. Raises InputError when there are fewer people than answers wanted.
    """
    people = sorted(set(annotators))
    if len(people) < per_question:
        raise InputError(
            f"{per_question} people answer each question apart and {len(people)} are named ({', '.join(people)}); "
            "name more, or lower gold.annotators_per_question"
        )
    ordered = sorted(question_ids, key=lambda name: _key(seed, name))
    load, rows = dict.fromkeys(people, 0), []
    for question_id in ordered:
        by_load = sorted(people, key=lambda person: (load[person], _key(seed, question_id, person)))
        for person in by_load[:per_question]:
            load[person] += 1
            rows.append((question_id, person))
    return pl.DataFrame(rows, schema={"question_id": pl.String, "annotator_id": pl.String}, orient="row").sort(pl.all())


def shuffled(ids: Sequence[str], *, question_id: str, annotator_id: str) -> list[str]:
    """Candidates in an order of the annotator's own: what retrieval ranks first is not read first by everybody."""
    return sorted(ids, key=lambda name: _key(question_id, annotator_id, name))


def _key(*parts: object) -> bytes:
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()
