"""What an annotator sees, and what is kept from it."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

import pytest

from rerankops.annotation.label_studio.template import instructions, labelling_interface, marked, query_terms, task_data

TASK = {"task_id": "t", "query_text": "后备箱容积", "passage_title": "行李厢", "passage_text": "容积 450 升"}


def found(query: str, text: str) -> list[str]:
    return re.findall(r"<mark[^>]*>(.*?)</mark>", marked(text, query_terms(query)))


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("后备箱容积多大", "车辆后备箱的容积为450升", ["后备箱", "容积"]),
        ("如何更换机油", "更换机油机滤，机油每年更换", ["更换机油", "机油", "更换"]),
        ("胎压报警 TPMS", "tpms 点亮，TPMS传感器", ["tpms", "TPMS"]),
        ("boot volumes", "The boot's volume, rebooted", ["boot", "volume"]),
        ("胎压2.3bar", "前轮 2.3bar，后轮 ２.３ＢＡＲ", ["2.3bar", "２.３ＢＡＲ"]),
        ("水", "水温、热水器、冷却液", ["水", "水"]),
        ("the of", "the end of it", []),
        ("机油", "", []),
        ("", "机油", []),
    ],
)
def test_what_the_query_and_the_passage_share_is_marked_as_bm25_sees_it(
    query: str, text: str, expected: list[str]
) -> None:
    assert found(query, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<mark>",
        "a & b < c",
        "\"x' onload=1",
        "机油<b>机油</b>",
        "&lt;机油",
        "ﬁ 机油\n两行",
        "İ机油",
    ],
)
def test_marking_changes_no_character_and_lets_no_markup_through(text: str) -> None:
    shown = marked(text, query_terms("机油 script b lt"))
    assert set(re.findall(r"<[^>]*>", shown)) <= {"<br>", "</mark>", shown[shown.find("<mark") : shown.find(">") + 1]}
    plain = re.sub(r"<(?!br)[^>]*>", "", shown).replace("<br>", "\n")
    assert html.unescape(plain) == text


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_interface_offers_the_four_grades_with_their_numbers_as_values(language: str) -> None:
    tree = ElementTree.fromstring(labelling_interface(language))  # noqa: S314 - our own
    choices = tree.find(".//Choices")
    assert choices is not None
    assert [(choice.get("alias"), choice.get("hotkey")) for choice in choices] == [(str(n), str(n)) for n in range(4)]
    assert (choices.get("toName"), choices.get("required")) == ("passage", "true")
    assert {tag.get("value") for tag in tree.iter("HyperText")} == {"$query_html", "$passage_html"}
    words = {"zh": "完整回答", "en": "answers fully"}[language]
    assert words in instructions(language)
    assert words in labelling_interface(language)


def test_a_tasks_data_are_the_task_and_its_two_texts_as_html() -> None:
    data = task_data(TASK)
    assert {name: data[name] for name in TASK} == TASK
    assert set(data) - set(TASK) == {"query_html", "passage_html"}
    assert "<mark" not in data["query_html"]
    assert "行李厢" in data["passage_html"]
    assert "font-weight" not in task_data(TASK | {"passage_title": " "})["passage_html"]
