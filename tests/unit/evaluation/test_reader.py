"""The reader: what it finds, what misleads it, and that it is repeatable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rerankops import config
from rerankops.errors import SettingsError
from rerankops.evaluation import readers
from rerankops.evaluation.normalise import contains
from rerankops.evaluation.readers import Asked, ExtractiveReader, Remembered, Reply
from rerankops.evaluation.readers.lengths import room as room_of
from rerankops.evaluation.readers.lengths import within

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


ODD = {
    "digits": "1" * 50_000,
    "a list of numbers": "1,2 3. " * 7_000,
    "numerals": "一" * 50_000,
    "spaces within a quantity": "450" + " " * 50_000 + "升",
    "no word's end": "a" * 50_000,
    "no full stop": "后备箱容积很大" * 7_000,
    "a table": "|后备箱|450升|轴距|2700mm" * 2_500,
    "combining marks": "a" + "\u0301" * 50_000,
    "invisible": "后\u200b备\u2060箱\u00ad450升" * 5_000,
    "half a surrogate pair": "\ud800后备箱容积450升",
    "control characters": "\x00\x1b[2J后备箱450升",
    "right to left": "السيارة 450 لتر " * 3_000,
    "emoji": "🚗🏽‍♂️" * 8_000,
    "ranges": "1~1 - " * 8_000,
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("question", ["后备箱容积多少升？", "什么时候", "how many litres", "1" * 2_000])
def test_odd_and_very_long_passages_are_read_and_the_answer_keeps_to_its_room(question: str, text: str) -> None:
    answer = READER.answer(question, [("", text), ("标题", text[:100])])
    assert answer
    assert room_of(answer) <= READER.max_answer_characters + 1


def test_a_value_in_a_table_without_full_stops_is_found() -> None:
    rows = "".join(f"|第{number}项|{number}毫米" for number in range(1, 800))
    table = f"{rows}|后备箱容积|450升{rows}"
    assert contains(READER.answer("后备箱容积多少升？", [("参数", table)]), ["450L"])


def test_it_repeats_itself() -> None:
    passages = [LUMEN, ORION, ESP, OIL, NEWTON]
    assert len({READER.answer("星澜S5多长", passages) for _ in range(5)}) == 1


def asked(question: str, *passages: tuple[str, str]) -> Asked:
    return Asked("q", question, passages)


def test_a_batch_gets_the_answers_that_each_question_gets_alone() -> None:
    questions = [asked("机油容量", OIL, ESP), asked("后备箱容积", LUMEN, ORION), asked("ESP怎么关", ESP)]
    together = READER.answers(questions)
    assert [reply.text for reply in together] == [READER.answer(one.question, one.passages) for one in questions]
    assert together == [READER.answers([one])[0] for one in questions]
    assert not any(reply.refused for reply in together)


@pytest.mark.parametrize("below", [None, 0.3])
def test_whether_it_may_refuse_is_known_without_it(below: float | None) -> None:
    chosen = config.load(environ={}, overrides={"reader": {"kind": "extractive", "refuse_below": below}}).reader
    assert readers.may_refuse(chosen) == readers.configured(chosen).can_refuse == (below is not None)


def test_it_never_refuses_unless_told_how_sure_it_must_be() -> None:
    assert not READER.can_refuse
    far = asked("天窗的颜色", OIL, NEWTON)
    assert READER.answers([far])[0].text
    strict = ExtractiveReader(120, 0.85, refuse_below=0.3)
    assert strict.can_refuse
    assert strict.answers([far]) == [Reply("", refused=True)]
    near = asked("星澜S5的后备箱容积是多少？", LUMEN, ORION)
    assert strict.answers([near]) == READER.answers([near])


def test_the_default_reader_refuses_what_the_passages_do_not_answer_and_answers_what_they_do() -> None:
    default = readers.configured(config.load(environ={}).reader)
    answerable = [
        asked("星澜S5的后备箱容积是多少？", LUMEN, ORION, ESP),
        asked("星澜S5怎么关闭ESP", OIL, ESP, LUMEN),
        asked("when did newton publish the principia", NEWTON, OIL),
    ]
    unanswerable = [
        asked("流影 V8的后备箱容积是多少？", LUMEN, ORION, ESP),
        asked("雨刮片是什么规格", OIL, ESP, LUMEN),
        asked("who discovered penicillin", NEWTON, OIL),
        asked("when did einstein win the nobel prize", NEWTON),
    ]
    assert default.can_refuse
    assert [reply.refused for reply in default.answers(answerable)] == [False] * 3
    assert [reply.refused for reply in default.answers(unanswerable)] == [True] * 4


@pytest.mark.parametrize("passages", [(), (("", ""),), (("后备箱容积", " \n "),)])
def test_where_there_is_nothing_to_read_the_default_reader_refuses(passages: tuple[tuple[str, str], ...]) -> None:
    default = readers.configured(config.load(environ={}).reader)
    assert default.answers([asked("后备箱容积？", *passages)]) == [Reply("", refused=True)]
    assert READER.answers([asked("后备箱容积？", *passages)]) == [Reply("")]


def test_how_deep_the_evidence_lies_is_no_reason_to_refuse() -> None:
    strict = ExtractiveReader(120, 0.85, refuse_below=0.5)
    filler = [("", "没有内容。")] * 5
    question = "星澜S5的后备箱容积是多少？"
    first, deep = strict.answers([asked(question, LUMEN, *filler), asked(question, *filler, LUMEN)])
    assert first == deep
    assert not first.refused


def test_the_surer_it_must_be_the_more_it_refuses() -> None:
    questions = [asked(f"{what}是多少", *[LUMEN, ORION, OIL, ESP][start:]) for what in ("轴距", "油箱", "功率", "天窗")
                 for start in range(4)]  # fmt: skip
    refusals = [
        sum(reply.refused for reply in ExtractiveReader(120, 0.85, refuse_below=level / 10).answers(questions))
        for level in range(11)
    ]
    assert refusals == sorted(refusals)
    assert refusals[0] == 0 < refusals[-1]


@pytest.mark.parametrize(
    ("question", "title"),
    [("G52的轴距", "云岭 峦途G52 | 尺寸"), ("峦途G52轴距", "云岭 峦途 G52 | 尺寸"), ("Ｇ５２轴距", "峦途G52尺寸")],
)
def test_a_model_is_found_whether_or_not_chinese_letters_touch_it(question: str, title: str) -> None:
    other = ("云岭 峦途G32 | 尺寸", "轴距为2600毫米。")
    assert contains(READER.answer(question, [other, (title, "轴距为2710毫米。")]), ["2710mm"])


def test_a_unit_or_year_that_chinese_letters_touch_is_one() -> None:
    near = ("", "机油请用原厂的，加注4500次以后再看。加注4.5L机油即可。")
    short = ExtractiveReader(max_answer_characters=12, rank_decay=0.85)
    assert contains(short.answer("机油加注量是多少", [near]), ["4.5L"])
    built = ("", "大楼共有2500块玻璃。大楼在1998落成。")
    assert contains(short.answer("大楼何时有的", [built]), ["1998"])


def test_accents_and_width_make_no_difference() -> None:
    passages = [("Beyoncé", "Beyoncé was born in Houston."), ("Adele", "Adele was born in Tottenham.")]
    assert READER.answer("where was beyonce born", passages) == READER.answer("where was Ｂeyoncé born", passages)
    assert "Houston" in READER.answer("where was beyonce born", passages[::-1])


# -- reading once -----------------------------------------------------------------------------------------------------


class Counting:
    """A reader that says how many passages it saw; a question with a ? cannot be answered."""

    can_refuse = True

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def answers(self, asked: Sequence[Asked]) -> list[Reply]:
        self.batches.append([one.question_id for one in asked])
        return [
            Reply(None, reason="unavailable: nobody there") if "?" in one.question else Reply(str(len(one.passages)))
            for one in asked
        ]


def test_the_same_passages_in_the_same_order_are_read_once_whichever_system_shows_them() -> None:
    inner = Counting()
    reader = Remembered(inner)
    first = [Asked("a", "how", (OIL, ESP)), Asked("b", "how", (ESP, OIL)), Asked("c", "why?", (OIL,))]
    second = [Asked("a", "how", (OIL, ESP)), Asked("b", "how", (ESP,)), Asked("c", "why?", (OIL,))]
    said = reader.answers(first)
    assert reader.answers(second) == [said[0], Reply("1"), said[2]]
    assert inner.batches == [["a", "b", "c"], ["b"]]
    assert (reader.asked, reader.read) == (6, 4)
    assert reader.problems.counts == {"unavailable": 1}, (
        "a missing answer is missing for every system that shows the same"
    )
    assert reader.problems.examples == {"unavailable": {"reason": "nobody there", "reply": ""}}
    assert reader.milliseconds is not None
    assert reader.milliseconds >= 0
    assert reader.can_refuse


class Timed(Counting):
    """Has the times that it is told, and takes none itself."""

    def __init__(self, *seconds: float | None) -> None:
        super().__init__()
        self.seconds = seconds

    def answers(self, asked: Sequence[Asked]) -> list[Reply]:
        return [
            replace(reply, seconds=taken) for reply, taken in zip(super().answers(asked), self.seconds, strict=True)
        ]


def test_a_reading_takes_what_its_reader_says_in_the_median_and_nothing_where_it_cannot_say() -> None:
    reader = Remembered(Timed(0.25, math.nan, 9.0, 0.5, 4.0))
    questions = ["a", "b", "c?", "d", "e"]
    reader.answers([asked(question, OIL) for question in questions])
    assert reader.milliseconds == 500, "of the three that brought an answer and are known"
    unknown = Remembered(Timed(math.nan))
    unknown.answers([asked("a", OIL)])
    assert unknown.milliseconds is None


def test_nothing_asked_is_nothing_read() -> None:
    reader = Remembered(READER)
    assert reader.answers([]) == []
    assert reader.milliseconds is None


# -- cutting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("后备箱容积450升", 5, "后备箱容积"),
        ("后备箱容积450升", 8, "后备箱容积450升"),
        ("容积 12345 升", 3, "容积"),
        ("short", 5, "short"),
        ("the trunk holds 450 litres of luggage", 6, "the trunk holds"),
        ("", 3, ""),
    ],
)
def test_a_text_is_cut_at_its_room_and_never_within_a_word_or_number(text: str, most: int, expected: str) -> None:
    assert within(text, most) == expected
    assert room_of(within(text, most)) <= most + 1 / 3, "room counts one sign more"


def test_a_reader_that_lacks_its_model_or_server_says_which_setting() -> None:
    settings = config.load(environ={}).reader
    with pytest.raises(SettingsError, match=r"reader\.model\.name names no model"):
        readers.configured(settings.model_copy(update={"kind": "model"}))
    with pytest.raises(SettingsError, match=r"reader\.kind is llm.*llm\.url"):
        readers.configured(settings.model_copy(update={"kind": "llm"}))
    made = readers.configured(settings.model_copy(update={"refuse_below": 0.2}))
    assert made == ExtractiveReader(settings.max_answer_characters, settings.rank_decay, 0.2)


def test_what_changes_answers_changes_the_identity_and_nothing_else_does() -> None:
    base = config.load(environ={})
    device = base.reader.model.model_copy(update={"device": "cpu", "batch_size": 3})
    long = base.reader.model.model_copy(update={"max_length": 200})

    def of(llm: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
        return readers.identity(base.reader.model_copy(update=changed), base.llm.model_copy(update=llm or {}))

    assert of() == of(language="zh", votes=3, model=long, llm={"model": "m"}), "no matter to rules"
    assert of() != of(refuse_below=0.1) != of(rank_decay=0.5)
    assert {"rules", "answerability"} <= set(of()), "other rules answer otherwise from the same settings"
    assert of(kind="model") == of(kind="model", model=device)
    assert of(kind="model") != of(kind="model", model=long)
    assert of(kind="llm") == of(kind="llm", refuse_below=0.5, llm={"timeout": 3.0, "url": "http://elsewhere/v1"})
    assert len({str(one) for one in (of(kind="llm"), of(kind="llm", votes=3), of(kind="llm", max_tokens=9),
                                     of(kind="llm", llm={"model": "m"}))}) == 4  # fmt: skip
