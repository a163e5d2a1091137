"""The registry: every decision is a run in MLflow, every winner a model version, and aliases say which one serves.

| alias        | points at                                         |
|--------------|---------------------------------------------------|
| `champion`   | what production serves                            |
| `previous`   | what it served before; `rollback` swaps the two   |
| `challenger` | the last winner that is not champion yet          |

Which version is champion is settled in the ledger (promotion.ledger), where each move is written once, under the next
number, against the state before it: compare-and-set, among any number of processes and machines. The aliases follow
the ledger. A process that dies between the two leaves an unfinished move, which the next call that writes finishes
first; reading takes the ledger's word, so nobody of ours sees half a move. Three things follow:

- A request that MLflow did not answer in time may be carried out later. It then either finds its number taken, or
  makes the move that was asked for, against a champion that is still the expected one.
- An alias that somebody moved in MLflow itself, past the ledger, is not a promotion: the next move puts it back and
  says so in the audit. `rerankops models promote --force` is how a person makes one.
- Whoever reads aliases alone can be behind: by the moment between a move and its aliases or, after a crash or
  an answer that got lost, until the next call of ours.

The file lock only keeps processes of one machine from getting in one another's way. What none of this holds against: a
person with access to MLflow who deletes runs or writes tags, a store that loses what it acknowledged, and two machines
that both, at the same moment, are first to touch a model that was not made by rerankops.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rerankops.errors import ArtefactMissing, PromotionRefused
from rerankops.promotion import fetching, recording
from rerankops.promotion.ledger import Move
from rerankops.promotion.succession import CHALLENGER, CHAMPION, PREVIOUS, State, Succession
from rerankops.promotion.tracking import Lock, Tracking
from rerankops.records import PromotionDecision
from rerankops.workspace.hashing import sha256

PASSED = "passed"


@dataclass(frozen=True)
class Version:
    """One registered ranker. ranker_address: its artefact in the workspace; run_id: the run of its decision.
    created_at: ISO 8601, UTC."""

    version: str
    ranker_address: str
    run_id: str
    tags: dict[str, str]
    created_at: str = ""

    @property
    def passed(self) -> bool:
        """Whether the gate's decision was to promote it."""
        return self.tags.get(recording.DECISION) == PASSED

    @property
    def decision(self) -> str:
        """Address of the decision that it was registered for."""
        return self.tags.get(recording.KEY, "")

    @property
    def system(self) -> str:
        """The row of its decision's ladder: challenger or tuned_fusion; "" when the decision promoted nobody."""
        return self.tags.get(recording.SYSTEM, "")

    @property
    def measured(self) -> dict[str, float]:
        """That row's first figures, by metric."""
        found: dict[str, float] = json.loads(self.tags.get(recording.MEASURED, "{}"))
        return found


@dataclass(frozen=True)
class Recorded:
    """Where a decision stands in MLflow. version: None when no ranker was given with it."""

    run_id: str
    version: str | None


class Registry:
    """MLflow's tracking and model registry, as far as promotion needs them.

    tracking_uri: `sqlite:////folder/mlflow.db`, or a server's `http://…`. artifact_root: folder or URI for a new
    experiment's artefacts; None leaves it to the server. lock_path: file that serialises writers on one machine.
    request_timeout, transfer_timeout (seconds), retries: see promotion.tracking; None leaves them to MLflow.
    Every method raises ServerUnavailable when MLflow does not answer, and ServerRefused when it will not do it.
    """

    def __init__(
        self,
        tracking_uri: str,
        model_name: str,
        experiment: str,
        lock_path: str | Path,
        *,
        artifact_root: str | Path | None = None,
        request_timeout: int | None = None,
        transfer_timeout: int | None = None,
        retries: int | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self.model_name = model_name
        self.experiment = experiment
        self.lock_path = Path(lock_path)
        self.artifact_root = artifact_root
        self._records = Lock(Path(f"{self.lock_path}.record"))  # held for as long as storing a model takes
        moves = Lock(self.lock_path)
        self._client = Tracking(
            tracking_uri,
            moves,
            request_timeout=request_timeout,
            transfer_timeout=transfer_timeout,
            retries=retries,
        )
        self._succession = Succession(self._client, model_name, moves, experiment, artifact_root)

    # -- reading ----------------------------------------------------------------------------------------------------

    def champion(self) -> Version | None:
        """What production serves, None before the first promotion. Raises ArtefactMissing when it was deleted."""
        number = self.state().champion
        return self.version(number) if number else None

    def previous(self) -> Version | None:
        """What `rollback` would bring back; None when there is none, or it was deleted."""
        number = self.state().previous
        found = self._succession.found(number) if number else None
        return self._version(found) if found else None

    def version(self, number: str) -> Version:
        """Raises ArtefactMissing when it is not registered."""
        found = self._succession.found(number)
        if found is None:
            gone = f"; {self._way_out()}" if self.state().champion == str(number) else ""
            raise ArtefactMissing(f"version {number} of model {self.model_name!r} is not registered{gone}")
        return self._version(found)

    def resolve(self, name: str) -> Version:
        """A version by its number or by one of the three aliases. Raises ArtefactMissing."""
        if name not in {CHAMPION, PREVIOUS, CHALLENGER}:
            return self.version(name)
        state = self.state()
        number = state.aliases.get(CHALLENGER) if name == CHALLENGER else getattr(state, name)
        if not number:
            raise ArtefactMissing(f"model {self.model_name!r} has no {name}")
        return self.version(number)

    def versions(self) -> list[Version]:
        """All that are registered, oldest first."""
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_model_versions(f"name = '{self.model_name}'", page_token=token)
            found += page
            token = page.token
            if not token:
                return [self._version(row) for row in sorted(found, key=lambda row: int(row.version))]

    def fetch(self, number: str, folder: Path | None = None) -> Path:
        """The local folder of a version's ranker; downloaded into `folder` when the artefacts are not local.

        All files of the version are read, those beside the ranker too. Raises ArtefactMissing when it is gone,
        ArtefactDamaged when they are not, byte for byte, those that were registered.
        """
        found = self._succession.found(number)
        if found is None:
            raise ArtefactMissing(f"version {number} of model {self.model_name!r} is not registered")
        return fetching.ranker(self._client, found, f"version {number} of {self.model_name}", folder)

    def document(self, number: str, name: str) -> dict[str, Any]:
        """What was logged with a version's decision: `decision.json` or `ladder.json`. Raises ArtefactMissing, and
        ArtefactDamaged when it is not what was logged."""
        version = self.version(number)
        return fetching.document(
            self._client, version.run_id, name, f"version {number} of {self.model_name!r}", version.tags
        )

    def audit(self) -> list[dict[str, Any]]:
        """Who or what moved the champion, when and why: the fields of promotion.ledger.Move, oldest first."""
        return [asdict(move) for move in self.state().moves]

    def problems(self) -> list[str]:
        """What is not as the ledger says, in words; empty when all is."""
        state = self.state()
        head = state.head
        if state.champion and self._succession.found(state.champion) is None:
            return [f"version {state.champion} is not registered; {self._way_out()}"]
        if head is None or state.follows(*self._succession.wanted(head)):
            return []
        serves = state.aliases.get(CHAMPION) or "none"
        if state.settled < head.number:
            return [
                f"move {head.number} ({head.action}, champion {head.champion}) is not finished: alias champion is at "
                f"{serves}; the next promotion or rollback finishes it"
            ]
        return [
            f"the aliases were moved past the ledger: champion is at {serves}, the last recorded move made it "
            f"{head.champion}; the next promotion or rollback puts them back"
        ]

    def state(self) -> State:
        """The ledger and the aliases as they are now."""
        return self._succession.state()

    # -- writing ----------------------------------------------------------------------------------------------------

    def record(
        self,
        decision: PromotionDecision,
        ladder: Mapping[str, Any],
        *,
        params: Mapping[str, Any],
        report_html: str,
        ranker_dir: Path | None,
        ranker_address: str | None,
        lineage: Mapping[str, str],
        key: str,
    ) -> Recorded:
        """Logs a decision and, when it comes with a ranker, registers that as a version. Moves no serving alias.

        key: the decision's address; recording the same key again finds the run and version of the first time, or goes
        on where it was interrupted. params: nested settings, flattened with dots. lineage: kinds and addresses, for
        tags and as MLflow datasets. ranker_dir: folder of the ranker that the decision is about, required when
        `decision.promote`. Given with a decision that does not promote, it becomes a version that `promote` refuses
        unless a person forces it.
        Raises ArtefactMissing when the folder is required and is none.
        """
        if (decision.promote or ranker_dir is not None) and (ranker_dir is None or not ranker_dir.is_dir()):
            raise ArtefactMissing(
                f"decision {key} promotes {decision.system}, but its ranker {ranker_dir} is no folder"
            )
        whole = recording.Record(decision, ladder, params, report_html, ranker_dir, ranker_address, lineage, key)
        with self._records:
            experiment = recording.experiment_id(self._client, self.experiment, self.artifact_root)
            run = recording.find_run(self._client, experiment, key) or recording.start(self._client, experiment, whole)
            whole_run = ranker_dir is None or recording.FILES in run.data.tags
            if run.info.status != "FINISHED" or not whole_run:
                recording.fill(self._client, run.info.run_id, whole)
            version = self._register(run, whole, ranker_dir) if ranker_dir is not None else None
        return Recorded(run.info.run_id, version)

    def promote(
        self,
        number: str,
        expected_champion: str | None,
        reason: str,
        *,
        actor: str,
        key: str = "",
        forced: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> Version:
        """Makes a version champion if the champion still is `expected_champion` (None: there is none yet).

        The old champion becomes `previous`. Promoting the champion again does nothing. key: names the request; one that
        was carried out before is not again, whoever is champion by now. forced: a person's decision against the gate's,
        which the audit says. check: looks once more, right before the move is written, and raises what forbids it.
        Its files are read first. Raises what `check` and `fetch` do, PromotionRefused when the champion is another one
        by now, or the version did not pass the gate, or was turned down afterwards; ArtefactMissing when it is not
        registered.
        """
        wanted = self.version(number)
        if self.state().champion != wanted.version:
            self._read_through(wanted.version)

        def move(state: State) -> Move | None:
            if state.done("promote", key) or state.champion == wanted.version:
                return None
            self._refuse_if_changed(state.champion, expected_champion, f"version {number} was not promoted")
            if not forced:
                self._refuse_unless_passed(wanted, state)
            check()
            return state.next("promote", wanted.version, wanted.version, reason, actor, key, forced)

        self._succession.make(move)
        return self.version(number)

    def rollback(
        self, reason: str, *, actor: str, expected_champion: str | None = None, to: str | None = None, key: str = ""
    ) -> Version:
        """Brings the previous champion back; the one rolled back becomes `previous`, so a second rollback undoes the
        first. to: an earlier champion instead. expected_champion: give it when the call may be repeated, and a
        repetition is refused instead; with a key, the repetition finds that it was done. Returns the champion.

        Its files are read first. Raises what `fetch` does, PromotionRefused when there is no previous champion, `to`
        never was champion or is it now, or the champion is not the expected one.
        """
        now = self.state()
        wanted = to or now.previous
        if wanted and not now.done("rollback", key) and self._succession.found(wanted) is not None:
            self._read_through(wanted)

        def move(state: State) -> Move | None:
            if state.done("rollback", key):
                return None
            if expected_champion is not None:
                self._refuse_if_changed(state.champion, expected_champion, "nothing was rolled back")
            if not state.champion:
                raise PromotionRefused(f"model {self.model_name!r} has no champion, so there is nothing to roll back")
            if to is not None and (to == state.champion or all(to != move.champion for move in state.moves)):
                is_it = "is champion already" if to == state.champion else "never was champion"
                raise PromotionRefused(f"version {to} of model {self.model_name!r} {is_it}; nothing was rolled back")
            before = to or state.previous
            if not before or before == state.champion or self._succession.found(before) is None:
                gone = f"; version {before} was deleted" if before and before != state.champion else ""
                raise PromotionRefused(
                    f"model {self.model_name!r} has no champion before version {state.champion}{gone}; "
                    "promote another version instead"
                )
            return state.next("rollback", before, before, reason, actor, key)

        return self.version(self._succession.make(move).champion)

    def retire(self, reason: str, *, actor: str) -> str:
        """Leaves the model without a champion, once its version was deleted in MLflow: retrieval's order stands from
        then on, until another version is promoted. Returns the deleted version.

        Raises PromotionRefused when there is no champion, or its version is there.
        """
        gone = self.state().champion

        def move(state: State) -> Move | None:
            if not state.champion:
                raise PromotionRefused(f"model {self.model_name!r} has no champion, so there is none to retire")
            if self._succession.found(state.champion) is not None:
                raise PromotionRefused(
                    f"version {state.champion} of model {self.model_name!r} is registered and serves; roll back, or "
                    "promote another version instead"
                )
            return state.next("retire", state.champion, "", reason, actor)

        self._succession.make(move)
        return gone

    def reject(self, number: str, reason: str, *, actor: str, key: str = "") -> Version:
        """Turns a version down that the gate passed: `promote` refuses it from now on. Turning it down again does
        nothing. Raises PromotionRefused when it is the champion."""
        wanted = self.version(number)

        def move(state: State) -> Move | None:
            if state.rejection(wanted.version):
                return None
            if state.champion == wanted.version:
                raise PromotionRefused(f"version {number} is champion already; roll back instead")
            return state.next("reject", wanted.version, state.champion, reason, actor, key)

        state = self._succession.make(move)
        if state.aliases.get(CHALLENGER) == wanted.version:
            self._succession.point(CHALLENGER, "", state)
        return self.version(number)

    def lapse(self, number: str, reason: str, *, key: str) -> Version:
        """Keeps that nobody answered whether a version is to be promoted. It stays what it is; asked again with the
        same key, nothing is kept twice."""
        wanted = self.version(number)

        def move(state: State) -> Move | None:
            if state.done("lapse", key):
                return None
            return state.next("lapse", wanted.version, state.champion, reason, "nobody", key)

        self._succession.make(move)
        return wanted

    # -- private ----------------------------------------------------------------------------------------------------

    def _way_out(self) -> str:
        """What to do about a champion whose version was deleted."""
        left = [version.version for version in self.versions() if version.passed]
        instead = f"promote another one (rerankops models promote {left[-1]} --reason …), " if left else ""
        back = "roll back (rerankops models rollback --reason …), " if self.previous() else ""
        return (
            f"it is the champion and was deleted in MLflow: {instead}{back}restore MLflow's database from a backup, or "
            "go on without a champion (rerankops models retire --reason …), which the next retraining may promote"
        )

    def _read_through(self, number: str) -> None:
        """Raises what `fetch` does."""
        with tempfile.TemporaryDirectory() as folder:
            self.fetch(number, Path(folder, "version"))

    def _register(self, run: Any, whole: recording.Record, ranker_dir: Path) -> str:
        from rerankops.promotion import flavour

        state = self._succession.begin()
        own = {
            recording.RANKER: whole.ranker_address or "",
            recording.DIGEST: flavour.digest(ranker_dir),
            recording.FILES: self._client.get_run(run.info.run_id).data.tags[recording.FILES],
            recording.DOCUMENTS: json.dumps({name: sha256(data) for name, data in whole.documents().items()}),
            recording.MEASURED: json.dumps(recording.measured(whole)),
        }
        number = recording.register(self._client, self.model_name, run, whole.tags() | own)
        if whole.decision.promote and not any(number in {move.version, move.champion} for move in state.moves):
            self._succession.point(CHALLENGER, number, state)
        return number

    def _refuse_if_changed(self, now: str, expected: str | None, consequence: str) -> None:
        if now != (str(expected) if expected is not None else ""):
            raise PromotionRefused(
                f"the champion of {self.model_name!r} is {f'version {now}' if now else 'none'}, expected was "
                f"{f'version {expected}' if expected is not None else 'none'}; {consequence}, evaluate again"
            )

    def _refuse_unless_passed(self, wanted: Version, state: State) -> None:
        if not wanted.passed:
            raise PromotionRefused(
                f"version {wanted.version} of {self.model_name!r} did not pass the gate (tag {recording.DECISION} is "
                f"{wanted.tags.get(recording.DECISION)!r}); a person can force it: rerankops models promote --force"
            )
        if rejection := state.rejection(wanted.version):
            raise PromotionRefused(
                f"version {wanted.version} of {self.model_name!r} was turned down by {rejection.actor}, "
                f"{rejection.at} ({rejection.reason}); a person can force it: rerankops models promote --force"
            )

    @staticmethod
    def _version(found: Any) -> Version:
        tags = {str(name): str(value) for name, value in found.tags.items()}
        made = datetime.fromtimestamp((found.creation_timestamp or 0) / 1000, UTC).isoformat(timespec="seconds")
        return Version(str(found.version), tags.get(recording.RANKER, ""), found.run_id or "", tags, made)
