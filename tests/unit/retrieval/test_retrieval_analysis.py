"""Index terms, one case a line."""

from __future__ import annotations

import pytest

from rerankops.retrieval.analysis import terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("机油容量 4.5L", "机油 油容 容量 4.5 l"),
        ("车", "车"),
        ("胎压", "胎压"),
        ("ESP怎么关", "esp 怎么 么关"),
        ("ＥＳＰ　２．３bar", "esp 2.3 bar"),
        ("235/55 R18", "235 55 r18"),
        ("0W-20", "0w 20"),
        ("2.0T", "2.0 t"),
        ("P0420故障码", "p0420 故障 障码"),
        ("X5和X7", "x5 和 x7"),
        ("胎压，多少？", "胎压 多少"),
        ("snake_case", "snake case"),
        ("how to open the hood", "how open hood"),
        ("Tyres and tyre", "tyre tyre"),
        ("batteries, boxes, gas, bus, glass, shoes", "battery boxe gas bus glass shoe"),
        ("it is in the boot", "boot"),
        ("Größe", "größe"),
        ("㐀豈", "㐀豈"),
        ("", ""),
        ("。？ -- 🚗", ""),
    ],
)
def test_text_becomes_terms(text: str, expected: str) -> None:
    assert terms(text) == expected.split()


def test_a_term_of_a_passage_is_found_by_the_same_words_in_a_query() -> None:
    passage = terms("长按按键三秒可以关闭 ESP。Tyres: 2.3bar")
    assert set(terms("esp 关闭 tyre 2.3")) <= set(passage)
