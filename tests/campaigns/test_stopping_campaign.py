"""Everything that is started ends with its starter, and the next start works, at length: `make campaign`.

The demo on a real Elasticsearch node, and the first use of MLflow, are stopped at random moments by SIGTERM and by
SIGKILL. `pytest -s` shows the moments and how long the end took. RERANKOPS_TEST_MOMENTS: how many of each (20).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from stopped_starts import Command, demo, first_use_of_mlflow

MOMENTS = int(os.environ.get("RERANKOPS_TEST_MOMENTS", "20"))
LONGEST = 3600.0
QUICK = {
    "ENCODER__MAX_LENGTH": "96",
    "TRAINING__MAX_LENGTH": "64",
    "TRAINING__EPOCHS": "1",
    "ANNOTATION__SELECTION__POOL_QUERIES": "100",
    "ANNOTATION__SELECTION__BUDGET_TASKS": "420",
    "EVALUATION__LATENCY_QUESTIONS": "3",
}
pytestmark = [
    pytest.mark.campaign,
    pytest.mark.timeout(12 * 3600),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes in /proc"),
]


def in_full(command: Command) -> float:
    """Seconds that it takes when nobody stops it."""
    began = time.monotonic()
    assert command.run(LONGEST) == 0
    return time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_demo_ends_whole_and_starts_again(tmp_path: Path, number: signal.Signals) -> None:
    place, log = tmp_path / "demo", tmp_path / "demo.log"
    command = demo(place, log, **QUICK)
    whole = in_full(command)
    draw = random.Random(number)
    for count in range(MOMENTS):
        if count % 5 == 0:  # from nothing; in between it goes on where it was stopped
            shutil.rmtree(place)
        moment = draw.uniform(0.5, whole)
        took = command.stopped(moment, number)
        print(
            f"\n{number.name} after {moment:.1f} of {whole:.0f} s: {'had ended' if took is None else f'{took:.1f} s'}"
        )
        if count % 5 == 4:
            assert command.run(LONGEST) == 0, log.read_text(errors="replace")[-3000:]
            assert command.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_first_use_of_mlflow_may_be_stopped_anywhere(tmp_path: Path, number: signal.Signals) -> None:
    whole = in_full(first_use_of_mlflow(tmp_path / "whole"))
    draw = random.Random(number)
    for count in range(MOMENTS):
        command = first_use_of_mlflow(tmp_path / str(count))
        moment = draw.uniform(whole / 2, whole)  # before that it imports
        command.stopped(moment, number)
        assert command.run(LONGEST) == 0, f"{number.name} after {moment:.2f} of {whole:.2f} s"
