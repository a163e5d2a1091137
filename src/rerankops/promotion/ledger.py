"""The ledger of a registered model: every move of its champion, numbered, each written once and never changed.

MLflow has no transaction over aliases, and no compare-and-set. It has one thing that is as good: a run's parameter
cannot be changed once it is logged (its store has a primary key on run and name), so that of all who log parameter
`move.000007` one succeeds, however many machines they are on, and everybody can read who did. That is a consensus
object (Herlihy, "Wait-free synchronization", 1991); a numbered row of them is a log that writers agree on. A move
names the state that follows from it, and is made against the state before it: whoever writes number n + 1 has seen
number n.

It holds for MLflow's database stores (SQLite, PostgreSQL, MySQL, SQL Server), directly or behind a tracking server. It
needs no clock and no lease, and a request that arrives late, after its sender gave up, does no harm: its number is
taken, or nothing has happened since it was sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from rerankops.errors import RerankopsError, ServerRefused, ServerUnavailable
from rerankops.promotion.tracking import Absent, Tracking

_MOVE = "move."
_LONGEST = 5500
"""Characters of a move; MLflow cuts a parameter at 6,000 without a word."""


@dataclass(frozen=True)
class Move:
    """One entry. champion, previous: versions after it, "" for none. before: the champion before it.

    action: promote, rollback, retire (the champion's version was deleted in MLflow: there is none any more), reject (a
    version that passed is turned down), lapse (nobody answered whether to promote
    it; nothing moves with either), found (the state when the ledger began) or restore (an alias had been moved from
    outside and was put back). version: what it is about.
    actor, reason: who or what, and why. key: what makes a repetition of the same request known as one.
    forced: a person promoted a version that had not passed the gate.
    """

    number: int
    action: str
    version: str
    champion: str
    previous: str
    before: str
    reason: str
    actor: str
    key: str = ""
    forced: bool = False
    at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    id: str = field(default_factory=lambda: uuid4().hex)

    def text(self) -> str:
        """The parameter's value; the reason is cut to what fits."""
        values = asdict(self) | {"reason": " ".join(self.reason.split())[:2000]}
        while len(text := json.dumps(values, ensure_ascii=False)) > _LONGEST and values["reason"]:
            values["reason"] = values["reason"][: len(values["reason"]) // 2]
        return text


class Ledger:
    """The moves kept in one run."""

    def __init__(self, tracking: Tracking, run_id: str) -> None:
        self._tracking, self.run_id = tracking, run_id

    def moves(self) -> tuple[Move, ...]:
        """Oldest first. Raises ServerRefused when somebody deleted the run for good."""
        try:
            run = self._tracking.get_run(self.run_id)
        except Absent as error:
            raise ServerRefused(
                f"{error}. Run {self.run_id} held the record of all promotions; restore it from a backup, or remove "
                "the tag rerankops.ledger from the registered model to begin a new one with the aliases as they are"
            ) from error
        if run.info.run_id != self.run_id:
            raise self._tracking.garbled(f"run {self.run_id}")
        return read(run.data.params)

    def append(self, move: Move) -> bool:
        """Whether it is the one that got its number. What counts is what is read back, not what the request said.

        Raises ServerUnavailable when that could not be read; the same request can be made again.
        """
        failure: RerankopsError | None = None
        try:
            self._tracking.log_param(self.run_id, f"{_MOVE}{move.number:06d}", move.text(), synchronous=True)
        except (ServerRefused, ServerUnavailable) as error:
            failure = error
        try:
            there = next((other for other in self.moves() if other.number == move.number), None)
        except ServerUnavailable as error:
            raise ServerUnavailable(f"{error}; until then it is not known whether the champion moved") from error
        if there is None:
            raise failure or self._tracking.garbled(f"move {move.number}")
        return there.id == move.id


def read(params: dict[str, str]) -> tuple[Move, ...]:
    """The moves among a run's parameters, oldest first."""
    names: Iterable[str] = sorted(name for name in params if name.startswith(_MOVE))
    known = Move.__dataclass_fields__
    found: list[dict[str, Any]] = [json.loads(params[name]) for name in names]
    return tuple(Move(**{key: value for key, value in values.items() if key in known}) for values in found)
