"""What tests/integration/promotion and tests/integration/workspace sample, at length: `make campaign`.

200 bytes are flipped in a finished workspace and 200 in a registered version, one at a time; and two processes run each
DAG's steps at the same moment on an S3 workspace, fifty times. `pytest -s` shows what was hit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import flipped_bytes
import pytest
from promotion_trials import Trials, prepared
from s3_server import S3Server
from two_at_once import Two, damaged

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(7200)]
FLIPS, ROUNDS = 200, 50


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    with prepared(tmp_path_factory.mktemp("promotion")) as made:
        yield made


def test_a_byte_flipped_anywhere_in_a_workspace_is_noticed_and_never_promoted(trials: Trials) -> None:
    found = flipped_bytes.in_a_workspace(trials, FLIPS, seed=13)
    print(f"\nworkspace: noticed {dict(found.noticed)}; {found.tried} promotions tried")
    assert (found.passed_over, found.promoted) == ([], [])
    assert found.noticed.total() == FLIPS


def test_a_byte_flipped_anywhere_in_a_version_is_noticed_and_never_promoted(trials: Trials) -> None:
    found = flipped_bytes.in_a_version(trials, FLIPS, seed=14)
    print(f"\nversion: noticed {dict(found.noticed)}; {found.tried} promotions tried")
    assert (found.passed_over, found.promoted) == ([], [])
    assert found.noticed.total() == FLIPS


def test_two_at_once_come_to_equal_results_round_after_round(s3: S3Server, tmp_path: Path) -> None:
    known: dict[str, dict[str, str]] = {}
    with Two(tmp_path, {**os.environ, **s3.environment}) as two:
        for number in range(ROUNDS):
            told = two.round(f"{s3.bucket()}/workspace")
            assert told.differ == [], f"round {number}"
            assert damaged(told.workspace) == [], f"round {number}"
            for address, files in told.contents().items():
                assert known.setdefault(address, files) == files, f"round {number}: {address}"
    print(f"\n{ROUNDS} rounds, {len(known)} artefacts that were the same in each")
