"""What tests/integration/promotion/test_promotion_faults.py samples, at length: `make campaign`.

200 processes and more that evaluate and promote are killed at random; 100 pairs promote at the same moment, and some
on a tracking server; the disk is full wherever it can be. `pytest -s` shows what was hit.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from promotion_jobs import PHASES
from promotion_trials import BASE, Trials, prepared
from tracking_server import TrackingServer

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    with prepared(tmp_path_factory.mktemp("promotion")) as made:
        yield made


def test_two_hundred_kills(trials: Trials) -> None:
    draw = random.Random(6)
    for _ in range(16):
        for phase in PHASES:
            trials.killed_in(phase, draw)
    for number in range(len(trials.writes)):
        for side in ("before", "after"):
            trials.killed_by_call(number, side)
    for _ in range(20):
        trials.killed_at(draw.random(), draw.random())
    while trials.tally.kills.total() < 200:
        trials.killed_at(draw.random())
    print(f"\n{trials.tally}")
    assert min(trials.tally.kills[phase] for phase in PHASES) >= 8


def test_rollbacks_that_are_killed(trials: Trials) -> None:
    draw = random.Random(9)
    calls = [(number, side) for number in range(len(trials.rollback_writes)) for side in ("before", "after")]
    for number, side in calls:
        assert trials.rollback_killed_by_call(number, side)
    cut = sum(trials.rollback_killed_at(draw.random()) for _ in range(30))
    print(f"\nrollbacks killed: {len(calls)} at calls that write, {cut} of 30 at random moments")
    assert cut >= 15


def test_a_hundred_pairs_at_once(trials: Trials) -> None:
    draw = random.Random(7)
    won = Counter(trials.race() for _ in range(100))
    came_first = Counter(trials.race_with_rollback(later=draw.uniform(0, 2)) for _ in range(40))
    print(f"\nof two promotions {dict(won)} won; of a promotion and a rollback {dict(came_first)} came first")


def test_pairs_at_once_on_a_tracking_server(trials: Trials, tracking_server: TrackingServer) -> None:
    won = Counter(
        trials.race_on(
            {"tracking_uri": tracking_server.url, "model_name": f"pair {number}", "experiment": f"pair {number}"}
        )
        for number in range(20)
    )
    print(f"\non PostgreSQL and S3 {dict(won)} won")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file system of its own, which only root can mount")
def test_a_disk_that_is_full_at_any_point(trials: Trials) -> None:
    """Workspace and registry lie on a file system with room for a part of what a retraining writes; then it grows."""
    draw, told = random.Random(8), Counter[str]()
    with file_system(trials.state) as resize:
        trials.restore(BASE)
        before = occupied(trials.state)
        assert trials.attempted() is None
        needed = occupied(trials.state) - before
        for _ in range(40):
            trials.restore(BASE)
            resize(occupied(trials.state) + round(needed * draw.random()))
            error = trials.attempted()
            told[type(error).__name__ if error else "nothing"] += 1
            if error:
                assert re.search("no room|no space|disk", str(error), re.IGNORECASE), repr(error)
            resize(LARGE)
            assert trials.attempted() is None
            found = trials.run("inspect")
            assert (found["champion"], found["problems"]) == ("2", [])
            assert all(version["same"] for version in found["versions"].values())
    print(f"\na full disk was told as {dict(told)}")
    assert told.total() - told["nothing"] >= 30


LARGE = 256 << 20


@contextmanager
def file_system(place: Path) -> Iterator[Callable[[int], None]]:
    """A file system in memory at a folder, which is emptied. Yields what gives it so many bytes."""
    shutil.rmtree(place)
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", str(place)], check=True)

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", str(place)], check=True)


def occupied(place: Path) -> int:
    """Bytes of the file system that are in use."""
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize
