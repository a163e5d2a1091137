"""The production query log: what the users of the fictional assistant typed in four weeks, mess and all.

Intents follow a Zipf law within their stratum and repeat in a few favourite wordings. The second fortnight brings new
topics, new wordings and a newly launched model: the drift that a second round of training has to follow.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from rerankops.demo import personal, phrasing
from rerankops.demo.forms import Stratum
from rerankops.demo.likeness import Likeness
from rerankops.demo.lineup import Model
from rerankops.demo.truth import Intent, Truth

BEGIN = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 28
SHARES: Mapping[Stratum, float] = {"numeric": 0.45, "procedure": 0.35, "summary": 0.20}
NEAR_GOLD = 0.8
"""A query this alike to a gold question would be a leak; none is let into the log."""
JUNK = (
    "", "", " ", "？", "?", "。", "a", "1", "好", "嗯", "哦", "…", "👍", "😂😂", "在吗", "在", "你好", "人工",
    "转人工", "测试", "test", "谢谢", "ok", "666", "今天天气怎么样", "附近哪里有加油站", "讲个笑话", "你是谁",
    "4S店电话多少", "落地多少钱", "什么时候降价", "我要投诉", "放一首歌", "导航回家", "云岭股票代码",
    "招聘司机吗", "啊啊啊啊", "asdfgh", "没事了", "呵呵", "你们几点下班", "二手车能卖多少", "贷款利息几个点",
    "！！！", "12345", "打错了", "帮我订个酒店", "限行尾号是几", "～", "今天限号吗", "违章怎么处理",
    "年检要带什么", "驾照过期了咋办", "交强险多少钱", "附近停车场", "唱首歌吧", "几点了",
)  # fmt: skip
HOURS = (2, 1, 1, 1, 1, 2, 4, 9, 12, 11, 10, 10, 12, 10, 9, 9, 10, 13, 13, 12, 13, 12, 8, 4)
"""Weights of the hours of the day in China, eight hours ahead of UTC."""


@dataclass
class Log:
    """The events, and in the same order what they were about: the intent (None for junk) and planted personal data."""

    events: list[dict[str, object]] = field(default_factory=list)
    intents: list[Intent | None] = field(default_factory=list)
    planted: list[list[tuple[str, str]]] = field(default_factory=list)


def write_log(
    truth: Truth, asked: Sequence[Intent], launched: Model, gold_texts: Sequence[str], count: int, seed: int
) -> Log:
    """count events about the asked intents. launched: the model that nobody asks about in the first fortnight."""
    rng = random.Random(f"{seed}:log")
    likeness = Likeness(gold_texts)
    desks = {late: _Desk(truth, asked, launched, likeness, late, rng) for late in (False, True)}
    shelf = _Shelf(truth)
    times = sorted(_moment(rng) for _ in range(count))
    log = Log()
    for number, moment in enumerate(times, start=1):
        late = moment >= BEGIN + timedelta(days=DAYS // 2)
        intent, text, planted = _one(desks[late], likeness, rng)
        shown, clicked, feedback = shelf.session(intent, rng)
        log.intents.append(intent)
        log.planted.append(planted)
        log.events.append(
            {
                "event_id": f"demo-{number:06d}",
                "text": text,
                "issued_at": moment.isoformat(),
                "source": "demo-log",
                "shown_passage_ids": shown,
                "clicked_passage_ids": clicked,
                "feedback": feedback,
            }
        )
    return log


def _one(desk: _Desk, likeness: Likeness, rng: random.Random) -> tuple[Intent | None, str, list[tuple[str, str]]]:
    if rng.random() < 0.06:
        text = rng.choice(JUNK)
        return (None, *personal.plant(text, rng)) if text.strip() and rng.random() < 0.06 else (None, text, [])
    while True:
        intent, text = desk.ask(rng)
        planted: list[tuple[str, str]] = []
        decorated = phrasing.decorate(text, rng)
        if rng.random() < 0.07:
            decorated, planted = personal.plant(decorated, rng)
        if likeness.closest(decorated) < NEAR_GOLD:
            return intent, decorated, planted


class _Desk:
    """Where the queries of one fortnight come from: intents by popularity, each with its favourite wordings."""

    def __init__(
        self,
        truth: Truth,
        asked: Sequence[Intent],
        launched: Model,
        likeness: Likeness,
        late: bool,
        rng: random.Random,
    ) -> None:
        self._truth, self._likeness, self._late = truth, likeness, late
        self._said: dict[str, list[str]] = defaultdict(list)
        self._by_stratum: dict[Stratum, tuple[list[Intent], list[float]]] = {}
        for stratum in SHARES:
            mine = [
                intent
                for intent in asked
                if intent.fact.stratum == stratum
                and (late or not (intent.topic.late or (intent.car is not None and intent.car.model == launched)))
            ]
            # what is new is talked about: it enters the second fortnight at the head of the popularity order
            order = sorted(mine, key=lambda intent: rng.random() * (0.35 if late and _is_new(intent, launched) else 1))
            weights = [1.0 / (rank + 2.7) for rank in range(len(order))]
            self._by_stratum[stratum] = (order, list(accumulate(weights)))

    def ask(self, rng: random.Random) -> tuple[Intent, str]:
        stratum = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
        intents, heights = self._by_stratum[stratum]
        while True:
            intent = intents[bisect(heights, rng.random() * heights[-1])]
            said = self._said[intent.intent_id]
            if said and rng.random() < 0.5:
                return intent, said[min(int(rng.expovariate(0.9)), len(said) - 1)]
            text = phrasing.core(intent, self._truth, self._late, rng)
            if self._likeness.closest(text) < NEAR_GOLD:
                said.append(text)
                return intent, text


def _is_new(intent: Intent, launched: Model) -> bool:
    return intent.topic.late or (intent.car is not None and intent.car.model == launched)


class _Shelf:
    """What the assistant showed and what came of it: a plausible mixed list, clicks by grade, rare thumbs."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._ids = [p.passage_id for p in truth.manual.passages]
        self._of_topic: dict[str, list[str]] = defaultdict(list)
        for p in truth.manual.passages:
            self._of_topic[p.topic.key].append(p.passage_id)

    def session(self, intent: Intent | None, rng: random.Random) -> tuple[list[str], list[str], str]:
        if intent is None or rng.random() < 0.35:
            return [], [], "none"
        near = self._of_topic[intent.topic.key]
        pool = list(dict.fromkeys([*rng.sample(near, min(len(near), 12)), *rng.sample(self._ids, 3)]))
        if rng.random() < 0.85:
            pool = list(dict.fromkeys([*self._truth.answering(intent.intent_id, 2)[:3], *pool]))
        grades = dict(zip(pool, self._truth.grades([intent.intent_id] * len(pool), pool).tolist(), strict=True))
        shown = sorted(pool, key=lambda p: -grades[p] + rng.gauss(0.0, 1.2))[:6]
        clicked = [
            p for place, p in enumerate(shown) if rng.random() < (0.02, 0.08, 0.25, 0.5)[grades[p]] / (1 + place * 0.3)
        ]
        best = max(grades[p] for p in shown)
        draw = rng.random()
        feedback = "none"
        if best == 3 and draw < 0.07:
            feedback = "up"
        elif draw < (0.02 if best == 3 else 0.12):
            feedback = "down"
        return shown, clicked, feedback


def _moment(rng: random.Random) -> datetime:
    day = rng.choices(
        range(DAYS), weights=[1.25 if (BEGIN + timedelta(days=d)).weekday() >= 5 else 1 for d in range(DAYS)]
    )
    hour = rng.choices(range(24), weights=HOURS)[0]
    # the log runs on UTC days: a Chinese hour before eight falls on the day's end
    return BEGIN + timedelta(days=day[0], hours=(hour - 8) % 24, seconds=rng.randrange(3600))
