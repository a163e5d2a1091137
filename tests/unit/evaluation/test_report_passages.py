"""Which part of a passage is shown, and what is marked in it."""

from __future__ import annotations

import pytest

from rerankops.evaluation.report.passages import ROOM, snippet


@pytest.mark.parametrize(
    ("text", "accepted", "marked"),
    [
        ("后备箱容积为450升，放倒后座为1200升。", ["450L"], "450升"),
        ("后备箱容积为四百五十升，放倒后座更大。", ["450升"], "四百五十升"),
        ("机油容量为14.5升，差速器0.9升。", ["4.5升"], ""),
        ("机油容量为14.5升。差速器4.5 L。", ["4.5升"], "4.5 L"),
        ("The tank holds 450 litres of fuel.", ["450 L"], "450 litres"),
        ("Press the ESP OFF button.", ["esp off"], "ESP OFF"),
        ("Model X15 and 5 doors", ["5"], "5"),
        ("Model X15 only", ["5"], ""),
        ("先踩下制动，再长按<ESP OFF>键。", ["没有的", "长按<ESP OFF>键"], "长按<ESP OFF>键"),
        ("İstanbul'da 450 L", ["450 L"], "450 L"),
        ("什么也没有说。", ["450升"], ""),
        ("", ["450升"], ""),
        ("没有接受的答案。", [], ""),
    ],
)
def test_the_accepted_answer_is_marked_where_it_stands_however_it_is_written(
    text: str, accepted: list[str], marked: str
) -> None:
    found = snippet(text, accepted)
    assert found.answer == marked
    assert found.before + found.answer + found.after == text, "a short passage is shown whole"


def test_an_answer_across_sentences_is_found_in_a_short_text() -> None:
    assert snippet("需要 4.5。\n升的机油不够。先热车；再熄火。", ["先热车再熄火"]).answer == "先热车；再熄火"


def test_of_a_long_passage_the_surroundings_of_the_answer_are_shown() -> None:
    text = "废话。" * 900 + "后备箱容积为450升。" + "后话。" * 900
    found = snippet(text, ["450 L"])
    assert found.answer == "450升"
    assert found.before.startswith("…")
    assert found.before.endswith("后备箱容积为")
    assert found.after.endswith("…")
    assert len(found.before + found.answer + found.after) <= ROOM + 2
    start = snippet(text, ["没有"])
    assert (start.answer, start.after) == ("", "")
    assert start.before == text[:ROOM] + "…"


def test_an_answer_longer_than_the_room_is_cut() -> None:
    answer = "先" * 900
    found = snippet(f"{answer}。", [answer])
    assert len(found.answer) == ROOM
