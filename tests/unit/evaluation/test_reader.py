"""The reader: what it finds, what misleads it, and that it is quick and repeatable."""

from __future__ import annotations

import time

import pytest

from rerankops.evaluation.normalise import contains
from rerankops.evaluation.reader import ExtractiveReader

READER = ExtractiveReader(max_answer_characters=120, rank_decay=0.85)

LUMEN = (
    "星澜 S5 > 技术参数",
    "车身长度为4655毫米，轴距为2710毫米。后备箱容积为450升，后排座椅放倒后为1480升。燃油箱容积为55升。",
)
ORION = ("辰光 E3 > 技术参数", "车身长度为4280毫米。后备箱容积为320升，后排座椅放倒后为1100升。电池容量为58 kWh。")
ESP = (
    "星澜 S5 > 驾驶辅助 > ESP",
    "ESP在车辆启动时自动打开。如需关闭ESP，请长按中控台上的ESP OFF键三秒，仪表显示黄色指示灯。"
    "再次短按该键即可重新开启ESP。",
)
OIL = ("星澜 S5 > 保养", "发动机机油容量为4.5升，请使用0W-20全合成机油。每行驶10,000公里或12个月更换一次机油。")
NEWTON = (
    "Isaac Newton",
    "Sir Isaac Newton was an English mathematician. He published the Principia in 1687. "
    "He died in London on 20 March 1726.",
)


@pytest.mark.parametrize(
    ("question", "accepted"),
    [
        ("星澜S5的后备箱容积是多少？", "450L"),
        ("星澜S5怎么关闭ESP？", "长按中控台上的ESP OFF键三秒"),
        ("星澜S5机油多久换一次", "12个月"),
        ("星澜S5机油容量是多少升", "4.5L"),
        ("星澜S5轴距多长", "2710mm"),
        ("when did newton publish the principia", "1687"),
    ],
)
def test_it_finds_the_answer_among_six_passages(question: str, accepted: str) -> None:
    passages = [LUMEN, ESP, OIL, NEWTON]
    assert contains(READER.answer(question, passages), [accepted])


def test_another_cars_number_ranked_first_can_mislead_it() -> None:
    question = "后备箱容积是多少？"
    assert contains(READER.answer(question, [LUMEN, ORION]), ["450L"])
    assert contains(READER.answer(question, [ORION, LUMEN]), ["320L"])


def test_a_title_that_names_the_car_outweighs_one_rank() -> None:
    assert contains(READER.answer("星澜S5的后备箱容积是多少？", [ORION, LUMEN]), ["450L"])


def test_evidence_far_down_counts_less() -> None:
    deep = [ORION, ESP, OIL, NEWTON, ("", "没有内容。"), LUMEN]
    assert not contains(READER.answer("星澜S5的后备箱容积是多少？", deep), ["450L"])
    assert contains(ExtractiveReader(120, 1.0).answer("星澜S5的后备箱容积是多少？", deep), ["450L"])


def test_without_passages_it_says_nothing() -> None:
    assert READER.answer("后备箱容积？", []) == ""
    assert READER.answer("后备箱容积？", [("", ""), ("标题", " \n ")]) == ""


def test_ties_go_to_the_better_rank() -> None:
    assert READER.answer("无关的问题", [("", "甲。"), ("", "乙。")]) == "甲。"
    assert ExtractiveReader(120, 1.0).answer("zzz", [("", "First."), ("", "Second.")]) == "First."


def test_the_answer_keeps_to_its_room() -> None:
    long = "后备箱" + "很大" * 400 + "容积450升，" + "非常实用" * 300
    answer = READER.answer("后备箱容积多少升", [("", long)])
    assert len(answer) <= 120
    assert "450升" in answer
    english = " ".join(["the trunk volume is large and"] * 60) + " 450 litres " + "indeed so " * 100
    answer = READER.answer("trunk volume how many litres", [("", english)])
    assert len(answer) <= 360
    assert contains(answer, ["450L"])


def test_a_cut_never_leaves_half_a_number() -> None:
    text = "alpha " * 10 + "value 123456789 " + "beta " * 10
    for room in range(5, 40):
        answer = ExtractiveReader(room, 0.85).answer("alpha value", [("", text)])
        assert all(word in {"alpha", "value", "beta", "123456789"} for word in answer.split())


@pytest.mark.parametrize("question", ["", "？？？", "多少", "the", "🙂", "a" * 5000, "多少" * 500, "几" * 100])
def test_odd_questions_get_some_answer(question: str) -> None:
    assert isinstance(READER.answer(question, [LUMEN, NEWTON]), str)


def test_it_repeats_itself() -> None:
    passages = [LUMEN, ORION, ESP, OIL, NEWTON]
    assert len({READER.answer("星澜S5多长", passages) for _ in range(5)}) == 1


def test_it_reads_six_passages_in_milliseconds() -> None:
    passages = [(title, text * 5) for title, text in (LUMEN, ORION, ESP, OIL, NEWTON, LUMEN)]
    best = min(_seconds(passages) for _ in range(20))
    assert best < 0.02, "2 ms on an idle core; ten times that on a busy one is a regression"


def _seconds(passages: list[tuple[str, str]]) -> float:
    start = time.perf_counter()
    READER.answer("星澜S5的后备箱容积是多少？", passages)
    return time.perf_counter() - start
