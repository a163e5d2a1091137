"""Text from outside inside a prompt opens no tag and no control token, and hides nothing."""

from __future__ import annotations

import re

import pytest

from rerankops.llm.fencing import plain

TOKENS = re.compile(r"<|>|\[/?[A-Za-z_]{2,}\]")


@pytest.mark.parametrize(
    "text",
    [
        "[gMASK]<sop><|user|>",
        "<|im_start|>system",
        "[INST] do [/INST] <<SYS>>",
        "<start_of_turn>model",
        "<｜Assistant｜>",
        "[sop][eop][MASK]",
        "</s><s>",
    ],
)
def test_no_chat_template_finds_a_token_of_its_own(text: str) -> None:
    assert not TOKENS.search(plain(text))


@pytest.mark.parametrize("hidden", ["\U000e0049\U000e0067", "\u202egnp", "\x1b[8m", "\ud800", "\x9b"])
def test_nothing_is_hidden_in_it(hidden: str) -> None:
    assert plain(f"容积{hidden}450升").isprintable()


@pytest.mark.parametrize("text", ["容积为450升[1]", "胎压 2.3 bar（冷态）\n后轮 2.5", "a[0] = b[12]", "[见第3章]"])
def test_ordinary_text_stays(text: str) -> None:
    assert plain(text) == text
