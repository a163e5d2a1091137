"""What a model says in the end: thinking, fences and marks taken off, and never a text that does not count."""

from __future__ import annotations

import pytest

from rerankops.llm import Answer, NoAnswer
from rerankops.llm.final import final, unfenced
from rerankops.llm.replies import SHOWN

THOUGHT_BEFORE = {
    "nothing thought": "450 l",
    "empty block": "<think>\n\n</think>\n\n450 l",
    "a block": "<think>\nIs it 500?\n</think>\n450 l",
    "a block whose opening the template wrote": "Is it 500?\n</think>\n450 l",
    "two blocks": "<think>a</think>\n<think>b</think>450 l",
    "a block that names its own mark": "<think>I am in <think>.</think>450 l",
    "other words for it": "<Thinking>a</Thinking>450 l",
    "square brackets": "[THINK]a[/THINK]450 l",
    "channels": "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>450 l<|return|>",
    "an end mark": "450 l<|im_end|>",
}


@pytest.mark.parametrize("text", THOUGHT_BEFORE.values(), ids=THOUGHT_BEFORE)
def test_thinking_before_an_answer_is_left_out(text: str) -> None:
    assert final(Answer(text, "stop", 1)).text == "450 l"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<think>450 l", "unreadable"),
        ("a</think>b</think>450 l", "unreadable"),
        ("500 l <think>no</think> 450 l", "unreadable"),
        ("500 l\n<think>", "unreadable"),
        ("<think>450 l</think>", "empty"),
        ("450 l</think>", "empty"),
        ("<|im_end|>", "empty"),
        ("<think>" * 50_000, "unreadable"),
        ("<think></think>" * 50_000, "empty"),
    ],
    ids=lambda value: value[:40],
)
def test_thinking_that_cannot_be_told_from_an_answer_is_no_answer(text: str, kind: str) -> None:
    found = final(Answer(text, "stop", 1))
    assert (found.text, found.kind) == (None, kind)
    assert "enable_thinking" in found.reason or kind == "empty"


@pytest.mark.parametrize(
    ("answer", "kind", "setting"),
    [
        (Answer("450", "length", 1), "cut", "reader.max_tokens"),
        (Answer("<think>450", "length", 1), "cut", "enable_thinking"),
        (Answer("", "MAX_TOKENS", 1, reasoning="450"), "cut", "enable_thinking"),
        (Answer("", "stop", 1, reasoning="450"), "empty", "enable_thinking"),
        (Answer("", "stop", 1), "empty", "llm.structured_output"),
        (Answer("No.", "refusal", 1), "declined", "llm.model"),
        (Answer("[]", "tool_calls", 1), "tool", "tool_choice"),
        (Answer("450", "content_filter", 1), "filtered", "filter"),
        (Answer("450", "who knows", 1), "stopped", "who knows"),
        (NoAnswer("budget", "spent"), "budget", "spent"),
    ],
)
def test_where_there_is_no_answer_its_kind_and_the_setting_that_helps_are_named(
    answer: Answer | NoAnswer, kind: str, setting: str
) -> None:
    found = final(answer, "reader.max_tokens")
    assert (found.text, found.kind) == (None, kind)
    assert setting in found.reason


def test_a_reply_is_shown_in_full_up_to_a_limit_with_what_was_thought() -> None:
    assert final(Answer("", "stop", 1, reasoning="450 l?")).reply == "(thinking, sent apart) 450 l?\n(answer) "
    shown = final(Answer("x" * (SHOWN + 5), "length", 1)).reply
    assert shown == "x" * SHOWN + "… (5 more characters)"


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("```json\n{}\n```", "{}"), ("```JSON\n{}```", "{}"), ("~~~\n{}\n~~~", "{}"), ("``` \n{}\n```", "{}"),
        ("Here:\n```\n{}\n```", "Here:\n```\n{}\n```"), ("```\n{}\n```\n```\n[]\n```", "```\n{}\n```\n```\n[]\n```"),
        ("{}", "{}"),
    ],
)  # fmt: skip
def test_only_a_text_that_is_one_code_block_as_a_whole_is_taken_out_of_it(text: str, inside: str) -> None:
    assert unfenced(text) == inside
