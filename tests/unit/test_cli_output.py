"""What commands print is text, whatever it holds."""

from __future__ import annotations

import io

import pytest
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from rerankops.cli.output import TextConsole

HOSTILE = ["[/INST] <<SYS>>", "[bold]", "[/]", "[link=https://example.org]x[/link]", ":warning:", "\x1b[2J", "a\u202eb"]


def printed(renderable: object) -> str:
    screen = TextConsole(file=io.StringIO(), width=120, force_terminal=False)
    screen.print(renderable)
    said: str = screen.file.getvalue()  # type: ignore[attr-defined]
    return said


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("where", ["line", "cell", "title", "tree", "styled"])
def test_a_text_is_printed_as_it_is_wherever_it_stands(text: str, where: str) -> None:
    table = Table(title=text if where == "title" else None)
    table.add_column(text if where == "cell" else "a column wide enough for any of the titles that stand above it")
    table.add_row(text)
    shapes = {"line": text, "tree": Tree(text), "styled": Text.assemble("x ", (text, "bold"))}
    said = printed(shapes.get(where, table))
    assert text.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e") in said
    assert "\x1b" not in said
    assert "\u202e" not in said
