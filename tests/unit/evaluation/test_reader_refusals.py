"""Questions without an answer: which are asked, what is taken out, and that a bolder reader shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from rerankops.evaluation import refusals
from rerankops.evaluation.readers import Asked, ExtractiveReader, Reply
from rerankops.records import GoldQuestion, Passage

TEXTS = {
    "s5": ("星澜 S5", "后备箱容积为450升。"),
    "copy": ("经销商手册", "星澜的后备箱有四百五十升。"),
    "titled": ("后备箱450升", "请看下表。"),
    "e3": ("辰光 E3", "后备箱容积为320升。"),
    "esp": ("星澜 S5", "长按ESP键三秒关闭ESP。"),
    "oil": ("星澜 S5", "机油容量为4.5升。"),
    "care": ("保养", "请保持车辆干净。"),
}
PASSAGES = Passage.table(
    {"passage_id": name, "title": title, "text": text, "metadata": []} for name, (title, text) in TEXTS.items()
)


def questions(*rows: tuple[str, str, list[str], list[str]]) -> pa.Table:
    return GoldQuestion.table(
        {"question_id": name, "text": text, "accepted_answers": accepted, "stratum": "all", "relevant_passage_ids": ids}
        for name, text, accepted, ids in rows
    )


GOLD = questions(
    ("boot", "星澜S5的后备箱容积", ["450L"], ["s5"]),
    ("esp", "怎么关闭ESP", ["长按ESP键"], ["esp"]),
    ("show", "有什么亮点", [], ["s5"]),
)
UNANSWERABLE = questions(("roof", "天窗能开多大", [], []))
RANKING = pa.table(
    {
        "query_id": ["boot"] * 6 + ["esp"] * 3 + ["show"] * 2 + ["roof"] * 3,
        "passage_id": ["s5", "copy", "e3", "titled", "oil", "esp", "esp", "oil", "s5", "s5", "oil", "oil", "e3", "esp"],
        "rank": [1, 2, 3, 4, 5, 6, 1, 2, 3, 1, 2, 1, 2, 3],
    }
)


def chosen(size: int = 10, *, gold: pa.Table = GOLD, seed: int = 1) -> refusals.RefusalQuestions:
    return refusals.choose(gold, UNANSWERABLE, RANKING, PASSAGES, size=size, seed=seed)


class Watching:
    """Refuses unless a passage names a boot's volume; keeps what it was shown."""

    can_refuse = True

    def __init__(self) -> None:
        self.shown: dict[str, list[str]] = {}

    def answers(self, asked: Sequence[Asked]) -> list[Reply]:
        self.shown |= {one.question_id: [text for _, text in one.passages] for one in asked}
        return [
            Reply(None, reason="cut: x") if "ESP" in one.question else
            Reply("320升") if any("后备箱" in text for _, text in one.passages) else Reply("no", refused=True)
            for one in asked
        ]  # fmt: skip


def test_named_passages_and_all_that_hold_an_accepted_answer_are_taken_out() -> None:
    found = chosen()
    taken = {(row["question_id"], row["passage_id"]) for row in found.taken.to_pylist()}
    assert taken == {("boot", "s5"), ("boot", "copy"), ("boot", "titled"), ("esp", "esp")}
    assert found.questions["question_id"].to_pylist()[0] == "roof"
    assert set(found.questions["question_id"].to_pylist()) == {"roof", "boot", "esp"}, "show has no accepted answers"
    assert found.questions.schema.equals(GoldQuestion.schema)


def test_the_reader_is_asked_on_what_then_stands_on_top() -> None:
    reader = Watching()
    found = chosen()
    ranking = refusals.left(found, RANKING)
    values = refusals.refused(found.questions, ranking, PASSAGES, reader, 2)
    assert reader.shown["boot"] == [TEXTS["e3"][1], TEXTS["oil"][1]]
    assert reader.shown["roof"] == [TEXTS["oil"][1], TEXTS["e3"][1]]
    by_question = dict(zip(found.questions["question_id"].to_pylist(), values, strict=True))
    assert by_question["boot"] == 0.0, "another car's boot made it bold"
    assert by_question["roof"] == 0.0
    assert np.isnan(by_question["esp"]), "no answer could be had: neither"
    timid = refusals.refused(found.questions, ranking, PASSAGES, reader, 1)
    assert dict(zip(found.questions["question_id"].to_pylist(), timid, strict=True))["roof"] == 1.0


def test_a_ranking_that_puts_confident_nonsense_first_makes_a_reader_bolder() -> None:
    reader = ExtractiveReader(60, 0.85, refuse_below=0.15)
    found = chosen()
    rows = [
        {"query_id": question, "passage_id": passage, "rank": rank}
        for question in ("boot", "esp", "roof")
        for rank, passage in enumerate(("care", "e3"), start=1)
    ]
    rankings = (refusals.left(found, RANKING), pa.Table.from_pylist(rows))
    bold, careful = (np.mean(refusals.refused(found.questions, one, PASSAGES, reader, 1)) for one in rankings)
    assert bold < careful == 1.0


def test_the_sample_is_seeded_and_stays_when_gold_grows() -> None:
    rows = [(f"q{n}", f"问题{n}", ["450L"], []) for n in range(40)]
    first, second = questions(*rows[:30]), questions(*rows)

    def drawn(gold: pa.Table, seed: int = 1) -> list[str]:
        return chosen(10, gold=gold, seed=seed).questions["question_id"].to_pylist()[1:]

    assert len(drawn(first)) == 10
    assert drawn(first) == drawn(first) != drawn(first, 2)
    assert len(set(drawn(first)) & set(drawn(second))) >= 5
    assert drawn(questions(*rows[::-1])) == drawn(second)
    assert chosen(0).questions["question_id"].to_pylist() == ["roof"], "0: none, but those that people marked stay"


def test_nothing_to_ask_is_an_empty_array() -> None:
    none = refusals.choose(GOLD, GoldQuestion.empty(), RANKING, PASSAGES, size=0, seed=1)
    assert refusals.left(none, RANKING).num_rows == 0
    assert refusals.refused(none.questions, RANKING, PASSAGES, Watching(), 2).shape == (0,)
    assert refusals.summary(np.array([])) is None


def test_what_is_left_keeps_its_order_and_columns() -> None:
    scored = RANKING.append_column("score", pa.array(np.arange(14.0)))
    kept = refusals.left(chosen(), scored)
    assert kept.schema.equals(scored.schema)
    assert kept["score"].to_pylist() == [2, 4, 5, 7, 8, 11, 12, 13], "show was not chosen"
    assert refusals.left(chosen(0), scored).equals(scored.slice(11))


def test_a_question_whose_candidates_are_all_taken_is_a_refusal() -> None:
    only = RANKING.slice(0, 2)
    found = refusals.choose(GOLD, GoldQuestion.empty(), only, PASSAGES, size=5, seed=1)
    ranking = refusals.left(found, only)
    assert refusals.refused(found.questions, ranking, PASSAGES, Watching(), 2).tolist() == [1.0, 1.0]


def test_the_summary_counts_what_was_not_heard_apart() -> None:
    found = refusals.summary(np.array([1.0, 0.0, 1.0, np.nan]))
    assert found is not None
    assert (found["asked"], found["refused"], found["missing"]) == (4, 2, 1)
    assert found["share"] == pytest.approx(2 / 3)
    low, high = found["interval"]
    assert low < 2 / 3 < high
    assert refusals.summary(np.array([np.nan])) is None
