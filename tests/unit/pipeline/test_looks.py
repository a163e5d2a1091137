"""What a look at gold costs and which questions it leaves: over versions of gold, processes at once and deaths."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
from gold_looks import (
    TEXTS,
    compared_before_looks_were_stored,
    gold,
    here,
    look,
    look_and_die_at_every_point,
    look_in_a_process,
)

from rerankops.errors import ArtefactDamaged
from rerankops.pipeline.context import Context
from rerankops.pipeline.looks import LOOKS, looks, standing

ALPHA = 0.05
LEVELS = (ALPHA / 2, ALPHA / 4, ALPHA / 8)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return here(tmp_path, alpha=ALPHA)


def levels(context: Context) -> list[float]:
    return [found.level for found in looks(context)]


def renumbered() -> dict[str, str]:
    """The same questions under one another's ids."""
    return dict(zip(TEXTS, [*list(TEXTS.values())[1:], next(iter(TEXTS.values()))], strict=True))


def test_the_first_look_decides_on_every_question_and_shows_those_outside_the_reserve(context: Context) -> None:
    found = look(context, gold(context))
    assert (found.number, found.level) == (1, LEVELS[0])
    assert found.decided == set(TEXTS)
    assert 0 < len(found.shown) < len(TEXTS) / 2


def test_the_second_look_decides_on_what_no_report_has_shown_and_shows_nothing_more(context: Context) -> None:
    questions = gold(context)
    first, second, third = (look(context, questions, name) for name in ("one", "two", "three"))
    assert second.decided == third.decided == set(TEXTS) - first.shown
    assert second.shown == third.shown == first.shown
    assert levels(context) == pytest.approx(LEVELS)


def test_the_same_evaluation_is_one_look_however_often_it_is_begun(context: Context) -> None:
    questions = gold(context)
    first = look(context, questions)
    look(context, questions, "two")
    again = look(context, questions)
    assert (again.number, again.level, again.decided) == (first.number, first.level, first.decided)
    assert len(looks(context)) == 2


def test_what_was_spent_is_not_priced_again(context: Context, tmp_path: Path) -> None:
    questions = gold(context)
    look(context, questions)
    look(here(tmp_path, alpha=0.2), questions, "two")
    assert levels(context) == pytest.approx([0.025, (0.2 - 0.025) / 2])


@pytest.mark.parametrize(
    "changed",
    [
        {**TEXTS, "q000": "Which tyre presure does trim 0 of the car have ?"},
        renumbered(),
        {f"new-{name}": text for name, text in TEXTS.items()},
        {f"new-{name}": f"{text.upper()}?!" for name, text in TEXTS.items()},
        {name: f"Put in quite other words: {name}" for name in TEXTS},
    ],
    ids=["a corrected typo", "renumbered", "other ids", "other ids and spelling", "other words, the same ids"],
)
def test_questions_that_are_the_same_go_on_with_what_is_left(context: Context, changed: dict[str, str]) -> None:
    look(context, gold(context))
    assert levels(context) == [LEVELS[0]]
    look(context, gold(context, changed), "two")
    assert levels(context) == pytest.approx(LEVELS[:2])


def test_a_typo_that_is_corrected_under_another_id_makes_no_new_question(context: Context) -> None:
    look(context, gold(context, {"q1": "这辆车的后备相在放倒后排座椅以后容积一共是多少升"}))
    corrected = gold(context, {"n1": "这辆车的后备箱在放倒后排座椅以后容积一共是多少升？"})
    assert look(context, corrected, "two").level == pytest.approx(LEVELS[1])


def test_other_answers_and_passages_change_nothing(context: Context) -> None:
    first = look(context, gold(context))
    second = look(context, gold(context, accepted_answers=["9"], relevant_passage_ids=["p9"]), "two")
    assert second.level == pytest.approx(LEVELS[1])
    assert second.decided == set(TEXTS) - first.shown


def test_a_question_that_was_held_back_stays_so_under_another_id(context: Context) -> None:
    first = look(context, gold(context))
    second = look(context, gold(context, renumbered()), "two")
    texts = dict(zip(second.questions["question_id"], second.questions["text"], strict=True))
    assert {texts[name] for name in second.shown} == {TEXTS[name] for name in first.shown}
    assert {texts[name] for name in second.decided} == {TEXTS[name] for name in set(TEXTS) - first.shown}


def test_new_questions_buy_back_what_their_share_of_the_decision_is(context: Context) -> None:
    first = look(context, gold(context))
    fresh = {f"n{number}": f"新问题{number}：{'甲乙丙丁戊己庚辛壬癸'[number % 10]}型车怎么保养" for number in range(30)}
    second = look(context, gold(context, TEXTS | fresh), "two")
    old = len(TEXTS) - len(first.shown)
    assert len(second.decided) == old + len(fresh)
    assert second.level == pytest.approx((ALPHA - LEVELS[0] * old / (old + len(fresh))) / 2)
    assert second.shown - first.shown <= set(fresh)
    assert set(fresh) - second.shown


def test_questions_that_were_removed_are_not_counted(context: Context) -> None:
    first = look(context, gold(context))
    kept = dict(list(TEXTS.items())[:20])
    second = look(context, gold(context, kept), "two")
    assert second.decided == set(kept) - first.shown
    assert second.level == pytest.approx(LEVELS[1])


def test_other_questions_start_anew(context: Context) -> None:
    look(context, gold(context))
    other = {f"n{number}": f"新问题{number}" for number in range(8)}
    assert look(context, gold(context, other), "two").level == pytest.approx(LEVELS[0])


def test_questions_that_are_nearly_the_same_are_shown_or_held_back_together(context: Context) -> None:
    texts = {}
    for number, what in enumerate(
        ("制动液", "变速箱油", "冷却液", "机油滤芯", "火花塞", "空调滤芯", "蓄电池", "雨刮片")
    ):
        texts |= {f"a{number}": f"更换{what}的周期是多少公里", f"b{number}": f"更换{what}的周期是多少公里呢"}
    found = look(context, gold(context, texts))
    assert 0 < len(found.shown) < len(texts)
    assert {name[1:] for name in found.shown if name[0] == "a"} == {name[1:] for name in found.shown if name[0] == "b"}


def test_questions_that_are_the_same_by_way_of_a_third_are_held_back_together(context: Context) -> None:
    texts = {}
    for number, what in enumerate(("trunk", "tank", "engine", "battery", "cabin", "cup", "roof", "door")):
        texts |= {f"a{number}": f"what is the {what} volume", f"b{number}": f"{what} volume"}
        texts |= {f"c{number}": f"how {what} volume"}
    found = look(context, gold(context, texts))
    assert 0 < len(found.shown) < len(texts)
    kept = {letter: {name[1:] for name in found.shown if name[0] == letter} for letter in "abc"}
    assert kept["a"] == kept["b"] == kept["c"]


def test_words_for_one_thing_are_those_of_the_settings(tmp_path: Path) -> None:
    context = here(tmp_path, reserve_share=0.0)
    tree = context.settings.model_dump(mode="json")
    tree["queries"]["synonyms"] = [["尊享包", "豪华套餐"]]
    context = context.with_settings(tree)
    look(context, gold(context, {"a": "尊享包多少钱", "b": "胎压多少"}))
    second = look(context, gold(context, {"n": "豪华套餐多少钱", "m": "油箱容积多少"}), "two")
    assert second.decided == {"m"}, "what was shown of 尊享包 was shown of 豪华套餐"


def test_without_a_reserve_a_second_look_has_nothing_to_decide_on(tmp_path: Path) -> None:
    context = here(tmp_path, reserve_share=0.0)
    questions = gold(context)
    assert look(context, questions).shown == set(TEXTS)
    assert look(context, questions, "two").decided == set()


def test_with_everything_in_reserve_nothing_is_ever_shown(tmp_path: Path) -> None:
    context = here(tmp_path, reserve_share=1.0)
    questions = gold(context)
    found = [look(context, questions, name) for name in ("one", "two")]
    assert [each.shown for each in found] == [set(), set()]
    assert found[1].decided == set(TEXTS)


def test_a_smaller_reserve_shows_nothing_that_was_held_back_before(tmp_path: Path) -> None:
    first = look(here(tmp_path, reserve_share=0.7), gold(here(tmp_path)))
    second = look(here(tmp_path, reserve_share=0.1), gold(here(tmp_path)), "two")
    assert second.shown == first.shown


def test_comparisons_from_before_looks_were_stored_count_at_their_own_alpha(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, now = here(tmp_path, alpha=0.1), here(tmp_path, alpha=ALPHA)
    questions = gold(old)
    first = compared_before_looks_were_stored(old, questions, "old")
    found = looks(now)
    assert [(each.number, each.evaluation, each.level) for each in found] == [(0, first, 0.1)]
    assert found[0].decided == found[0].shown == set(TEXTS)
    new = {"n1": "新问题一", "n2": "另一个新问题"}
    with caplog.at_level(logging.INFO, "rerankops"):
        second = look(now, gold(now, TEXTS | new), "two")
    assert second.decided == set(new)
    assert "1 comparison(s) from before looks were stored count at the alpha of their own settings (0.1)" in caplog.text
    assert standing(now, questions, looks(now)).questions["decided"].sum() == 0


def clean_processes() -> Any:
    """Processes without the threads that this one has started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rerankops.pipeline.training"])
    return context


def test_of_looks_at_once_each_counts_those_before_it(tmp_path: Path, context: Context) -> None:
    processes, names = clean_processes(), ["one", "one", "two", "three"]
    barrier = processes.Barrier(len(names))
    running = [processes.Process(target=look_in_a_process, args=(str(tmp_path), name, barrier)) for name in names]
    for process in running:
        process.start()
    for process in running:
        process.join(timeout=300)
    assert [process.exitcode for process in running] == [0] * len(names)
    found = looks(context)
    assert [each.number for each in found] == [1, 2, 3]
    assert {each.evaluation for each in found} == {f"evaluations/{name}" for name in names}
    assert levels(context) == pytest.approx(LEVELS)


@pytest.mark.parametrize("damaged", ["refs", "manifest.json", "document.json", "everything"])
def test_a_look_that_cannot_be_read_says_what_can_be_done(context: Context, damaged: str) -> None:
    questions = gold(context)
    look(context, questions)
    workspace = context.workspace
    root = Path(workspace.root.path)
    folder = root / "objects" / workspace.require(f"{LOOKS}/000001", "")
    if damaged == "everything":
        shutil.rmtree(folder)
    else:
        path = root / "refs" / LOOKS / "000001.json" if damaged == "refs" else folder / damaged
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        ArtefactDamaged, match=r"record 'looks/000001' cannot be read: .*; no step makes it again: "
    ) as caught:
        looks(context)
    for said in ("looks/000001.json", "from a backup, or delete both, and freeze new gold questions"):
        assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "run its step" not in str(caught.value)
    shutil.rmtree(folder, ignore_errors=True)
    (root / "refs" / LOOKS / "000001.json").unlink()
    assert looks(context) == []
    assert look(context, questions).number == 1


def test_a_look_that_is_killed_anywhere_is_one_look_when_it_is_tried_again(tmp_path: Path) -> None:
    process = clean_processes().Process(target=look_and_die_at_every_point, args=(str(tmp_path),))
    process.start()
    process.join(timeout=300)
    assert process.exitcode == 0
    folders = sorted(tmp_path.iterdir(), key=lambda folder: int(folder.name))
    assert len(folders) > 8
    recorded = []
    for folder in folders:
        context = here(folder)
        recorded.append(len(context.workspace.refs(LOOKS)))
        assert look(context, gold(context), "killed").number == 1
        assert levels(context) == [context.settings.promotion.alpha / 2]
    assert set(recorded) == {0, 1}
