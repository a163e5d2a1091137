"""Whatever stands in an answer, the judge gives a finding: texts put together at random from what it reads."""

from __future__ import annotations

import random

import pytest

from rerankops.evaluation.normalise import judge, mentions, normalise

_WRITTEN = (
    "1998 -1 - -5 ~ – — 至 到 to and 或 or ... 。 . , ， ; ； : ： ( ) （ ） / % ° ℃ kPa bar L "
    "升 mL 元 万 亿 千 百 十 一 两 三 半 零 〇 点 五 分之 成 个 小时 30分钟 年 月 日 号 2023 05 13 "
    "2023-05-01 1/3 3/0 0 00 007 1e5 1.2.3 10.000 4,5 1,2,3 ½ ² ① Ⅳ ٣ १ inf nan - 零下 minus "
    "below zero 不 不是 而是 没有 无 not no never n't 至少 不超过 以上 at least up to > < ≥ ± + = "
    "(L) 容量（L） | | a the X5 V5 2.0T March 4 th Monday 上午 下午 两点半 14:30 25:99 two thirds "
    "half hundred million dozen \u200b \u202e 🚗 é"
)
PIECES = _WRITTEN.split()


@pytest.mark.parametrize("seed", range(8))
def test_the_judge_raises_on_no_text(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(250):
        answer, accepted = ("".join(_joined(rng, size)) for size in (rng.randint(1, 14), rng.randint(1, 5)))
        finding = judge(answer, [accepted])
        assert finding.found or not finding.right
        mentions(answer, [accepted])
        normalise(answer)


def test_a_negative_number_after_a_year_is_no_year_of_two_digits() -> None:
    assert not mentions("from 1998 to -1", ["2001"])
    assert mentions("from 1998 to 01", ["1998"])


def _joined(rng: random.Random, size: int) -> list[str]:
    return [rng.choice(PIECES) + rng.choice(["", "", " "]) for _ in range(size)]
