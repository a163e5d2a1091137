"""The reader that takes the place of an LLM when accuracy is measured: deterministic, local, by rules.

It sees a question and the ranked passages, nothing else: no accepted answers, no scores of the reranker under test, no
statistics of the corpus. Rank matters to it as it does to an LLM: evidence at rank r counts rank_decay ** (r - 1), so
another car's number that is ranked first can mislead it.

How it reads. Passages are split into sentences. A question term (a word, or two neighbouring Chinese characters) weighs
more the fewer sentences contain it. A sentence scores the weighted share of the question's terms that it contains;
terms that occur only in the passage's title or in the rest of the passage count in part. If the question asks for a
number or a date, sentences that state one of that kind are preferred. The best sentence is the answer. If it is too
long it is cut to the stretch with the most terms; otherwise its neighbours are added while they fit. The reader refuses
when the probability that this sentence answers the question is below `refuse_below` (readers.answerability). That
probability does not depend on the rank: evidence further down is no reason to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rerankops.evaluation.readers import answerability, wording
from rerankops.evaluation.readers.asking import Asked, Passages, Reply
from rerankops.evaluation.readers.lengths import at_a_word, room

RULES_VERSION = 2
"""Incremented when the same passages may get another answer."""
_TITLE_SHARE = 0.8
"""What a question term counts that stands in the passage's title but not in the sentence."""
_PASSAGE_SHARE = 0.5
"""What it counts when it stands elsewhere in the passage."""
_KIND_FACTORS = {"asked": 1.0, "number": 0.8, "none": 0.5}
"""For a question that asks for a quantity: the sentence states one of the kind asked, another number, or none."""

_SENTENCE = re.compile(
    r"(?<=[。！？；!?])(?![”」』）)\"'])|(?<=[。！？；!?][”」』）)\"'])|\n+"
    r"|(?<=[a-z0-9)\]\"'”%]\.)(?<!\b[Nn]o\.)(?<!\bvs\.)(?<!\b[SDM][rt]\.)(?<!\bMrs\.)\s+(?=[A-Z\"'“(\[])"
)
_NUMERALS = "零一二两三四五六七八九十百千万亿半"
_NUMBER = rf"(?:(?<!\d)(?<!\d[.,])\d+(?:[.,]\d+)*|(?<![{_NUMERALS}])[{_NUMERALS}]+)"
"""Never matches from the middle of a number, so that a passage of nothing but digits is read in linear time."""
_LONGEST = 1000
"""Maximum characters of a sentence; anything longer lacks its full stops."""
_PAUSE = re.compile(r"[\s，、,：:]+")
_ANY_NUMBER = re.compile(r"\d|[零一二两三四五六七八九十百千万亿]+(?=[^\W\d])")
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"


_EDGE = r"(?:(?<![a-z\d])(?=[a-z\d])|(?<=[a-z\d])(?![a-z\d]))"
r"""Replaces \b: to Python, Chinese characters are letters too, so "4.5L机油" would have no word boundary after its
unit."""


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.replace(r"\b", _EDGE), re.IGNORECASE)


def _states(units: str) -> re.Pattern[str]:
    return _pattern(rf"{_NUMBER}\s*(?:[~～\-—–至到]\s*{_NUMBER}\s*)?(?:{units})")


_KINDS: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (_pattern(asks), states)
    for asks, states in (
        # what the question says, what the answer must hold; first match wins
        (
            r"哪一?年|何时|什么时候|什么时间|几月|几号|哪天|日期|\bwhen\b|what (?:year|date|day|month|time)",
            _pattern(
                rf"\b(?:1\d|20)\d\d\b|(?<!\d)\d+\s*(?:世纪|年代?|月|日)|[〇零一二三四五六七八九]{{4}}年|\b(?:{_MONTHS})\b"
                r"|(?<!\d)\d+(?:st|nd|rd|th) century"
            ),
        ),
        (r"几升|多少升|容积|容量|加注量|how many lit|油箱", _states("升|公升|毫升|ml|l\\b|lit(?:er|re)s?|kwh|mah|ah")),
        (r"公里|里程|多远|how far|间隔|续航|distance", _states("万?公里|千米|km|个月|年|米|miles?|months?")),
        (r"胎压|压力|气压|pressure", _states("kpa|千帕|bar|巴|psi|mpa|兆帕")),
        (r"扭矩|力矩|torque", _states("n[·.•]?m|牛[·•]?米|牛顿米")),
        (r"功率|马力|power\b", _states("kw|千瓦|马力|匹|hp|ps|瓦|watts?|w\\b")),
        (r"电压|伏|voltage", _states("v\\b|伏")),
        (r"油耗|consumption", _states("l/100|升/百公里|升|l\\b|mpg")),
        (r"温度|多少度|temperature", _states("℃|°|摄氏度|度|degrees?")),
        (r"多快|车速|时速|速度|how fast|speed", _states("km/h|公里|千米|mph|米|m/s|rpm|转")),
        (r"多重|重量|质量|how heavy|weigh", _states("kg|公斤|千克|吨|克|g\\b|pounds?|lbs?|tons?|tonnes?")),
        (
            r"多[长高宽深厚]|尺寸|长度|高度|宽度|轴距|间隙|how (?:tall|high|wide|deep|long is (?:the|a))|height|width",
            _states("mm|毫米|cm|厘米|米|m\\b|km|公里|英寸|inch(?:es)?|feet|foot|ft|met(?:er|re)s?|miles?"),
        ),
        (
            r"多久|多长时间|几分钟|几小时|几天|时间|how long",
            _states("秒|分钟?|个?小时|天|日|个?月|年|周|seconds?|minutes?|hours?|days?|weeks?|months?|years?"),
        ),
        (
            r"多少钱|价格|售价|how much (?:is|did|does|money)|cost|price",
            _states("万|元|块|美元|dollars?|million|billion|rmb"),
        ),
        (r"百分|比例|percent", _states("%|％|percent|成")),
        (r"几岁|年龄|how old", _states("岁|years?|year-old")),
        (
            r"多少|几[^乎何]|how (?:many|much|often)|what number|what is the number",
            _pattern(
                rf"{_NUMBER}|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred)\b"
            ),
        ),
    )
)


@dataclass(frozen=True)
class _Sentence:
    passage: int
    place: int
    text: str
    plain: str


class _Found(NamedTuple):
    """The answering sentence, its passage's sentences, the question's terms, and the kind of quantity that the question
    asks for."""

    best: _Sentence
    page: list[_Sentence]
    weights: dict[str, float]
    kind: re.Pattern[str] | None
    signs: answerability.Signs


@dataclass(frozen=True)
class ExtractiveReader:
    """Answers with a stretch of one passage, at most `max_answer_characters` long.

    max_answer_characters: counted in full-width characters; a Latin letter, a digit or a space counts a third, so that
    answers can say about as much in either language.
    rank_decay: evidence at rank r counts rank_decay ** (r - 1), in [0, 1]. At 0 only the first passage is read.
    refuse_below: the reader refuses when its best sentence answers the question with a probability below this, in [0,
    1] (see readers.answerability). None: it never refuses.
    """

    max_answer_characters: int
    rank_decay: float
    refuse_below: float | None = None

    @property
    def can_refuse(self) -> bool:
        return self.refuse_below is not None

    def answers(self, asked: Sequence[Asked]) -> list[Reply]:
        return [self._reply(one.question, one.passages) for one in asked]

    def answer(self, question: str, passages: Passages) -> str:
        """The best stretch; ties go to the better rank, then to the earlier sentence. "" from no passages, and for a
        refusal."""
        return self._reply(question, passages).text or ""

    def signs(self, question: str, passages: Passages) -> answerability.Signs | None:
        """The features of the best sentence, from which its probability is computed; None when no passage has any
        text."""
        found = self._find(question, passages)
        return None if found is None else found.signs

    def _reply(self, question: str, passages: Passages) -> Reply:
        found = self._find(question, passages)
        if found is None:
            return Reply("", refused=self.can_refuse)
        if self.refuse_below is not None and answerability.probability(found.signs) < self.refuse_below:
            return Reply("", refused=True)
        return Reply(self._grow(found))

    def _find(self, question: str, passages: Passages) -> _Found | None:
        pages = [_sentences(place, text) for place, (_, text) in enumerate(passages)]
        sentences = [sentence for page in pages for sentence in page]
        if not sentences:
            return None
        asked = wording.plain(question)
        weights = wording.weights(wording.terms(asked), [sentence.plain for sentence in sentences])
        kind = next((states for asks, states in _KINDS if asks.search(question)), None)
        titles = [wording.plain(title) for title, _ in passages]
        wholes = ["".join(sentence.plain for sentence in page) for page in pages]
        elsewhere = [
            {
                term: weight
                * (_TITLE_SHARE if term in titles[place] else _PASSAGE_SHARE if term in wholes[place] else 0)
                for term, weight in weights.items()
            }
            for place in range(len(passages))
        ]

        def evidence(sentence: _Sentence) -> float:
            outside = elsewhere[sentence.passage]
            told = sum(weight if term in sentence.plain else outside[term] for term, weight in weights.items())
            return told * _kind_factor(kind, sentence.text) * self.rank_decay**sentence.passage

        best = max(sentences, key=evidence)  # ties go to the better rank, then the earlier sentence
        page = pages[best.passage]
        signs = answerability.signs(
            asked,
            weights,
            sentence=best.plain,
            title=titles[best.passage],
            passage=wholes[best.passage],
            first=page[0].plain,
        )
        return _Found(best, page, weights, kind, signs)

    def _grow(self, found: _Found) -> str:
        best, page, weights, kind, _ = found
        limit = self.max_answer_characters
        length = room(best.text)
        if length > limit:
            return _densest(best.text, int(len(best.text) * limit / length), weights, kind)
        first = last = best.place
        while last + 1 < len(page) and length + room(page[last + 1].text) <= limit:
            last += 1
            length += room(page[last].text)
        while first > 0 and length + room(page[first - 1].text) <= limit:
            first -= 1
            length += room(page[first].text)
        return _join(sentence.text for sentence in page[first : last + 1])


def _sentences(passage: int, text: str) -> list[_Sentence]:
    parts = (piece.strip() for part in _SENTENCE.split(text) for piece in _pieces(part))
    kept = [part for part in parts if part]
    return [_Sentence(passage, place, part, wording.plain(part)) for place, part in enumerate(kept)]


def _pieces(part: str) -> Iterable[str]:
    """Splits text that has no full stop for long, such as a table in one line, into stretches that end at a pause or a
    word."""
    while len(part) > _LONGEST:
        pauses = [match.end() for match in _PAUSE.finditer(part, _LONGEST // 2, _LONGEST)]
        cut = pauses[-1] if pauses else at_a_word(part[: 2 * _LONGEST], _LONGEST)
        yield part[:cut]
        part = part[cut:]
    yield part


def _kind_factor(kind: re.Pattern[str] | None, text: str) -> float:
    if kind is None or kind.search(text):
        return _KIND_FACTORS["asked"]
    return _KIND_FACTORS["number" if _ANY_NUMBER.search(text) else "none"]


def _densest(text: str, limit: int, weights: dict[str, float], kind: re.Pattern[str] | None) -> str:
    """The window of `limit` characters that holds most; among equals the one whose question terms lie most in its
    middle, since what is asked for stands beside them."""
    last = len(text) - limit
    places = {0, last, *range(0, last, max(1, limit // 4)), *(match.end() for match in _PAUSE.finditer(text))}
    starts = sorted({at_a_word(text, place) for place in places if place <= last})

    def score(start: int) -> tuple[float, float]:
        window = text[start : start + limit]
        plain = wording.plain(window)
        held = [(weight, plain.find(term)) for term, weight in weights.items() if term in plain]
        mass = sum(weight for weight, _ in held)
        centre = sum(weight * place for weight, place in held) / mass if mass else 0.0
        return (round(mass * _kind_factor(kind, window), 9), -abs(centre - len(plain) / 2))

    best = max(starts, key=score)
    window = text[best : best + limit]
    if at_a_word(text, best + limit) != best + limit:
        window = re.sub(r"[A-Za-z0-9.]+$", "", window)  # half a word or number is no answer
    return window.strip() or text[:limit]


def _join(parts: Iterable[str]) -> str:
    joined = ""
    for part in parts:
        joined += (" " if joined and joined[-1].isascii() else "") + part
    return joined
