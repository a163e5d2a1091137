"""What tests/unit/test_doors_fuzzed.py samples, at length and with other inputs every time: `make campaign`.

An input that a door does not stand is printed with what repeats it. RERANKOPS_TEST_INPUTS: how many for each door
(1,500: 12,000 files, with 1,500 replies of model servers and as many texts).
"""

from __future__ import annotations

import os
from pathlib import Path

import fuzzed_doors
import pytest
from fuzzed_doors import KINDS, NAMED, TEXTS, bodies, files, in_bounds, inputs
from hypothesis import given

INPUTS = int(os.environ.get("RERANKOPS_TEST_INPUTS", "1500"))
pytestmark = [pytest.mark.campaign, pytest.mark.timeout(4 * 3600)]


@pytest.mark.parametrize("name", NAMED)
def test_whatever_arrives_at_a_door_is_read_set_aside_or_refused(name: str, tmp_path: Path) -> None:
    door = NAMED[name]

    @inputs(INPUTS, repeatable=False)
    @given(files(door))
    def each(arrived: fuzzed_doors.Arrived) -> None:
        fuzzed_doors.at_a_door(door, arrived, tmp_path)

    with in_bounds():
        each()


def test_whatever_a_model_server_sends_is_an_answer_or_none() -> None:
    @inputs(INPUTS, repeatable=False)
    @given(bodies(), KINDS)
    def each(content: bytes, kind: str) -> None:
        fuzzed_doors.from_a_server(content, kind)

    with in_bounds():
        each()


def test_whatever_a_text_holds_it_is_redacted_and_judged() -> None:
    each = inputs(INPUTS, repeatable=False)(given(TEXTS)(fuzzed_doors.in_a_text))
    with in_bounds():
        each()
