"""The judge against people: hand-labelled answers of every kind, and what it says against those that hold an answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rerankops.evaluation.normalise import contains, judge, mentions

CASES = Path(__file__).parents[2] / "cases"


@pytest.mark.parametrize("name", ["development", "held-out"])
def test_answers_are_judged_as_a_person_would_and_no_wrong_one_is_called_right(name: str) -> None:
    rows = [json.loads(line) for line in (CASES / f"answers-{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    said = [contains(row["answer"], row["accepted"]) for row in rows]
    assert [row for row, right in zip(rows, said, strict=True) if right and not row["right"]] == []
    assert sum(right == row["right"] for row, right in zip(rows, said, strict=True)) >= 0.95 * len(rows)


@pytest.mark.parametrize(
    ("answer", "accepted", "kind"),
    [
        ("该车型不支持无线充电。", "支持", "negated"),
        ("不要加注92号汽油，应加95号汽油。", "92号", "negated"),
        ("Dual-boot is unsupported on this laptop.", "supported", "negated"),
        ("You must never use diesel in this engine.", "diesel", "negated"),
        ("除X5外，全系均有座椅加热。", "X5", "negated"),
        ("容量是5升吗？请问经销商。", "5升", "asked"),
        ("无法从文中得知容量是不是5升。", "5升", "hedged"),
        ("I'm not sure whether it is Paris.", "Paris", "hedged"),
        ("室内建议保持在20到25℃。", "25℃", "range"),
        ("该支架的承重应在5公斤以上。", "不超过5公斤", "bound"),
        ("车速为120km/h。", "至少120km/h", "bound"),
        ("机油容量为4.5L或5.2L。", "4.5L", "contradicted"),
        ("机油容量为4.5L。机油容量为5.2L。", "4.5L", "contradicted"),
        ("质保由3年延长至5年。", "3年", "contradicted"),
        ("按钮是蓝色的，不，按钮是红色的。", "蓝色", "contradicted"),
        ("The wire is either red or blue.", "red", "contradicted"),
        ("会议在周五或周六。", "周五", "contradicted"),
        ("入口在东侧，也有人说在西侧。", "东侧", "contradicted"),
        ("He was born in 1995; other sources say 1996.", "1995", "contradicted"),
        ("It contains neither nuts nor dairy.", "dairy", "negated"),
    ],
)
def test_what_is_found_but_spoken_against_is_wrong_with_the_reason(answer: str, accepted: str, kind: str) -> None:
    finding = judge(answer, [accepted])
    assert (finding.right, finding.found, finding.reason.split(":")[0]) == (False, True, kind)


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        ("前轮胎压为230kPa，后轮胎压为250kPa。", "230kPa"),
        ("每行驶10000公里或每6个月保养一次。", "6个月"),
        ("在不放倒后排座椅的情况下容积为450L。", "450L"),
        ("不熄火充电8小时。", "8小时"),
        ("不得不停车。", "必须停车"),
        ("这不是不支持，而是需要升级。支持无线充电。", "支持无线充电"),
        ("不仅支持无线充电，还支持快充。", "无线充电"),
        ("如果不确定机油型号，请咨询4S店。", "4S店"),
        ("It did not open until 1969.", "1969"),
        ("The capital is not Sydney but Canberra.", "Canberra"),
        ("Former Faith No More singer Chuck Mosley died in 2017.", "Chuck Mosley"),
        ("如何打开？按下OPEN键。", "OPEN键"),
    ],
)
def test_other_values_other_negations_and_questions_speak_against_nothing(answer: str, accepted: str) -> None:
    assert judge(answer, [accepted]).right, judge(answer, [accepted])


def test_a_negation_that_was_asked_for_speaks_against_nothing() -> None:
    answer = "不支持无线充电的只有入门版，不要选购石油制品。"
    assert not judge("请拒绝石油。", ["石油"]).right
    assert judge("请拒绝石油。", ["石油"], "号召人们拒绝什么？").right
    assert judge(answer, ["入门版"], "哪个版本不支持无线充电？").right
    assert not judge("不支持。", ["支持"], "是不是不支持无线充电？").right, "a yes or no is still negated"


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("晚上7点", "19:00", True),
        ("19:00", "7:00", False),
        ("8点至17点", "8:00-17:00", True),
        ("一九四五年八月十五日", "1945年8月15日", True),
        ("10人到15人", "10-15人", True),
        ("固件v2.1", "v2", False),
        ("星期一到星期五", "周一至周五", True),
        ("机油容量为4.5L。", "4.5L左右", True),
        ("机油容量约4.5L。", "4.5L左右", True),
        ("大约10个人左右参加。", "10人", True),
        ("共有5座位。", "5个座位", True),
        ("有10个气囊。", "10个", True),
        ("保修期为3个月。", "3月", False),
    ],
)
def test_times_ranges_and_versions_are_read_as_they_are_written(answer: str, accepted: str, right: bool) -> None:
    assert contains(answer, [accepted]) is right


def test_an_answer_without_the_accepted_one_has_no_reason() -> None:
    finding = judge("后备箱容积为320升。", ["450升"])
    assert (finding.right, finding.found, finding.reason) == (False, False, "")


def test_a_passage_mentions_an_answer_whatever_it_says_of_it() -> None:
    assert mentions("该车型不支持无线充电。", ["无线充电"])
    assert mentions("建议保持在20到25℃。", ["25度"])
    assert not mentions("作者是王安石。", ["王安"])


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("使用人民币支付", "人民", False),
        ("请检查动力电池", "电池", True),
        ("位于北京市", "北京", True),
        ("横跨长江大桥", "长江", False),
        ("《三国演义》", "三国", False),
        ("报名的是张三丰", "张三", False),
        ("德国队夺冠", "德国", True),
        ("它具有记忆功能", "能", False),
        ("在中国四川省", "四川省", True),
        ("位于九华山", "华山", False),
    ],
)
def test_chinese_words_are_found_whole(answer: str, accepted: str, right: bool) -> None:
    assert contains(answer, [accepted]) is right


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("| 位置 | 胎压（bar） |\n|---|---|\n| 前轮 | 2.3 |", "2.3bar", True),
        ("| 位置 | 胎压（bar） |\n|---|---|\n| 前轮 | 2.3 |", "2.3kPa", False),
        ("额定电压/V：220；额定功率/W：1800", "1800V", False),
        ("尺寸（单位：mm）：长200，宽100", "100mm", True),
    ],
)
def test_a_unit_said_once_counts_for_its_column_or_line(answer: str, accepted: str, right: bool) -> None:
    assert contains(answer, [accepted]) is right


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("苹果和香蕉", "苹果、香蕉", True),
        ("香蕉、苹果、梨", "苹果、香蕉", True),
        ("只有苹果", "苹果、香蕉", False),
        ("没有香蕉，只有苹果", "苹果、香蕉", False),
    ],
)
def test_an_accepted_list_is_said_when_all_of_it_is(answer: str, accepted: str, right: bool) -> None:
    assert contains(answer, [accepted]) is right


def test_importing_the_judge_loads_none_of_its_libraries() -> None:
    heavy = {"pint", "cn2an", "opencc", "rjieba", "text_to_num", "torch"}
    code = f"import sys, rerankops.evaluation.judge; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
