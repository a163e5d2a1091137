"""What text from outside may do on a screen, in a log and in JSON: nothing but be read."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from markdown_it import MarkdownIt

from rerankops.plain import LineFormatter, as_json, blanked, in_markdown, one_line, shown

STEERING = ["\x1b[2J", "\x9b31m", "\x1b]0;a title\x07", "safe\u202egnp.exe", "\r", "\x00", "\ud800", "\U000e0041"]


@pytest.mark.parametrize("text", STEERING)
def test_what_would_steer_is_written_out(text: str) -> None:
    assert shown(text).isprintable()
    assert shown(text).encode("utf-8")


@pytest.mark.parametrize("text", ["胎压 2.3 bar\n\t后轮", "[/INST] :smile:", "👩‍🔧", "é", "１２３"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert shown(text) == text


def test_a_line_of_a_log_cannot_be_forged() -> None:
    assert one_line("a\nERROR all is lost") == "a\\nERROR all is lost"
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "title %s", ("a\nERROR \x1b[31m",), None)
    assert LineFormatter("%(message)s").format(record) == "title a\\nERROR \\x1b[31m"


def test_a_trace_in_a_log_keeps_its_lines() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    said = LineFormatter("%(message)s").format(record)
    assert said.count("\n") >= 3
    assert "\x1b" not in said


@pytest.mark.parametrize("text", [*STEERING, 'quo"te\\ \n'])
def test_json_means_what_it_meant(text: str) -> None:
    said = as_json({text: [text]}, indent=1)
    assert json.loads(said) == {text: [text]}
    assert shown(said) == said


@pytest.mark.parametrize("text", STEERING)
def test_what_would_steer_can_be_left_blank(text: str) -> None:
    assert blanked(f"a{text}b").isprintable()
    assert blanked("胎压\n2.3") == "胎压\n2.3"


@pytest.mark.parametrize(
    "text",
    [
        "![](https://tracker.example/pixel)",
        "[click](javascript:alert(1))",
        "<img src=x onerror=alert(1)>",
        "`code` and ``more``",
        "a\n\n# heading",
        "\\[already escaped](x)",
    ],
)
def test_markdown_shows_a_text_and_makes_nothing_of_it(text: str) -> None:
    (token,) = MarkdownIt("gfm-like", {"linkify": False}).parseInline(in_markdown(text))
    assert {child.type for child in token.children} <= {"text", "text_special"}
    assert "".join(child.content for child in token.children) == one_line(" ".join(text.split()))
