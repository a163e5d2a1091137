"""The signs that a question is answered: what they count, and which way they point."""

from __future__ import annotations

import itertools

import pytest

from rerankops.evaluation.readers import ExtractiveReader
from rerankops.evaluation.readers.answerability import TITLED, UNTITLED, Signs, probability

READER = ExtractiveReader(max_answer_characters=120, rank_decay=0.85)
BOOT = ("云岭 峦途G52 | 行李厢", "行李厢容积为450升。")


def signs(question: str, *passages: tuple[str, str]) -> Signs:
    found = READER.signs(question, passages)
    assert found is not None
    return found


def test_what_is_asked_counts_as_told_by_the_sentence_or_its_title() -> None:
    assert signs("峦途G52的行李厢容积", BOOT).told == pytest.approx(1)
    assert 0 < signs("峦途G52的轴距", BOOT).told < 1
    assert signs("天窗颜色", BOOT).told == 0


def test_a_passage_about_something_else_is_told_by_its_title() -> None:
    mine, other = signs("峦途G52的行李厢容积", BOOT), signs("峦途G52的行李厢容积", ("栖月V86 | 行李厢", BOOT[1]))
    assert mine.about > other.about


@pytest.mark.parametrize(
    ("question", "lacking"),
    [
        ("峦途G52的行李厢容积", 0),
        ("峦途G32的行李厢容积", 1),
        ("G52 2024款行李厢容积", 0.5),
        ("450升的行李厢", 0),
        ("行李厢容积", 0),
        ("G5的行李厢", 1),
    ],
)
def test_years_numbers_and_models_that_the_passage_does_not_have_are_lacking(question: str, lacking: float) -> None:
    assert signs(question, BOOT).lacking == lacking


@pytest.mark.parametrize("title", ["", "…", "doc_00017.pdf", "第三章"])
def test_where_a_title_says_nothing_the_first_sentence_stands_in(title: str) -> None:
    text = "峦途G52行李厢说明。关闭尾门前请检查。"
    found = signs("怎么关闭尾门", (title, text))
    assert not found.titled
    assert found == signs("怎么关闭尾门", ("", text))


def test_a_title_in_the_question_counts_though_its_passage_does_not_repeat_it() -> None:
    assert signs("who wrote Dubliners", ("Dubliners", "It was written by James Joyce.")).titled


def test_every_sign_points_its_way() -> None:
    for titled, (told, about, lacking) in itertools.product((True, False), itertools.product((0, 0.4, 0.9), repeat=3)):
        here = probability(Signs(told, about, lacking, titled))
        assert 0 < here < 1
        assert probability(Signs(told + 0.1, about, lacking, titled)) > here
        assert probability(Signs(told, about + 0.1, lacking, titled)) > here
        assert probability(Signs(told, about, lacking + 0.1, titled)) < here
    assert TITLED != UNTITLED


def test_neither_rank_nor_what_else_is_shown_at_other_ranks_makes_it_surer() -> None:
    filler = [("", "没有内容。")] * 4
    question = "峦途G52的行李厢容积"
    assert signs(question, BOOT, *filler) == signs(question, *filler, BOOT)


def test_without_any_text_there_are_no_signs() -> None:
    assert READER.signs("行李厢", []) is None
    assert READER.signs("行李厢", [("行李厢", " ")]) is None


@pytest.mark.parametrize("question", ["", "？", "的", "the", "多少", "🙂", "\u200b", "a"])
def test_a_question_that_asks_nothing_is_not_told(question: str) -> None:
    assert probability(signs(question, BOOT)) < 0.18
