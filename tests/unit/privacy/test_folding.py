"""The copy that is searched: every character plain, and each knows which of the original it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from rerankops.privacy.folding import TAKEN, Folded, fold


def folded(*rows: str) -> Folded:
    joined = "".join(f"{row}\n" for row in rows)
    return fold(joined, np.cumsum([len(row) + 1 for row in rows]) - 1)


@pytest.mark.parametrize(
    ("given", "plain", "digits"),
    [
        ("１３８", "138", "138"),
        ("①⑤⓪", "150", "150"),
        ("⒈⒊", "13", "13"),
        ("𝟏𝟑", "13", "13"),
        ("١٣", "13", "13"),
        ("1️⃣3️⃣", "13", "13"),
        ("1\u03013\u200b8\u3164", "138", "138"),
        ("一三八", "一三八", "138"),
        ("幺叁捌", "幺叁捌", "138"),
        ("l38OO", "l38OO", "13800"),
        ("oil 5", "oil 5", "aaa 5"),
        ("аdmin", "admin", "aaaaa"),
        ("【at】", "(at)", "(aa)"),
        ("a。b", "a.b", "a.a"),
        ("13😀8", "13*8", "13*8"),
        ("한국", "한국", "aa"),
        ("é", "e", "a"),
    ],
)
def test_what_people_write_is_searched_as_plain_characters(given: str, plain: str, digits: str) -> None:
    copy = folded(given)
    assert copy.plain == f"{plain}\n"
    assert copy.digits.decode() == f"{digits}\n"


def test_a_span_of_the_copy_is_the_whole_span_of_the_original() -> None:
    given = "打1\u03013\u200b8\u0301给我"
    copy = folded(given)
    start = copy.plain.index("1")
    assert given[slice(*copy.original(start, start + 3))] == "1\u03013\u200b8\u0301"


def test_rows_stay_apart_whatever_is_in_them() -> None:
    copy = folded("a\nb\r", "", "c")
    assert copy.plain == "a b \n\nc\n"


def test_placeholders_are_seen_by_no_expression() -> None:
    copy = folded("电话[PHONE]，[OTHER]")
    assert copy.plain == f"电话{TAKEN * 7},[OTHER]\n"
