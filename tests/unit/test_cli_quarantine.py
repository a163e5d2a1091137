"""`rerankops quarantine …`: what it prints, and what it refuses with one line and status 2."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from quarantined_deliveries import EACH, QUERIES, Place

from rerankops import cli
from rerankops.pipeline.models import signed

Finished = tuple[int, str, str]


@pytest.fixture(scope="module")
def one_waits(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("waiting")).begin()
    place.incomplete()
    return place


@pytest.fixture
def place(one_waits: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in [name for name in os.environ if name.startswith("RERANKOPS")]:
        monkeypatch.delenv(name)
    here = one_waits.copied(tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RERANKOPS__WORKSPACE__ROOT", str(here.workspace.root))
    return here


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    def run(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["rerankops", "quarantine", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def waiting(run: Callable[..., Finished]) -> str:
    found = re.search(r"^ *([0-9a-f]{8}) ", run("list")[1], re.MULTILINE)
    assert found
    return found[1]


def test_list_shows_what_waits_and_links_the_page(place: Place, run: Callable[..., Finished]) -> None:
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert "one.jsonl" in out
    assert "waiting" in out
    assert "33.3% of the annotations asked for" in " ".join(out.split())
    page = re.search(r"Page: (\S+)", out)
    assert page
    assert Path(page[1]).is_file()


def test_show_tells_everything_and_its_links_can_be_opened(place: Place, run: Callable[..., Finished]) -> None:
    code, out, _ = run("show", waiting(run))
    assert code == 0
    assert "one.jsonl: waiting" in out
    assert "Reasons" in out
    assert "completeness 0.3333" in out
    links = dict(re.findall(r"^(reasons|Data Docs|raw file): (\S+)$", out, re.MULTILINE))
    assert set(links) == {"reasons", "Data Docs", "raw file"}
    assert all(Path(path).is_file() for path in links.values())


def test_a_release_is_told_with_what_comes_next_and_leaves_the_list(place: Place, run: Callable[..., Finished]) -> None:
    which = waiting(run)
    code, out, _ = run("release", which, "--by", "Li Na", "--reason", "read a sample")
    assert code == 0
    assert "one.jsonl is released: quarantine_decisions/" in out
    assert f"{QUERIES * EACH} annotations of it count" in out
    assert "Next: rerankops ingest" in out
    _, out, _ = run("list")
    assert "Nothing waits for a decision." in out
    assert "1 decided or superseded: --all" in out
    assert f"released by {signed('Li Na')}" in run("list", "--all")[1]
    assert "because: read a sample" in run("show", which)[1]
    assert "was already released" in run("release", which, "--by", "Li Na", "--reason", "read a sample")[1]


def test_the_opposite_decision_is_one_line_and_status_2_until_it_overrules(
    place: Place, run: Callable[..., Finished]
) -> None:
    which = waiting(run)
    assert run("reject", which, "--by", "Li Na", "--reason", "guesses")[0] == 0
    code, out, err = run("release", which, "--by", "Wang", "--reason", "no guesses")
    assert (code, out) == (2, "")
    by = re.escape(signed("Li Na"))
    assert re.fullmatch(rf"rerankops: one.jsonl \(.*\) was rejected by {by} on .* \(guesses\); .*overrule that\n", err)
    code, out, _ = run("release", which, "--by", "Wang", "--reason", "no guesses", "--overrule")
    assert (code, "is released" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "zz"], "rerankops: 'zz' names no delivery; give four or more of the characters"),
        (["show", "00000000"], "rerankops: no quarantined delivery is '00000000'"),
        (["reject", "00000000", "--by", "me", "--reason", "why"], "rerankops: no quarantined delivery is '00000000'"),
    ],
)
def test_what_is_not_there_is_one_line_and_status_2(
    place: Place, run: Callable[..., Finished], arguments: list[str], message: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(message)


@pytest.mark.parametrize("missing", ["--by", "--reason"])
def test_a_decision_without_somebody_or_a_reason_is_not_taken(
    place: Place, run: Callable[..., Finished], missing: str
) -> None:
    which, given = waiting(run), {"--by": "Li Na", "--reason": "why"}
    given.pop(missing)
    code, _, err = run("release", which, *[word for pair in given.items() for word in pair])
    assert code == 2
    assert missing in err
    assert waiting(run) == which


def test_words_in_brackets_are_printed_as_they_are(place: Place, run: Callable[..., Finished]) -> None:
    which = waiting(run)
    assert run("reject", which, "--by", "[bold]me[/bold]", "--reason", "see [1]")[0] == 0
    out = run("show", which)[1]
    assert f"rejected by {signed('[bold]me[/bold]')}" in out
    assert "because: see [1]" in out
