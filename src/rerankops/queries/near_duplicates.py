"""Finds questions that ask the same. They are looked up by equal keys, so the time grows about linearly with their
number.

Two questions are near-duplicates when they ask for the same thing about the same words (`queries.forms`). One of them
may have further words that carry little information, and a misspelt word of one counts as a word of the other. An
informative word without a counterpart, another question word, and swapped roles keep questions apart.

Each question is looked up under a handful of keys, as in the deletion neighbourhoods of Bocek, Hunt and Stiller ("Fast
similarity search in large dictionaries", 2007): its words, and its words without each set that may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import polars as pl

from rerankops.queries import wording
from rerankops.queries.forms import Form, Reader, Synonyms, information
from rerankops.queries.misspellings import Spelling

_MOST_MISSING = 3
"""How many extra words a query may have and still be a near-duplicate of a shorter one."""
_OPEN = frozenset(("what", "amount", "how"))
"""What a query without a question word may be asking for: 后备箱容积 equals 后备箱容积是多少, ESP开启 equals
怎么开启ESP."""

Key = str | frozenset[str]
Read = tuple[Form, list[Key], list[Key]]
"""A form, the keys of all its words, and the keys of its words without those that may be missing."""


def near_to(
    queries: pl.DataFrame, gold: pl.DataFrame, *, threshold: float, synonyms: Iterable[Sequence[str]] | None = None
) -> set[str]:
    """Ids of the queries that ask the same as a gold question. Both frames have the columns id and normal.

    threshold: share of the information of all words that both must have in common, 0 < threshold <= 1, see `likeness`.
    synonyms: groups of words that mean the same; None for those of base.yaml.
    """
    asked = queries["normal"].drop_nulls().unique().to_list()
    index = Index(gold["normal"].to_list(), threshold=threshold, readings=Readings([*asked, *gold["normal"]], synonyms))
    found = {text: index.first(text) is not None for text in asked}
    return {name for name, text in queries.select("id", "normal").iter_rows() if found.get(text)}


def similar_pairs(
    left: pl.DataFrame, right: pl.DataFrame, *, threshold: float, synonyms: Iterable[Sequence[str]] | None = None
) -> pl.DataFrame:
    """Pairs (left_id, right_id) of near-duplicates, sorted; a frame compared with itself also pairs every text with
    itself.

    Only for sets of the size of a gold set: a log of templates has more pairs than can be listed, see `merged`.
    """
    texts = right["normal"].to_list()
    ids = right["id"].to_list()
    index = Index(texts, threshold=threshold, readings=Readings([*left["normal"], *texts], synonyms))
    rows = [
        (name, ids[place]) for name, text in left.select("id", "normal").iter_rows() for place in index.matches(text)
    ]
    schema = {"left_id": pl.String, "right_id": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").unique().sort("left_id", "right_id")


class Merged(NamedTuple):
    """For each text, the place of the text that represents it, and whether it is a near-duplicate of a gold
    question."""

    stands_for: list[int]
    near_gold: list[bool]


def merged(
    texts: Sequence[str],
    gold: Sequence[str] = (),
    *,
    threshold: float,
    gold_threshold: float | None = None,
    synonyms: Iterable[Sequence[str]] | None = None,
) -> Merged:
    """Merges near-duplicates among distinct texts, which are given in order of preference as representatives.

    Each text is represented by the first representative that it is a near-duplicate of, or else becomes one itself. A
    text that is represented by another never represents a third, so chains of near-duplicates do not join questions
    that differ. gold_threshold: None for the same as threshold.
    """
    readings = Readings([*texts, *gold], synonyms)
    own = Index([], threshold=threshold, readings=readings)
    asked = Index(gold, threshold=gold_threshold or threshold, readings=readings)
    leaders: list[int] = []
    found = Merged([], [])
    for place, text in enumerate(texts):
        leader = own.first(text)
        if leader is None:
            own.add(text)
            leaders.append(place)
        found.stands_for.append(place if leader is None else leaders[leader])
        found.near_gold.append(asked.first(text) is not None)
    return found


def likeness(words: frozenset[str], more: frozenset[str]) -> float:
    """The share of the information in `more` that is also in its subset `words`, which the thresholds bound and the
    index looks subsets up by (`_parts`). 0 where a missing word distinguishes questions or `words` is not a subset.
    Words for the kind of a named thing (the movie Jaws) count nothing."""
    missing = more - words
    if not words <= more or any(_tells(word) for word in missing):
        return 0.0
    total = sum(_weight(word) for word in more)
    return 1.0 if not missing or not total else 1 - sum(_weight(word) for word in missing) / total


class Readings:
    """Parses texts into forms and corrects likely misspellings, with the words of all texts as the dictionary.

    Keeps the most recent results in a cache.
    """

    def __init__(self, texts: Sequence[str | None], synonyms: Iterable[Sequence[str]] | None = None) -> None:
        self._reader = reader(synonyms)
        self._spelling = Spelling(self._reader, [text or "" for text in texts])
        self.written = lru_cache(maxsize=4)(self._written)
        self.read = lru_cache(maxsize=32)(self._reader.read)

    def _written(self, text: str) -> tuple[str, list[str]]:
        """The text in plain form, and a list of that form and its possible spelling corrections."""
        plain = self._reader.plain(text)
        return plain, [plain, *self._spelling.corrected(plain)]


class Index:
    """Texts indexed by what they ask, for looking up the near-duplicates of a text.

    readings: of the indexed texts and of those that will be looked up, since an indexed text may contain a misspelt
    word of one of these; None: of the indexed texts alone.
    """

    def __init__(
        self,
        texts: Sequence[str | None],
        *,
        threshold: float,
        readings: Readings | None = None,
    ) -> None:
        self._threshold = threshold
        self._readings = readings or Readings(texts)
        self._texts: dict[str, list[int]] = {}
        self._whole: dict[Key, list[tuple[int, Form]]] = {}
        self._less: dict[Key, list[tuple[int, Form]]] = {}
        self._count = 0
        self._read = lru_cache(maxsize=32)(self._read_anew)
        for text in texts:
            self.add(text)

    def add(self, text: str | None) -> None:
        """Adds a text. Its place is the number of texts added before it."""
        place, self._count = self._count, self._count + 1
        plain, writings = self._readings.written(text or "")
        self._texts.setdefault(plain, []).append(place)
        for spelt in writings:
            form, whole, less = self._read(spelt)
            for key in whole:
                self._whole.setdefault(key, []).append((place, form))
            for key in less:
                self._less.setdefault(key, []).append((place, form))

    def first(self, text: str | None) -> int | None:
        """The place of the first near-duplicate found; None when there is none."""
        return next(self._found(text or ""), None)

    def matches(self, text: str | None) -> list[int]:
        """The places of all near-duplicates, in ascending order."""
        return sorted(set(self._found(text or "")))

    def _found(self, text: str) -> Iterator[int]:
        plain, writings = self._readings.written(text)
        if not plain:
            return
        yield from self._texts.get(plain, ())
        for spelt in writings:
            yield from self._like(spelt)

    def _like(self, plain: str) -> Iterator[int]:
        form, whole, less = self._read(plain)
        lookups = [(self._whole, whole), (self._less, whole[:1]), (self._whole, less)]
        for table, keys in lookups:
            for key in keys:
                for place, other in table.get(key, ()):
                    if same_question(form, other):
                        yield place

    def _read_anew(self, plain: str) -> Read:
        form = self._readings.read(plain)
        return form, _whole(form), _parts(form, self._threshold)


def same_question(one: Form, other: Form) -> bool:
    """Whether two forms with nearly the same words ask for the same and have the same roles."""
    if not _ask_alike(one.asks, other.asks):
        return False
    if not (one.words <= other.words or other.words <= one.words or _divided(one, other)):
        return False
    if one.order == other.order:
        return True
    if _counted(one) and _counted(other) and _counted(one) != _counted(other):
        return False
    turned = {(owned, owner) for owner, owned in other.owned}
    return not (one.owned & turned) and not _mirrored(one.order, other.order)


@lru_cache(maxsize=8)
def _reader(synonyms: Synonyms) -> Reader:
    return Reader(synonyms)


@lru_cache(maxsize=1)
def _base_synonyms() -> Synonyms:
    from rerankops.config import load

    return load(environ={}).queries.synonyms


def reader(synonyms: Iterable[Sequence[str]] | None) -> Reader:
    """The parser for these synonyms, made once; None for those of base.yaml."""
    return _reader(_base_synonyms() if synonyms is None else tuple(tuple(group) for group in synonyms))


def _counted(form: Form) -> set[tuple[str, str]]:
    return {pair for pair in form.owned if pair[0].startswith("?")}


def _whole(form: Form) -> list[Key]:
    """Keys that do not depend on word order: the words, and their characters, which match words that are divided
    differently (see `_divided`)."""
    return [form.words, "".join(sorted("".join(form.pieces)))] if form.words else []


def _divided(one: Form, other: Form) -> bool:
    """Whether two forms with the same characters differ only in how these are divided into words."""
    text, more = "".join(one.pieces), "".join(other.pieces)
    return all(piece in more for piece in one.pieces) or all(piece in text for piece in other.pieces)


@lru_cache(maxsize=100_000)
def _tells(word: str) -> bool:
    """Whether leaving out this word makes another question, however little information the word carries."""
    return word not in wording.CHINESE_CLASS_WORDS and (
        len(word) == 1
        or word in wording.TELLING
        or word[0] in wording.NEGATING
        or word[-1] == "?"
        or any(character.isdigit() for character in word)
    )


@lru_cache(maxsize=100_000)
def _weight(word: str) -> float:
    if word in wording.CHINESE_CLASS_WORDS or word in wording.ENGLISH_CLASS_WORDS:
        return 0.0
    return information(word)


def _parts(form: Form, threshold: float) -> list[Key]:
    """The words without each set of words that may be missing at this threshold."""
    weights = {word: _weight(word) for word in form.words}
    allowed = (1 - threshold) * sum(weights.values()) + 1e-9
    loose = sorted((weight, word) for word, weight in weights.items() if weight <= allowed and not _tells(word))
    found: list[Key] = []
    for size in range(1, min(_MOST_MISSING, len(loose), len(form.words) - 1) + 1):
        for chosen in combinations(loose, size):
            if sum(weight for weight, _ in chosen) <= allowed:
                left = form.words - {word for _, word in chosen}
                if any(weights[word] for word in left):
                    found.append(left)
    return found


def _ask_alike(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    if one == other:
        return True
    kinds, others = {kind for kind, _ in one}, {kind for kind, _ in other}
    if {*kinds, *others} == {"what", "meaning"}:
        return True
    if not one or not other:
        return len(kinds | others) == 1 and (kinds | others) <= _OPEN
    if kinds != others:
        return False
    if "whether" in kinds:
        return False
    for kind in kinds:
        details = {detail for name, detail in one if name == kind and detail}
        more = {detail for name, detail in other if name == kind and detail}
        if details and more and details != more:
            return False
    return True


def _mirrored(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two words have changed sides of a third: did X beat Y, did Y beat X."""
    first = {word: place for place, word in enumerate(one) if one.count(word) == 1}
    second = {word: place for place, word in enumerate(other) if other.count(word) == 1}
    shared: Mapping[str, int] = {word: place for word, place in first.items() if word in second}
    for pivot in shared:
        at, there = first[pivot], second[pivot]
        crossed = {
            (first[word] < at) for word in shared if word != pivot and (first[word] < at) != (second[word] < there)
        }
        if len(crossed) == 2:
            return True
    return False
