"""What the loops share; each module has a `demo` of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rerankops.demo import runner
from rerankops.demo.dags import Dags


@pytest.fixture(scope="module")
def dags(demo: runner.Demo) -> Iterator[Dags]:
    """The process that runs the DAGs on a module's demo."""
    with demo.dags() as dags:
        yield dags
