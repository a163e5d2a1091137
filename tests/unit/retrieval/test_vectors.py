"""Vectors of a corpus from those of its parts: what is embedded again, and that the whole is the same as at once."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hashed_encoder import encoded

from rerankops.records import Passage
from rerankops.retrieval import vectors
from rerankops.retrieval.encoder import EncodedTexts, joined
from rerankops.retrieval.vectors import Known, contents, join, missing

Corpus = list[tuple[str, str]]
"""Title and text of each passage."""
OLD: Corpus = [("胎压", "2.3bar"), ("", "机油"), ("ESP", ""), ("", ""), ("胎压", "2.3bar"), ("", "后备箱 520L")]


def digests(corpus: Corpus) -> vectors.Contents:
    rows = [{"passage_id": f"p{n}", "title": a, "text": b, "metadata": []} for n, (a, b) in enumerate(corpus)]
    return contents(Passage.table(rows))


def whole(corpus: Corpus) -> EncodedTexts:
    return encoded([joined(*passage) for passage in corpus])


def known(corpus: Corpus) -> Known:
    return Known(digests(corpus), whole(corpus))


def in_parts(folder: Path, corpus: Corpus, earlier: Known | None, size: int) -> EncodedTexts:
    """What join leaves when shards of `size` passages hold what is missing."""
    folder.mkdir(exist_ok=True)
    wanted = digests(corpus)
    rows = missing(wanted, earlier)
    shards = [whole([corpus[row] for row in rows[start : start + size]]) for start in range(0, len(rows), size)]
    tokens = join(folder, wanted, rows, shards, earlier)
    made = EncodedTexts.load(folder)
    assert tokens == len(made.tokens)
    assert np.array_equal(np.load(folder / "contents.npy"), wanted)
    return made


def assert_equal(one: EncodedTexts, other: EncodedTexts) -> None:
    for name in ("vectors", "tokens", "offsets"):
        assert getattr(one, name).dtype == getattr(other, name).dtype
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_the_digest_is_of_what_the_encoder_reads() -> None:
    same = digests([("a", "b"), ("a", "b"), ("", "a\nb")])
    assert len(set(same.tolist())) == 1
    assert len(set(digests([("a", "b"), ("b", "a"), ("", "ab"), ("a", ""), ("", "")]).tolist())) == 5


@pytest.mark.parametrize(
    ("now", "rows"),
    [
        (OLD, []),
        (OLD[::-1], []),
        (OLD[2:4], []),
        ([*OLD, ("", "天窗"), ("", "座椅"), ("", "天窗")], [6, 7]),
        ([("", "天窗"), *OLD[1:]], [0]),
        ([("胎压", "2.5bar"), *OLD[1:]], [0]),
        ([], []),
    ],
    ids=["unchanged", "reordered", "removed", "added twice", "replaced", "changed", "emptied"],
)
def test_only_what_no_earlier_passage_says_is_embedded_and_that_once(now: Corpus, rows: list[int]) -> None:
    assert missing(digests(now), known(OLD)).tolist() == rows


def test_without_earlier_vectors_each_content_is_embedded_once() -> None:
    assert missing(digests(OLD), None).tolist() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_whole_is_what_embedding_it_at_once_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(vectors, "_ROWS", 4)  # several blocks
    rng = random.Random(size)
    pool = [("", ""), *((f"标题{n % 3}" * (n % 2), f"第{n}条" * rng.randint(1, 4)) for n in range(12))]
    earlier: Known | None = None
    for number in range(12):
        corpus = rng.choices(pool, k=rng.randint(1, 15))
        made = in_parts(tmp_path / str(number), corpus, earlier, size)
        assert_equal(made, whole(corpus))
        earlier = Known(digests(corpus), made)


def test_what_has_not_changed_is_copied_from_the_earlier_vectors(tmp_path: Path) -> None:
    before = known(OLD)
    marked = replace(before.encoded, vectors=before.encoded.vectors + 1, tokens=before.encoded.tokens + np.float16(1))
    now = [OLD[5], ("", "天窗"), OLD[0], OLD[3]]
    made, plain = in_parts(tmp_path, now, Known(before.contents, marked), 10), whole(now)
    for row, copied in enumerate([True, False, True, True]):
        assert np.array_equal(made.vectors[row], plain.vectors[row] + np.float32(copied))
        assert np.array_equal(made.tokens_of(row), plain.tokens_of(row) + np.float16(copied))


def test_a_corpus_without_a_token_can_be_joined(tmp_path: Path) -> None:
    assert_equal(in_parts(tmp_path, [("", "")] * 3, None, 1), whole([("", "")] * 3))
