"""Who is champion, by the ledger, and the aliases that follow it; see promotion.registry for what they mean."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerankops.errors import ServerUnavailable
from rerankops.promotion import recording
from rerankops.promotion.ledger import Ledger, Move
from rerankops.promotion.tracking import Absent, Lock, Taken, Tracking

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"

_LEDGER = "rerankops.ledger"
_SETTLED = "rerankops.settled"
_TRIES = 50
log = logging.getLogger("rerankops")


@dataclass(frozen=True)
class State:
    """What MLflow says of a model. settled: number of the last move whose aliases were set."""

    aliases: Mapping[str, str]
    run_id: str | None
    moves: tuple[Move, ...]
    settled: int

    @property
    def head(self) -> Move | None:
        """The last move."""
        return self.moves[-1] if self.moves else None

    @property
    def champion(self) -> str:
        """Version, "" when there is none."""
        return self.head.champion if self.head else self.aliases.get(CHAMPION, "")

    @property
    def previous(self) -> str:
        """Version, "" when there is none."""
        return self.head.previous if self.head else self.aliases.get(PREVIOUS, "")

    def follows(self, champion: str, previous: str) -> bool:
        """Whether the aliases are at these versions, "" for none."""
        return (self.aliases.get(CHAMPION, ""), self.aliases.get(PREVIOUS, "")) == (champion, previous)

    def next(
        self, action: str, version: str, champion: str, reason: str, actor: str, key: str = "", forced: bool = False
    ) -> Move:
        """The move after the last one; when the champion changes, the old one becomes previous."""
        previous = self.champion if champion != self.champion else self.previous
        number = self.head.number + 1 if self.head else 1
        return Move(number, action, version, champion, previous, self.champion, reason, actor, key, forced)

    def done(self, action: str, key: str) -> bool:
        """Whether the request that the key names was carried out before."""
        return bool(key) and any(move.action == action and move.key == key for move in self.moves)

    def rejection(self, version: str) -> Move | None:
        """The rejection that is still the last word on a version."""
        about = [move for move in self.moves if move.version == version and move.action in {"promote", "reject"}]
        return about[-1] if about and about[-1].action == "reject" else None


class Succession:
    """Champions of one registered model. lock: keeps writers of this machine apart. experiment, artifact_root: where
    the run that holds the ledger is made."""

    def __init__(
        self, tracking: Tracking, model_name: str, lock: Lock, experiment: str, artifact_root: str | Path | None
    ) -> None:
        self._tracking, self._model_name, self._lock = tracking, model_name, lock
        self._experiment, self._artifact_root = experiment, artifact_root

    def state(self) -> State:
        """The ledger and the aliases as they are now."""
        model = recording.model_or_none(self._tracking, self._model_name)
        if model is None:
            return State({}, None, (), 0)
        run_id = model.tags.get(_LEDGER)
        settled = model.tags.get(_SETTLED, "")
        return State(
            {alias: str(number) for alias, number in model.aliases.items()},
            run_id,
            Ledger(self._tracking, run_id).moves() if run_id else (),
            int(settled) if settled.isdecimal() else 0,
        )

    def make(self, move: Callable[[State], Move | None]) -> State:
        """Appends the move that `move` derives from the state, None for none, and lets the aliases follow. When
        somebody else's move came in between, it is derived again."""
        with self._lock:
            for _ in range(_TRIES):
                state = self.settle()
                wanted = move(state)
                if wanted is None:
                    return state
                if self._ledger(state).append(wanted):
                    return self.settle()
        raise ServerUnavailable(
            f"{self._tracking.place}: the champion of {self._model_name!r} was moved {_TRIES} times while this tried "
            "to; run this again"
        )

    def begin(self) -> State:
        """The settled state of a model that has a ledger; both are made when they are not there."""
        with self._lock:
            state = self.settle()
            if state.run_id is None:
                self._ledger(state)
            return state

    def settle(self) -> State:
        """The state, once the aliases are as the ledger's last move wants them; they are moved until they are.

        The ledger is read again after they were set: whoever set them last, having overtaken a newer move, sees that.
        """
        for _ in range(_TRIES):
            state = self.state()
            head = state.head
            if head is None:
                if not state.champion:
                    return state
                begun = state.next("found", state.champion, state.champion, "the ledger begins here", "rerankops")
                self._ledger(state).append(begun)
            elif state.settled < head.number:
                self._follow(state, head)
            elif state.follows(head.champion, head.previous) or state.follows(*self.wanted(head)):
                return state
            elif self.state() == state:  # a first look may have fallen between an alias and the tag after it
                self._ledger(state).append(self._restoring(state))
        raise ServerUnavailable(
            f"{self._tracking.place}: the aliases of {self._model_name!r} do not stay where they are put; run "
            "this again"
        )

    def wanted(self, head: Move) -> tuple[str, str]:
        """champion, previous as the aliases are to be after a move; "" also for a version that was deleted."""
        champion, previous = (
            number if number and self.found(number) is not None else "" for number in (head.champion, head.previous)
        )
        return champion, previous

    def found(self, number: str) -> Any:
        """MLflow's model version, None when it is not registered."""
        if not str(number).isdecimal():
            return None
        try:
            version = self._tracking.get_model_version(self._model_name, str(number))
        except Absent:
            return None
        if str(version.version) != str(int(number)) or version.name != self._model_name:
            raise self._tracking.garbled(f"version {number} of {self._model_name}")
        return version

    def point(self, alias: str, version: str, state: State) -> None:
        """Moves one alias, "" takes it away; nothing is asked of MLflow when it is there already."""
        if version and state.aliases.get(alias) != version:
            self._tracking.set_registered_model_alias(self._model_name, alias, version)
        elif not version and alias in state.aliases:
            self._tracking.delete_registered_model_alias(self._model_name, alias)

    def _follow(self, state: State, head: Move) -> None:
        champion, previous = self.wanted(head)
        self.point(CHAMPION, champion, state)
        self.point(PREVIOUS, previous, state)
        if state.aliases.get(CHALLENGER) == head.champion:
            self.point(CHALLENGER, "", state)
        self._tracking.set_registered_model_tag(self._model_name, _SETTLED, str(head.number))

    def _restoring(self, state: State) -> Move:
        found = ", ".join(f"{alias} at {state.aliases.get(alias) or 'none'}" for alias in (CHAMPION, PREVIOUS))
        log.warning("%s: aliases were moved past the ledger (%s) and are put back", self._model_name, found)
        reason = f"moved in MLflow, or by a request that arrived late: {found}; put back to the last recorded move"
        return state.next("restore", state.champion, state.champion, reason, "rerankops")

    def _ledger(self, state: State) -> Ledger:
        """The model's ledger, begun when there is none."""
        return Ledger(self._tracking, state.run_id or self._begin())

    def _begin(self) -> str:
        """The run that holds the ledger. A tag of the registered model names it, made with the model in one request."""
        experiment = recording.experiment_id(self._tracking, self._experiment, self._artifact_root)
        mine = f"tags.`{_LEDGER}` = '{self._model_name}'"
        found = self._tracking.search_runs([experiment], mine, order_by=["attributes.start_time ASC"], max_results=1)
        run_id = found[0].info.run_id if found else self._make_run(experiment)
        about = "Rerankers that went through rerankops' gate. Who made which of them champion, and why: run " + run_id
        try:
            self._tracking.create_registered_model(self._model_name, tags={_LEDGER: run_id}, description=about)
        except Taken:
            if _LEDGER not in recording.model_or_none(self._tracking, self._model_name).tags:
                self._tracking.set_registered_model_tag(self._model_name, _LEDGER, run_id)
        named: str = recording.model_or_none(self._tracking, self._model_name).tags[_LEDGER]
        return named

    def _make_run(self, experiment: str) -> str:
        run = self._tracking.create_run(
            experiment, tags={_LEDGER: self._model_name}, run_name=f"ledger of {self._model_name}"
        )
        self._tracking.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)
