"""Text to index terms for BM25, as Elasticsearch's `cjk` analyzer does it: bigrams of Chinese, words of the rest."""

from __future__ import annotations

import re
import unicodedata

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:\.\d+)?")
_ENGLISH_STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
        "this to was will with",
    )
)
"""Lucene's default English stop set."""


def terms(text: str) -> list[str]:
    """Lower-cased index terms: `机油容量 4.5L` gives 机油, 油容, 容量, 4.5, l. A lone Chinese character is a term."""
    folded = unicodedata.normalize("NFKC", text).lower()
    found: list[str] = []
    for token in _TOKEN.findall(folded):
        if "\u3400" <= token[0] <= "\ufaff":
            found.extend([token] if len(token) == 1 else (token[i : i + 2] for i in range(len(token) - 1)))
        elif token not in _ENGLISH_STOPWORDS:
            found.append(_singular(token))
    return found


def _singular(word: str) -> str:
    """Harman's S-stemmer ("How effective is suffixing?", 1991): plural and singular meet."""
    if len(word) < 4 or not word.endswith("s") or not word.isascii():
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]
