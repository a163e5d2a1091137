"""The registry on a tracking server with PostgreSQL and S3: the whole life of a version, and promotions from several
machines at once, which share nothing but the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import mlflow
import pandas as pd
import psycopg
import pytest
from registered_rankers import record
from tracking_server import TrackingServer

from rerankops.errors import ArtefactDamaged, PromotionRefused
from rerankops.promotion.registry import Registry
from rerankops.scoring.ranker import Ranker

Machine = Callable[[str], Registry]


@pytest.fixture
def machine(tracking_server: TrackingServer, tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    """The registry as one machine sees it: with a lock file of its own."""

    def machine(name: str) -> Registry:
        return Registry(
            tracking_server.url,
            request.node.name,
            "rerankops",
            tmp_path / name / "registry.lock",
            request_timeout=30,
            transfer_timeout=60,
            retries=1,
        )

    return machine


def aliases(registry: Registry) -> dict[str, str]:
    found = registry._client.get_registered_model(registry.model_name).aliases
    return {name: str(number) for name, number in found.items()}


def test_a_version_lives_on_postgresql_and_s3(
    machine: Machine, tracking_server: TrackingServer, cascade: Path, ranker: Path, tmp_path: Path
) -> None:
    here, there = machine("here"), machine("there")
    assert here.champion() is None
    first, second = record(here, ranker, "one"), record(here, cascade, "two")
    here.promote("1", None, "first", actor="here")
    there.promote("2", "1", "second", actor="there")
    assert aliases(here) == {"champion": "2", "previous": "1"}
    names = [name for name in tracking_server.objects() if f"/{second.run_id}/" in name]
    assert any(name.endswith("artifacts/ranker/cross_encoder/model.safetensors") for name in names)
    assert not any(f"/{first.run_id}/" in name for name in names)

    fetched = there.fetch("2", tmp_path / "served")
    assert Ranker.load(fetched).depth == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking_server.url)
        mlflow.set_tracking_uri(tracking_server.url)
        model = mlflow.pyfunc.load_model(f"models:/{here.model_name}@champion", dst_path=str(tmp_path))
        rows = pd.DataFrame({"query": ["trunk volume"] * 2, "passage": ["450 litres", "2 3 bar"]})
        assert sorted(model.predict(rows)["rank"]) == [1, 2]
        mlflow.set_tracking_uri(None)

    assert there.rollback("worse on voice queries", actor="an operator").version == "1"
    assert here.champion().version == "1"
    assert aliases(here) == {"champion": "1", "previous": "2"}
    assert [(move["action"], move["actor"]) for move in here.audit()] == [
        ("promote", "here"),
        ("promote", "there"),
        ("rollback", "an operator"),
    ]


def test_a_version_that_was_changed_in_the_bucket_is_not_handed_out(
    machine: Machine, tracking_server: TrackingServer, ranker: Path, tmp_path: Path
) -> None:
    import boto3

    registry = machine("here")
    run = record(registry, ranker, "one").run_id
    keys = tracking_server.keys
    client = boto3.client(
        "s3",
        endpoint_url=tracking_server.s3_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    (name,) = (name for name in tracking_server.objects() if f"/{run}/" in name and name.endswith("/ranker.json"))
    text = client.get_object(Bucket=tracking_server.bucket, Key=name)["Body"].read()
    client.put_object(Bucket=tracking_server.bucket, Key=name, Body=text.replace(b"1.0", b"2.0"))
    with pytest.raises(ArtefactDamaged, match="not those that were registered"):
        registry.fetch("1", tmp_path / "served")


def test_of_promotions_from_several_machines_at_once_one_wins_each_time(machine: Machine, ranker: Path) -> None:
    machines = [machine(f"machine {number}") for number in range(3)]
    for number in range(1, 5):
        record(machines[0], ranker, f"decision {number}")
    machines[0].promote("1", None, "first", actor="test")
    champion, ready = "1", threading.Barrier(3)
    for _ in range(4):
        challengers = [number for number in ("1", "2", "3", "4") if number != champion]

        def attempt(registry: Registry, number: str, expected: str = champion) -> str | None:
            ready.wait()
            try:
                return registry.promote(number, expected, "race", actor=number).version
            except PromotionRefused:
                return None

        with ThreadPoolExecutor(3) as pool:
            won = [number for number in pool.map(attempt, machines, challengers) if number]
        assert len(won) == 1
        assert {registry.champion().version for registry in machines} == set(won)
        assert aliases(machines[0])["champion"] == won[0]
        assert aliases(machines[0])["previous"] == champion
        champion = won[0]
    moves = machines[0].audit()
    assert [move["number"] for move in moves] == list(range(1, 6))
    assert all(after["before"] == before["champion"] for before, after in pairwise(moves))
    assert {move["action"] for move in moves} == {"promote"}


@pytest.mark.parametrize("between", ["INSERT", "DELETE"])
def test_an_alias_that_another_machine_writes_at_the_same_moment_is_set_all_the_same(
    machine: Machine, tracking_server: TrackingServer, ranker: Path, between: str
) -> None:
    registry = machine("here")
    name = registry.model_name
    for number in (1, 2):
        record(registry, ranker, f"decision {number}")
    client = registry._client
    if between == "DELETE":
        client.set_registered_model_alias(name, "previous", "1")
        statement = "DELETE FROM registered_model_aliases WHERE name = %(name)s"
    else:
        statement = (
            "INSERT INTO registered_model_aliases (workspace, name, alias, version) "
            "VALUES ('default', %(name)s, 'previous', 1)"
        )
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(tracking_server.database) as other, ThreadPoolExecutor(1) as pool:
        other.execute(statement, {"name": name})
        setting = pool.submit(client.set_registered_model_alias, name, "previous", "2")
        with psycopg.connect(tracking_server.database, autocommit=True) as looking:
            deadline = time.monotonic() + 30
            while looking.execute(waiting).fetchone() == (0,):
                assert time.monotonic() < deadline, "MLflow never waited for the row"
                time.sleep(0.02)
        other.commit()
        setting.result(timeout=30)
    assert aliases(registry)["previous"] == "2"


def test_machines_that_meet_a_new_model_at_once_keep_one_ledger(machine: Machine, ranker: Path) -> None:
    machines = [machine(f"machine {number}") for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        recorded = list(pool.map(lambda pair: record(pair[1], ranker, f"decision {pair[0]}"), enumerate(machines)))
    assert sorted(there.version for there in recorded) == ["1", "2", "3"]
    assert len({registry.state().run_id for registry in machines}) == 1
    machines[0].promote("1", None, "first", actor="test")
    assert machines[2].champion().version == "1"
