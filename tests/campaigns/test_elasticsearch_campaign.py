"""What tests/integration/elasticsearch/test_faults.py samples, at length: `make campaign`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from elasticsearch_node import running
from faults import World, load_serve_and_search_through, load_through_deaths, search_through_a_death
from proxies import FAULTS

if TYPE_CHECKING:
    from local_elasticsearch import Cluster

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3600)]
WORLD = World.of(3000, 60, seed=1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_network_that_spoils_changes_nothing(elasticsearch_url: str, kind: str, share: float, seed: int) -> None:
    load_serve_and_search_through(elasticsearch_url, WORLD, kind, share=share, seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_load_outlives_a_node_that_is_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    deaths = random.Random(seed).choices(range(1, 30), k=5)
    with running(tmp_path) as cluster:
        load_through_deaths(cluster.nodes[0], WORLD, deaths)


@pytest.mark.parametrize("victim", [0, 1, 2] * 2)
def test_searches_go_on_whichever_of_three_nodes_dies(three_nodes: Cluster, victim: int) -> None:
    search_through_a_death(three_nodes, WORLD, victim)
