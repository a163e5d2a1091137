"""Parses a question into what it asks for and what it is about, in a form that is equal for two wordings of one
question.

A form leaves out script, width, politeness, function words, inflection and word order, and separates what is asked for
(`asks`) from what it is asked about (`words`). Words are those of jieba's dictionary (rjieba) for Chinese and
dictionary forms (simplemma) for English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rerankops.queries import wording as w

Synonyms = tuple[tuple[str, ...], ...]
_TOKEN = re.compile(rf"[{w.HAN}]+|[^\W_{w.HAN}]+(?:[.%°+/\-'’]+[^\W_{w.HAN}]+)*")
_JOINING = re.compile(r"[\-'’/+]")
_HAN = re.compile(rf"[{w.HAN}]")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_PARTICLE = re.compile(rf"(?<=[{w.HAN}])(?<![为除不得极受罢])了(?![解如断结得])")
"""The particle 了 of completed actions, which the dictionary joins to other words (灯亮了); not the 了 of 为了 or
了解."""
_DOUBLED = re.compile(rf"([{w.HAN}])不\1(?!不)(?<![能会是要可用需算对带配好]不[能会是要可用需算对带配好])")
"""Yes-or-no questions that repeat the verb, such as 赔不赔. Those that repeat a modal verb are read with the other
questions."""
_DIRECTIONS = frozenset(("from", "to", "than", "by", "into", "从", "到", "比"))
_ZERO_WEIGHT = 8.0
"""Zipf frequency at which a word carries no information, since every text contains it. The scale is logarithmic: a word
with a billionth of all occurrences has 0."""


@dataclass(frozen=True, slots=True)
class Form:
    """A parsed question.

    asks: what is asked for, as (kind, detail) pairs; empty when no question word says it. words: what it is about.
    order: words, question words for persons and things, and prepositions of direction, with the agent before the action
    and the action before the patient. owned: (owner, owned) neighbours of a genitive, and (question word, what is
    counted or chosen). pieces: the words as they were written, in that order.
    A word that is itself asked for (which city, whose son) ends in a question mark: it cannot be left out.
    """

    asks: frozenset[tuple[str, str]]
    words: frozenset[str]
    order: tuple[str, ...]
    owned: frozenset[tuple[str, str]]
    pieces: tuple[str, ...]


class _Draft:
    """A form that is being built."""

    def __init__(self) -> None:
        self.asks: set[tuple[str, str]] = set()
        self._words: list[str] = []
        self._order: list[str] = []
        self._owned: set[tuple[str, str]] = set()
        self._pieces: list[str] = []
        self._genitive = ""

    def take(self, word: str, piece: str) -> None:
        """Adds a word that the question is about. piece: the word as it was written."""
        if self._genitive and self._words:
            last = self._words[-1]
            self._owned.add((word, last) if self._genitive == "of" else (last, word))
        self._genitive = ""
        self._words.append(word)
        self._order.append(word)
        self._pieces.append(piece)

    def mark(self, item: str) -> None:
        """Adds an item to the order only; the question is not about it."""
        self._order.append(item)

    def link(self, genitive: str) -> None:
        """Notes a genitive between the last word and the next one. genitive: "of", or another one, whose owner comes
        first."""
        self._genitive = genitive

    def count(self, word: str, before: str) -> None:
        """Notes a word right after a question word: it is what is counted or chosen (how many cups, which county)."""
        if before in ("?amount", "?what"):
            self._owned.add((before, word))

    def form(self) -> Form:
        if ("when", "") in self.asks and len(self.asks) > 1:
            self.asks.discard(("when", ""))  # "when" begins a clause here: what can it be when i turn left
        asks, words = self.asks, self._words
        if any(kind == "amount" for kind, _ in asks) and "大小" in words and any(_measured(word) for word in words):
            words = [word for word in words if word != "大小"]
        if ("what", "") in asks and any(word in _DIMENSION_WORDS for word in words):
            asks = (asks - {("what", "")}) | {("amount", "")}
        return Form(frozenset(asks), frozenset(words), tuple(self._order), frozenset(self._owned), tuple(self._pieces))


class Reader:
    """Parses texts into forms. synonyms: groups of words that mean the same; each word is replaced by the first of its
    group."""

    def __init__(self, synonyms: Iterable[Sequence[str]] = ()) -> None:
        import rjieba
        from opencc import OpenCC

        self._simplified = OpenCC("t2s")
        self._jieba: Any = rjieba.Jieba()
        groups = [*w.CHINESE_SYNONYMS, *w.ENGLISH_SYNONYMS, *synonyms]
        self._canonical, phrases = self._words_of(groups)
        words = "|".join(re.escape(phrase) for phrase in sorted(phrases, key=lambda one: (-len(one), one)))
        self._phrases = re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])")
        self._phrase_words = phrases
        self._lemma = lru_cache(maxsize=200_000)(_lemma)
        self._cut = lru_cache(maxsize=200_000)(self._cut_anew)

    def _words_of(self, groups: Iterable[Sequence[str]]) -> tuple[dict[str, str], dict[str, str]]:
        canonical: dict[str, str] = {}
        phrases: dict[str, str] = {}
        for group in groups:
            written = [" ".join(_JOINING.sub("", one) for one in _TOKEN.findall(self.plain(word))) for word in group]
            first = canonical.get(written[0], written[0].replace(" ", "_"))
            for word in written:
                if _HAN.search(word):
                    if len(word) > 1 and not self._jieba.has_word(word):
                        self._jieba.add_word(word, 10_000, "n")
                elif " " in word:
                    phrases[word] = word.replace(" ", "_")
                canonical.setdefault(word.replace(" ", "_"), first)
        return canonical, phrases

    def plain(self, text: str) -> str:
        """NFKC, lower case, without accents and invisible characters, Chinese in simplified script."""
        folded = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).lower()
        if not folded.isascii():
            parts = unicodedata.normalize("NFD", folded)
            folded = unicodedata.normalize("NFC", re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", parts))
            if _HAN.search(folded):
                folded = self._simplified.convert(folded)
        return folded

    def known(self, word: str) -> bool:
        """Whether a word is in the dictionary of Chinese words, or one that the settings name."""
        return bool(self._jieba.has_word(word))

    def cut(self, run: str) -> tuple[str, ...]:
        """Segments a run of Chinese characters into words."""
        found: tuple[str, ...] = self._cut(run)
        return found

    def _cut_anew(self, run: str) -> tuple[str, ...]:
        return tuple(self._jieba.cut(run, hmm=False))

    def read(self, plain: str) -> Form:
        """Parses a text that `plain` returned."""
        return self._chinese(plain) if _HAN.search(plain) else self._english(plain)

    # -- Chinese

    def _chinese(self, plain: str) -> Form:
        draft, items = _Draft(), list[str]()
        squeezed = _PARTICLE.sub("", re.sub(rf"(?<=[{w.HAN}])\s+(?=[{w.HAN}])", "", plain))
        squeezed, doubled = _DOUBLED.subn(r"\1", squeezed)
        ending = doubled or re.search(w.CHINESE_WHETHER, squeezed)
        place = 0
        for found in _CHINESE.finditer(squeezed):
            items.extend(self._han_tokens(squeezed[place : found.start()]))
            place = found.end()
            kind, _, detail = _CHINESE_KINDS[int((found.lastgroup or "k0")[1:])].partition(":")
            if kind:
                items.extend(_asked_in_chinese(kind, detail, found, draft.asks))
        items.extend(self._han_tokens(squeezed[place:]))
        if not draft.asks and ending:
            draft.asks.add(("whether", ""))
        if draft.asks == {("whether", "")}:
            modal = next((w.CHINESE_MODALS[item] for item in items if item in w.CHINESE_MODALS), "")
            draft.asks = {("whether", modal)}
        persons, owning = ("who", "") in draft.asks, ("whether", "have") in draft.asks
        active = ["", "", *_active_chinese(items)]
        for earlier, before, item in zip(active, active[1:], active[2:], strict=False):
            if item == "的":
                draft.link("的")
            elif item in ("?who", "?what") or item in _DIRECTIONS:
                draft.mark(item)
            elif (
                item != "?amount" and item not in w.CHINESE_FUNCTION_WORDS and not (owning and item in w.CHINESE_MODALS)
            ):
                word = self._agent(item) if persons else self._canonical.get(item, item)
                asked_for = before == "?what" or (earlier, before) == ("?who", "的")
                draft.count(word, before)
                draft.take(word + "?" if asked_for else word, item)
        return draft.form()

    def _han_tokens(self, run: str) -> list[str]:
        tokens: list[str] = []
        for token in _TOKEN.findall(run):
            if _HAN.match(token):
                for word in self.cut(token):
                    tokens.extend(self._apart(word))
            else:
                tokens.append(_JOINING.sub("", token))
        return tokens

    def _apart(self, word: str) -> tuple[str, ...]:
        """Splits a verb from its object: 开天窗 is in the dictionary as one word, but means 打开 with the object
        天窗."""
        if len(word) > 2 and word not in self._canonical:
            for size in (2, 1):
                if word[:size] in self._canonical and len(word) > size + 1 and self.known(word[size:]):
                    return word[:size], word[size:]
        return (word,)

    def _agent(self, word: str) -> str:
        """The verb that belongs to a word for a person who does something: 谁 with 作者 asks who wrote."""
        verb = w.CHINESE_AGENTS.get(word)
        if verb is None and len(word) > 2 and word[-1] in "者人" and self.known(word[:-1]):
            verb = word[:-1]
        verb = verb or word
        return self._canonical.get(verb, verb)

    # -- English and other scripts with words

    def _english(self, plain: str) -> Form:
        draft, items = _Draft(), list[str]()
        text = " ".join(_plain_token(token) for token in _TOKEN.findall(plain))
        text = self._phrases.sub(lambda found: self._phrase_words[found.group()], text)
        text = re.sub(r"\b(what|who|where|when|how|why)s\b", r"\1 s", text)
        text = re.sub(r"\bwhat (?:do|does|did) (.+) (?:mean|stand for|stand_for)$", r"meaning of \1", text)
        place = 0
        for found in _ENGLISH.finditer(text):
            items.extend(text[place : found.start()].split())
            place = found.end()
            kind, _, detail = _ENGLISH_KINDS[int((found.lastgroup or "k0")[1:])].partition(":")
            if kind:
                dimension = found.groupdict().get("dimension") if detail == "dimension" else None
                draft.asks.add((kind, "" if dimension else detail))
                items.append("?" + kind)
                if dimension:
                    items.append("=" + w.ENGLISH_DIMENSIONS[dimension])
        items.extend(text[place:].split())
        if not draft.asks and items and items[0] in w.ENGLISH_MODALS:
            draft.asks.add(("whether", w.ENGLISH_MODALS[items[0]]))
        agent = ("who", "") in draft.asks
        active = ["", *_active_english(items), ""]
        for before, item, after in zip(active, active[1:], active[2:], strict=False):
            if item in ("?who", "?what"):
                draft.mark(item)
            elif _negates(before, item):
                draft.take("not", "not")
            elif item == "s" and before and before not in w.NAMED_BY_LETTER:
                draft.link("s")
            elif item == "of":
                draft.link("of")
            elif item in _DIRECTIONS:
                draft.mark(item)
            elif not _says_nothing(before, item, after):
                word = self._english_word(item, agent=agent)
                draft.count(word, before)
                draft.take(word, item)
        return draft.form()

    def _english_word(self, item: str, *, agent: bool) -> str:
        if item.startswith("="):
            return item[1:]
        word = item if item in w.TELLING else self._lemma(item)
        word = self._canonical.get(item) or self._canonical.get(word, word)
        return _done_by(word) if agent else word


def _asked_in_chinese(kind: str, detail: str, found: re.Match[str], asks: set[tuple[str, str]]) -> list[str]:
    """Adds what a match asks for to `asks`, and returns the items that replace the match."""
    if kind == "price":
        asks.add(("amount", ""))
        return ["价格"]
    if detail == "unit":
        time, unit = found.groupdict().get("time"), found.groupdict().get("unit")
        asks.add((kind, w.TIME_UNITS[time] if time else w.UNITS[unit or ""]))
        return []
    if detail == "classifier":
        classifier = found.group("classifier")
        asks.add((kind, "" if classifier == "个" else classifier))
        return ["?" + kind]
    if detail == "dimension":
        asks.add((kind, ""))
        return [w.DIMENSIONS[found.group("dimension")]]
    asks.add((kind, detail))
    return ["?" + kind] if kind in ("who", "what", "amount") else []


def _active_chinese(items: list[str]) -> list[str]:
    """Rewrites passives and fronted objects in active order: P 被 A V and A 把 P V both become A V P."""
    content = [i for i, item in enumerate(items) if item not in w.CHINESE_FUNCTION_WORDS]
    if "被" in items:
        at = items.index("被")
        before, after = [i for i in content if i < at], [i for i in content if i > at]
        if before and len(after) > 1:
            agent, verb = after[0], after[1]
            return [
                items[agent],
                items[verb],
                *items[:at],
                *(items[i] for i in range(at + 1, len(items)) if i not in (agent, verb)),
            ]
    for marker in ("把", "将"):
        if marker in items:
            at = items.index(marker)
            after = [i for i in content if i > at]
            if len(after) > 1:
                verb = after[1]
                return [*items[:at], items[verb], *(items[i] for i in range(at + 1, len(items)) if i != verb)]
    return items


def _active_english(items: list[str]) -> list[str]:
    """Rewrites passives and fronted objects in active order: P was V by A becomes A V P; who did A V becomes A V
    who."""
    been = [i for i, item in enumerate(items) if item in ("is", "are", "was", "were", "be", "been", "being")]
    by = [i for i, item in enumerate(items) if item == "by"]
    if been and by and been[0] < by[-1]:
        at = by[-1]
        agent = items[at + 1 :] or items[:1]
        rest = items[:at] if items[at + 1 :] else items[1:at]
        if len(rest) > 1:
            return [*agent, rest[-1], *rest[:-1]]
    for place, item in enumerate(items[:-1]):
        if item in ("?who", "?what") and items[place + 1] in w.PERSONAL_DO:
            return [*items[:place], *items[place + 2 :], item]
    return items


def _plain_token(token: str) -> str:
    """Removes hyphens and slashes (e-mail is email), and splits at an apostrophe (what's, canada's)."""
    return re.sub(r"['’]", " ", token) if "'" in token or "’" in token else _JOINING.sub("", token)


def _negates(before: str, item: str) -> bool:
    """Whether an item is what has become of n't: don t, dont, cannot."""
    return (
        item == "cannot"
        or (item == "t" and before in w.ENGLISH_NEGATIONS)
        or (item.endswith("nt") and item[:-1] in w.ENGLISH_NEGATIONS)
    )


def _says_nothing(before: str, item: str, after: str) -> bool:
    if item.startswith("?") or (item in w.ENGLISH_NEGATIONS and after == "t"):
        return True
    if len(item) == 1 and (before in w.NAMED_BY_LETTER or (item == "a" and not after)):
        return False
    if item in ("d", "m"):
        return before in w.CLITIC_HOSTS
    return item in w.ENGLISH_FUNCTION_WORDS


def _measured(word: str) -> bool:
    return word != "大小" and len(word) > 1 and word[-1] in w.QUANTITIES


def _lemma(word: str) -> str:
    from simplemma import lemmatize

    if any(character.isdigit() for character in word) or len(word) < 3:
        return word
    return str(lemmatize(word, lang="en"))


@lru_cache(maxsize=20_000)
def _done_by(word: str) -> str:
    """The verb that belongs to a noun for somebody who does something (invent for inventor); the word itself if there
    is none."""
    from simplemma import is_known

    if word in w.ENGLISH_AGENTS:
        return w.ENGLISH_AGENTS[word]
    if len(word) > 5 and word.endswith(("er", "or")):
        stem = word[:-2]
        for verb in (stem + "e", stem, stem[:-1]):
            if is_known(verb, lang="en") and information(verb) < 5:
                return verb
    return word


@lru_cache(maxsize=200_000)
def information(word: str) -> float:
    """The information that a word carries, in powers of ten: 8 minus its Zipf frequency (van Heuven and others, 2014),
    or 8 for a word that is rarer than one in a million."""
    frequencies = _frequencies("zh" if _HAN.search(word) else "en")
    return _ZERO_WEIGHT - frequencies.get(word, 0.0)


@lru_cache(maxsize=2)
def _frequencies(language: str) -> dict[str, float]:
    import math

    from wordfreq import get_frequency_dict

    return {word: math.log10(share) + 9 for word, share in get_frequency_dict(language, wordlist="small").items()}


def _compile(patterns: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str], list[str]]:
    """Joins the patterns into one, whose last group tells which row matched; returns it with the kind of each row."""
    rows, seen = [], set()
    for place, (_, pattern) in enumerate(patterns):
        unnamed = pattern
        for name in re.findall(r"\?P<(\w+)>", pattern):
            if name in seen:
                raise ValueError(f"two patterns have a group {name!r}")
            seen.add(name)
        rows.append(f"(?:{unnamed})(?P<k{place}>)")
    return re.compile("|".join(rows)), [kind for kind, _ in patterns]


_CHINESE, _CHINESE_KINDS = _compile(w.CHINESE_PATTERNS)
_ENGLISH, _ENGLISH_KINDS = _compile(w.ENGLISH_PATTERNS)
_DIMENSION_WORDS = frozenset((*w.DIMENSIONS.values(), *w.ENGLISH_DIMENSIONS.values(), "价格", "年龄"))
