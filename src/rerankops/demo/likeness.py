"""How alike two wordings are: Jaccard of character bigrams after normalisation, against many at once."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

_NOISE = re.compile(r"[\W_]+")


def plain(text: str) -> str:
    """NFKC, lower case, letters and digits only."""
    return _NOISE.sub("", unicodedata.normalize("NFKC", text).lower())


def bigrams(text: str) -> frozenset[str]:
    """Character bigrams of the plain text; the text itself when it is one character."""
    letters = plain(text)
    return frozenset(letters[i : i + 2] for i in range(len(letters) - 1)) or frozenset({letters} - {""})


class Likeness:
    """The largest bigram Jaccard of a text to a fixed set of texts, through an inverted index."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sizes: list[int] = []
        self._holding: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(texts):
            grams = bigrams(text)
            self._sizes.append(len(grams))
            for gram in grams:
                self._holding[gram].append(number)
        self._known: dict[str, float] = {}

    def closest(self, text: str) -> float:
        """0 to 1; 1 when a text of the set has the same bigrams."""
        key = plain(text)
        if key not in self._known:
            grams = bigrams(text)
            shared: Counter[int] = Counter()
            for gram in grams:
                shared.update(self._holding.get(gram, ()))
            self._known[key] = max(
                (count / (len(grams) + self._sizes[number] - count) for number, count in shared.items()), default=0.0
            )
        return self._known[key]
