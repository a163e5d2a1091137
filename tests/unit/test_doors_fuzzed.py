"""A sample, the same every time, of what tests/campaigns/test_fuzz_campaign.py sends through every door."""

from __future__ import annotations

from pathlib import Path

import fuzzed_doors
import pytest
from fuzzed_doors import KINDS, NAMED, TEXTS, bodies, files, inputs
from hypothesis import given

INPUTS = 30


@pytest.mark.parametrize("name", NAMED)
def test_whatever_arrives_at_a_door_is_read_set_aside_or_refused(name: str, tmp_path: Path) -> None:
    door = NAMED[name]

    @inputs(INPUTS, repeatable=True)
    @given(files(door))
    def each(arrived: fuzzed_doors.Arrived) -> None:
        fuzzed_doors.at_a_door(door, arrived, tmp_path)

    each()


@inputs(INPUTS, repeatable=True)
@given(bodies(), KINDS)
def test_whatever_a_model_server_sends_is_an_answer_or_none(content: bytes, kind: str) -> None:
    fuzzed_doors.from_a_server(content, kind)


@inputs(INPUTS, repeatable=True)
@given(TEXTS)
def test_whatever_a_text_holds_it_is_redacted_and_judged(texts: list[str]) -> None:
    fuzzed_doors.in_a_text(texts)
