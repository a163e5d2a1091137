"""Files from outside: what is read, and the file and line of everything that cannot be."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from rerankops.config import load
from rerankops.errors import InputError, SettingsError
from rerankops.queries.sources import read_corpus, read_gold, table_rows

HOW = load(environ={}).reading
PASSAGE = {"passage_id": "p1", "title": "胎压", "text": "前轮2.3bar"}
GOLD = {"question_id": "g1", "text": "胎压多少", "accepted_answers": ["2.3bar"]}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_places(location: object) -> list[tuple[str, dict[str, Any]]]:
    return [(str(place), row) for place, row, _ in table_rows(str(location), HOW, setting="sources.corpus")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


# -- lines and files


def test_every_line_comes_with_its_place(file: Path) -> None:
    file.write_text('{"a": 1}\n\n  \n{"a": "胎\u2028压"}\r\n{"a": 3}', encoding="utf-8", newline="")
    assert read_places(file) == [(f"{file}:1", {"a": 1}), (f"{file}:4", {"a": "胎\u2028压"}), (f"{file}:5", {"a": 3})]


def test_a_folder_is_read_in_the_order_of_names_and_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "2.jsonl").write_text('{"n": 2}')
    (tmp_path / "1.jsonl.gz").write_bytes(gzip.compress(b'{"n": 1}\n'))
    (tmp_path / "3.jsonl").write_text('{"n": 3}\n')
    (tmp_path / "README.md").write_text("not JSON")
    (tmp_path / "0.jsonl.part").write_text("not JSON")
    assert [row["n"] for _, row in read_places(tmp_path)] == [1, 2, 3]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(b"\xef\xbb\xbf" + lines(PASSAGE).encode())
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + lines(PASSAGE).encode()))
    assert [row for _, row in read_places(tmp_path)] == [PASSAGE, PASSAGE]


def test_an_object_store_is_read_alike() -> None:
    root = UPath(f"memory://{uuid.uuid4().hex}")
    root.mkdir()
    (root / "a.jsonl").write_text(lines(PASSAGE))
    assert [row for _, row in read_places(root)] == [PASSAGE]
    assert [row for _, row in read_places(root / "a.jsonl")] == [PASSAGE]


@pytest.mark.parametrize("name", ["", "absent", "absent.jsonl", "empty"])
def test_nothing_there_names_the_setting(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "stray.jsonl").write_text("{}")
    with pytest.raises(SettingsError, match=r"sources\.corpus (is '|names nothing)"):
        read_places(name)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b'{"a": 1}\n{"a": 2\n{"a": 3}\n', 2, "not valid JSON"),
        (b'{"a": 1}\nfree text\n', 2, "not valid JSON"),
        (b'{"a": 1}\n\n[1, 2]\n', 3, "expected an object, found list"),
        (b'{"a": 1}\n"text"\n', 2, "expected an object, found str"),
        (b'{"a": 1}{"a": 2}\n', 1, "not valid JSON"),
        (b'{"a": 1}\n{"a": "\xff"}\n', 2, "neither UTF-8 nor GB18030"),
        (b'{"a": 1}\n{"a": "\\ud83d"}\n', 2, "half of a surrogate pair"),
        (b'{"a": 1}\n{"\\uDC00": 1}\n', 2, "half of a surrogate pair"),
        (b'{"a": 1}\n' + b'{"a":' * 100_000 + b"\n", 2, "nested deeper than 64 levels"),
        (b'{"a": ' + b"9" * 5000 + b"}\n", 1, "not valid JSON"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, content: bytes, line: int, said: str) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    for bad in (plain, packed):
        with pytest.raises(InputError, match=f"^{re.escape(str(bad))}:{line}: .*{said}") as error:
            read_places(bad)
        assert "\n" not in str(error.value)


def test_a_whole_surrogate_pair_is_text(file: Path) -> None:
    file.write_bytes(b'{"a": "\\ud83d\\ude97"}\n')
    assert read_places(file)[0][1] == {"a": "🚗"}


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-9], lambda data: data[: len(data) // 2], lambda data: data[:5]],
    ids=["trailer gone", "half", "header"],
)
def test_a_damaged_gzip_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    bad = tmp_path / "a.jsonl.gz"
    bad.write_bytes(damage(gzip.compress(lines(*[PASSAGE] * 50).encode())))
    with pytest.raises(InputError, match=r"a\.jsonl\.gz cannot be read: .*is it complete\?"):
        read_places(bad)


# -- the corpus


def test_a_corpus_is_read_whatever_its_identifier_is_called(file: Path) -> None:
    file.write_text(
        lines(
            PASSAGE,
            {"doc_id": "p2", "text": "x", "metadata": {"year": 2024, "model": "X5", "trim": None}},
            {"_id": "p3", "text": "", "title": None},
        )
    )
    assert read_corpus(str(file), HOW).to_pylist() == [
        {**PASSAGE, "metadata": []},
        {"passage_id": "p2", "title": "", "text": "x", "metadata": [("model", "X5"), ("year", "2024")]},
        {"passage_id": "p3", "title": "", "text": "", "metadata": []},
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"passage_id": None}, "passage_id is missing"),
        ({"passage_id": ""}, "passage_id is empty"),
        ({"passage_id": 7.5}, "passage_id is the number 7.5; is it an identifier"),
        ({"passage_id": "p0"}, r"passage_id 'p0' was already given in .*a\.jsonl:1"),
        ({"text": None}, "text is missing"),
        ({"text": ["x"]}, "text must be text, found list"),
        ({"title": ["x"]}, "title must be text, found list"),
        ({"metadata": ["x"]}, "metadata must be an object, found list"),
    ],
)
def test_a_bad_passage_is_named_by_file_and_line(file: Path, changes: dict[str, Any], said: str) -> None:
    file.write_text(lines({**PASSAGE, "passage_id": "p0"}, {**PASSAGE, **changes}))
    with pytest.raises(InputError, match=f"^{re.escape(str(file))}:2: {said}"):
        read_corpus(str(file), HOW)


def test_a_corpus_without_passages_is_refused(file: Path) -> None:
    file.write_text("")
    with pytest.raises(InputError, match=r"sources\.corpus .*a\.jsonl holds no passages"):
        read_corpus(str(file), HOW)


# -- gold


def test_gold_is_read_with_answers_or_passages_or_both(file: Path) -> None:
    other = {"query_id": "g2", "text": "b", "answers": [4.5, "4.5升"], "relevant_doc_ids": ["p1"], "stratum": "numeric"}
    last = {"_id": "g3", "text": "c", "relevant_passage_ids": ["p1", "p2"], "relevant_grades": [3, 2]}
    file.write_text(lines(GOLD, other, last))
    rest = {"stratum": "all", "relevant_passage_ids": [], "relevant_grades": None}
    assert read_gold(str(file), HOW).to_pylist() == [
        {**GOLD, **rest},
        {"question_id": "g2", "text": "b", "accepted_answers": ["4.5", "4.5升"], "stratum": "numeric"}
        | {"relevant_passage_ids": ["p1"], "relevant_grades": None},
        {"question_id": "g3", "text": "c", "accepted_answers": [], "stratum": "all"}
        | {"relevant_passage_ids": ["p1", "p2"], "relevant_grades": [3, 2]},
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question_id": None}, "question_id is missing"),
        ({"question_id": "g0"}, r"question_id 'g0' was already given in .*a\.jsonl:1"),
        ({"text": None}, "text is missing"),
        ({"accepted_answers": []}, "a gold question needs accepted_answers or relevant_passage_ids"),
        ({"accepted_answers": "2.3bar"}, "accepted_answers must be a list, found str"),
        ({"accepted_answers": [None]}, "accepted_answers must hold texts, found NoneType"),
        ({"accepted_answers": [True]}, "accepted_answers must hold texts, found bool"),
        ({"relevant_passage_ids": "p1"}, "relevant_passage_ids must be a list, found str"),
        ({"relevant_passage_ids": [True]}, "relevant_passage_ids must hold texts or whole numbers, found bool"),
        ({"relevant_passage_ids": ["p1"], "relevant_grades": [3, 2]}, "relevant_grades must be one of"),
        ({"relevant_passage_ids": ["p1"], "relevant_grades": [4]}, "relevant_grades must be one of"),
        ({"relevant_passage_ids": ["p1"], "relevant_grades": 3}, "relevant_grades must be one of"),
        ({"stratum": 5}, "stratum must be text, found int"),
    ],
)
def test_a_bad_gold_question_is_named_by_file_and_line(file: Path, changes: dict[str, Any], said: str) -> None:
    file.write_text(lines({**GOLD, "question_id": "g0"}, {**GOLD, **changes}))
    with pytest.raises(InputError, match=f"^{re.escape(str(file))}:2: {said}"):
        read_gold(str(file), HOW)


def test_gold_without_questions_is_refused(file: Path) -> None:
    file.write_text("")
    with pytest.raises(InputError, match=r"sources\.gold .* holds no questions"):
        read_gold(str(file), HOW)
