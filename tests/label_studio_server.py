"""A real Label Studio for tests. A conftest.py that wants the fixture imports it by name:

    from label_studio_server import label_studio

    __all__ = ["label_studio"]

`label_studio` is one server for the whole run, shared by all who import it, so batches need names of their own. It may
be killed, and whoever kills it starts it again. RERANKOPS_TEST_LABEL_STUDIO_URL and RERANKOPS_LABEL_STUDIO_TOKEN name
one that runs already; then tests that kill it, or need more accounts, are skipped. Where no server can be started, the
tests fail and say why.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from local_stack import free_port

if TYPE_CHECKING:
    from local_label_studio import Server

GIVEN = "RERANKOPS_TEST_LABEL_STUDIO_URL"
TOKEN = "RERANKOPS_LABEL_STUDIO_TOKEN"
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
PEOPLE = {f"annotator-{name}@localhost.localdomain": f"secret-{name}-of-a-test" for name in ("a", "b", "c")}
_SHARED = pytest.StashKey["LabelStudio"]()


@dataclass(frozen=True)
class LabelStudio:
    """url, token: of an administrator, personal. legacy_token: the same account's. people: legacy tokens of annotators.
    server: to kill and start; None for one that was given."""

    url: str
    token: str
    legacy_token: str | None
    people: tuple[str, ...]
    server: Server | None

    def own(self) -> Server:
        if self.server is None:
            pytest.fail(f"the server that {GIVEN} names is not ours to stop or to add accounts to; unset it")
        return self.server


def script() -> ModuleType:
    """scripts/local_label_studio.py, which is a program and in no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return importlib.import_module("local_label_studio")


@pytest.fixture(scope="session")
def label_studio(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> LabelStudio:
    if given := os.environ.get(GIVEN):
        if not os.environ.get(TOKEN):
            pytest.fail(f"{GIVEN} is set and {TOKEN} is not", pytrace=False)
        return LabelStudio(given.rstrip("/"), os.environ[TOKEN], None, (), None)
    if _SHARED not in pytestconfig.stash:  # each conftest that imports this fixture has one of its own
        local = script()
        server = local.Server(tmp_path_factory.mktemp("label-studio"), free_port())
        pytestconfig.add_cleanup(server.stop)
        try:
            server.start()
            people = server.add_users(PEOPLE)
        except local.LabelStudioError as problem:
            pytest.fail(str(problem), pytrace=False)
        known = server.credentials
        pytestconfig.stash[_SHARED] = LabelStudio(
            server.url, known["token"], known["legacy_token"], tuple(people.values()), server
        )
    return pytestconfig.stash[_SHARED]
