"""One bit of one byte flipped, anywhere in a finished workspace or a registered version: is it noticed, is it promoted?

The sample in tests/integration/promotion and the campaign in tests/campaigns are the same code with other numbers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promotion_trials import DECIDED, PROMOTED, Trials
from promotion_world import NEXT

from rerankops.errors import RerankopsError
from rerankops.pipeline import incumbent, models, promotion
from rerankops.pipeline.answers import StoredAnswers
from rerankops.pipeline.context import Context

JSON_DOCUMENTS = ("decision.json", "ladder.json")
SECONDS_EACH = 40.0
"""That a flip may take, with the promotions that are tried after it, before the trial is given up."""


@dataclass
class Found:
    """noticed: flips that reading what they are in told of, by what that is; passed_over: the others; tried: flips in
    what a decision rests on, or a version is, after which promoting it was tried; promoted: where that went well."""

    noticed: Counter[str] = field(default_factory=Counter)
    passed_over: list[str] = field(default_factory=list)
    tried: int = 0
    promoted: list[str] = field(default_factory=list)

    def note(self, path: Path, kind: str, error: RerankopsError | None) -> None:
        if error is None:
            self.passed_over.append(str(path))
        else:
            assert "\n" not in str(error)
            self.noticed[kind] += 1


def in_a_workspace(trials: Trials, count: int, seed: int) -> Found:
    """Flips in artefacts, references and kept answers, of a workspace with a decision that waits to be carried out."""
    trials.restore(DECIDED)
    return _flipped_in(trials, count=count, seed=seed, decision=trials.decisions[NEXT])


def in_a_version(trials: Trials, count: int, seed: int) -> Found:
    """Flips in the files of the version that served before the champion, which is then made champion again."""
    trials.restore(PROMOTED)
    return _flipped_in(trials, count=count, seed=seed)


def flips(here: Context, count: int, seed: int, decision: str) -> dict[str, Any]:
    """In a process of its own, since MLflow keeps connections to a database of which trials put another in its place:
    `in_a_workspace` when there is a decision, `in_a_version` otherwise. Returns the fields of Found."""
    draw = random.Random(seed)
    found = _in_the_workspace(here, decision, count, draw) if decision else _in_the_version(here, count, draw)
    return vars(found)


def _flipped_in(trials: Trials, **asked: Any) -> Found:
    with trials.nursery.child("flip", state=str(trials.state), llm=trials.llm, **asked) as child:
        told = child.answer(asked["count"] * SECONDS_EACH)
    return Found(**{**told, "noticed": Counter(told["noticed"])})


def _in_the_workspace(here: Context, decision: str, count: int, draw: random.Random) -> Found:
    found = Found()
    root = Path(here.workspace.root.path)
    rests_on = set(here.workspace.lineage(decision))
    before = incumbent.registry(here).state()
    for path in _drawn([root / name for name in ("objects", "refs", "answers")], count, draw):
        parts = path.relative_to(root).parts
        with _flipped(path, draw):
            found.note(path, parts[0], _read(here, parts))
            if parts[0] == "objects" and f"{parts[1]}/{parts[2]}" in rests_on:
                found.tried += 1
                if _error(lambda: promotion.promote(decision, context=here)) is None:
                    found.promoted.append(str(path))
    assert incumbent.registry(here).state() == before
    return found


def _in_the_version(here: Context, count: int, draw: random.Random) -> Found:
    found, book = Found(), incumbent.registry(here)
    version = book.previous()
    assert version
    model = book.fetch(version.version).parents[1]
    before = book.state()
    for path in _drawn([model, *(model.parent / name for name in JSON_DOCUMENTS)], count, draw):
        with _flipped(path, draw):
            if path.name in JSON_DOCUMENTS and path.parent == model.parent:
                error = _error(lambda path=path: book.document(version.version, path.name))
                found.note(path, "documents", error)
                continue
            found.note(path, "versions", _error(lambda: book.fetch(version.version)))
            found.tried += 2
            for move in (
                lambda: models.roll_back("users complain", actor="test", context=here),
                lambda: models.promote_by_hand(version.version, "users complain", actor="test", context=here),
            ):
                if _error(move) is None:
                    found.promoted.append(str(path))
    assert book.state() == before
    return found


def _drawn(places: Sequence[Path], count: int, draw: random.Random) -> Iterator[Path]:
    """Files, each kind of artefact as often as the others, whatever the number and size of its files."""
    files = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*")))]
    groups: dict[str, list[Path]] = {}
    for path in files:
        if path.is_file() and path.stat().st_size and path.name != "registered_model_meta":
            groups.setdefault(f"{path.parts[-3]}/{path.suffix}", []).append(path)
    for _ in range(count):
        yield draw.choice(groups[draw.choice(sorted(groups))])


@contextmanager
def _flipped(path: Path, draw: random.Random) -> Iterator[None]:
    whole = path.read_bytes()
    place = draw.randrange(len(whole))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
    try:
        yield
    finally:
        path.write_bytes(whole)


def _read(here: Context, parts: Sequence[str]) -> RerankopsError | None:
    """What the next reading of a file says, None when it says nothing."""
    if parts[0] == "refs":
        return _error(lambda: here.workspace.require("/".join(parts[1:]).removesuffix(".json"), ""))
    if parts[0] == "answers":
        key = parts[-1].removesuffix(".json")
        return None if StoredAnswers(here.workspace).get(key) else RerankopsError("it is asked for again")

    def read() -> None:
        with here.workspace.local_folder(f"{parts[1]}/{parts[2]}"):
            pass

    return _error(read)


def _error(do: object) -> RerankopsError | None:
    """An error that a person can act on; any other one is a failure of the test."""
    try:
        do()  # type: ignore[operator]
    except RerankopsError as error:
        return error
    return None
