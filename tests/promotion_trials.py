"""Retrainings that are killed and begun again, and promotions at the same moment, with what must hold afterwards.

The sample in tests/integration/promotion and the campaign in tests/campaigns are the same code with other numbers.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from promotion_harness import PATIENCE, Child, Nursery
from promotion_jobs import PHASES
from promotion_standing import Standing, comparable, follows, standing
from promotion_world import NEXT, OTHER, World
from scripted_llm import Asked, Reply, ScriptedLlm, completion

from rerankops.errors import PromotionRefused

BASE, DECIDED, PROMOTED, ROLLED_BACK = "base", "decided", "promoted", "rolled back"
"""States that trials begin with: a champion and the contenders of two retrainings; their decisions as well; the first
of them promoted; and rolled back."""
READING = 0.02
"""Seconds that the language model takes to answer: long enough to be killed in."""


@dataclass
class Tally:
    """What happened in trials. asked: requests to the language model in all, repeated: of them, those that were in
    flight when their process was killed and were therefore sent once more."""

    kills: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    too_late: int = 0
    asked: int = 0
    repeated: int = 0
    left_over: int = 0

    def __str__(self) -> str:
        hit = ", ".join(f"{phase} {self.kills[phase]}" for phase in PHASES if self.kills[phase])
        return (
            f"{self.kills.total()} kills in {self.trials} trials ({hit}; {self.too_late} came too late); "
            f"{self.asked} requests, of which {self.repeated} had been in flight at a kill and were sent again; "
            f"{self.left_over} scratch folders left behind"
        )


class Trials:
    """A world, its states, and the process that forks everything that happens in it.

    folder: everything. server: the language model that reads gold questions; None: the deterministic reader.
    """

    def __init__(self, folder: Path, server: ScriptedLlm | None) -> None:
        self.folder, self.state, self.server = folder, folder / "state", server
        self.nursery = Nursery(folder / "jobs")
        self.llm = server.url if server else None
        self.tally = Tally()
        if server:
            server.script = reader_of(World())

    def close(self) -> None:
        self.nursery.close()

    # -- states -----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes BASE and sees what an undisturbed retraining comes to, how long its phases are, and what it writes."""
        self.first: str = self.run("make")
        self.keep(BASE)
        with self.retraining() as child:
            told = child.answer()
        assert told["promotion"]["promoted"], self.document(told["decision"])["reasons"]
        self.decision: str = told["decision"]
        self.reasons = self.document(self.decision)
        self.writes: list[str] = told["writes"]
        self.timeline = [(name, begin, end - begin) for (name, begin), (_, end) in pairwise(child.events)]
        self.seconds = child.events[-1][1] - self._begin(child)
        self.answers = self.stored()
        assert bool(self.answers) == bool(self.server), "the language model was not asked"

    def prepare_races(self) -> None:
        self.restore(BASE)
        self.decisions = {again: self.run("decided", again=again) for again in (NEXT, OTHER)}
        self.keep(DECIDED)
        self.run("promote", decision=self.decisions[NEXT])
        self.keep(PROMOTED)
        with self.nursery.child("roll_back", state=str(self.state), llm=self.llm) as child:
            self.rollback_writes: list[str] = child.answer()
        self.rollback_seconds = child.events[-1][1] - self._begin(child)
        self.keep(ROLLED_BACK)

    def keep(self, name: str) -> None:
        shutil.copytree(self.state, self.folder / name)

    def restore(self, name: str) -> None:
        """Paths are in MLflow's database, so a state is always in the same place."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.folder / name, self.state, dirs_exist_ok=True)  # it may be a mount point

    def run(self, job: str, **arguments: Any) -> Any:
        return self.nursery.run(job, state=str(self.state), llm=self.llm, **arguments)

    @contextmanager
    def retraining(self, **arguments: Any) -> Iterator[Child]:
        with self.nursery.child("retrain", state=str(self.state), llm=self.llm, again=NEXT, **arguments) as child:
            yield child

    # -- one trial --------------------------------------------------------------------------------------------------

    def killed_at(self, *moments: float) -> None:
        """One trial: so many processes in turn, each killed after such a share of an undisturbed one's time."""
        self._trial([lambda child, share=share: self._after(child, share * self.seconds) for share in moments])

    def killed_in(self, phase: str, draw: random.Random) -> None:
        """One trial, killed at a moment drawn from those that a phase takes."""
        spans = [(name, length) for name, _, length in self.timeline if name == phase]
        number = draw.choices(range(len(spans)), weights=[length for _, length in spans])[0]
        offset = draw.uniform(0, spans[number][1])

        def when(child: Child) -> None:
            def begun() -> bool:
                return [name for name, _ in child.events].count(phase) > number

            if child.listen(PATIENCE, until=begun):
                child.listen(offset)

        self._trial([when])

    def killed_by_call(self, number: int, side: str) -> None:
        """One trial, killed before or after a call that writes to MLflow."""
        self._trial([lambda child: child.listen(PATIENCE, until=lambda: child.over)], die=[number, side])

    def _after(self, child: Child, seconds: float) -> None:
        if child.listen(PATIENCE, until=lambda: bool(child.events)):
            child.listen(max(0.0, self._begin(child) + seconds - time.monotonic()))

    @staticmethod
    def _begin(child: Child) -> float:
        return child.events[0][1]

    def _trial(self, deaths: list[Any], die: list[Any] | None = None) -> None:
        self.restore(BASE)
        self.tally.trials += 1
        self._trial_began = len(self.server.requests) if self.server else 0
        before = self.standing()
        told = None
        for death in deaths:
            known, first = self.keys(), len(self.server.requests) if self.server else 0
            with self.retraining(die=die) as child:
                death(child)
                cut = child.kill() if die is None else not child.result.exists()
            if self.server:
                self.server.quiet()
            if not cut:
                self.tally.too_late += 1
                break
            self.tally.kills[child.phase or "before"] += 1
            self._check_standing(before)
            self._check_requests(known, first)
        known, first = self.keys(), len(self.server.requests) if self.server else 0
        with self.retraining() as child:
            told = child.answer()
        self._check_requests(known, first)
        self._check_end(before, told)

    # -- what must hold -----------------------------------------------------------------------------------------------

    def _check_standing(self, before: Standing) -> Standing:
        """At any moment, also between a kill and what comes after: one champion, which passed; no version lost."""
        now = self.standing()
        for version in {now.champion, now.last}:
            assert version in now.versions, f"champion is version {version}, which is not registered"
            assert self.document(now.versions[version])["promote"], f"version {version} is champion and did not pass"
        assert before.versions.items() <= now.versions.items()
        assert max(Counter(now.versions.values()).values()) == 1, "a decision has two versions"
        return now

    def _check_end(self, before: Standing, told: dict[str, Any]) -> None:
        """The same decision as ever, one version and one run for it, one entry in the audit for its promotion."""
        assert told["decision"] == self.decision
        assert comparable(self.document(self.decision)) == comparable(self.reasons)
        assert told["promotion"]["promoted"]
        now = self._check_standing(before)
        assert now.champion == now.last == told["promotion"]["version"]
        assert len(now.versions) == len(before.versions) + 1
        assert now.runs[self.decision] == 1
        found = self.run("inspect")
        assert (found["champion"], found["previous"]) == (now.champion, before.champion)
        assert found["versions"].keys() == now.versions.keys()
        assert all(version["same"] for version in found["versions"].values())
        assert found["problems"] == []
        assert [(move["action"], move["before"], move["champion"]) for move in found["audit"]] == [
            ("promote", "", before.champion),
            ("promote", before.champion, now.champion),
        ]
        if self.server:
            assert self.stored() == self.answers
        self.tally.left_over += len(list((self.state / "workspace" / "tmp").iterdir()))

    def _check_requests(self, known: set[str], first: int) -> None:
        """What a process asked: nothing whose answer was stored when it began. `known`: what was; `first`: the number
        of its first request."""
        if not self.server:
            return
        keys = [key_of(asked) for asked in self.server.requests[first:]]
        again = known & set(keys)
        assert not again, f"{len(again)} answers were paid for twice"
        assert len(keys) == len(set(keys)), "a process asked the same twice"
        self.tally.asked += len(keys)
        earlier = {key_of(asked) for asked in self.server.requests[self._trial_began : first]}
        self.tally.repeated += len(earlier & set(keys))

    # -- a rollback that is killed ------------------------------------------------------------------------------------

    def rollback_killed_by_call(self, number: int, side: str) -> bool:
        """Killed before or after a call that writes to MLflow. False when it was over before."""
        return self._rollback_killed(lambda child: child.listen(PATIENCE, until=lambda: child.over), die=[number, side])

    def rollback_killed_at(self, share: float) -> bool:
        """Killed after such a share of an undisturbed one's time. False when it was over before."""
        return self._rollback_killed(lambda child: self._after(child, share * self.rollback_seconds))

    def _rollback_killed(self, death: Callable[[Child], object], die: list[Any] | None = None) -> bool:
        """The same request is made again after the death, as Airflow does it."""
        self.restore(PROMOTED)
        before, asked = self.standing(), {"state": str(self.state), "llm": self.llm, "key": "one request"}
        with self.nursery.child("roll_back", **asked, die=die) as child:
            death(child)
            cut = child.kill() if die is None else not child.result.exists()
        self._check_standing(before)
        self.run("roll_back", key="one request")
        now, found = self._check_standing(before), self.run("inspect")
        assert [move["action"] for move in found["audit"]] == ["promote", "promote", "rollback"]
        assert follows(found["audit"]) == now.champion == now.last == found["champion"]
        assert now.versions[now.champion] == self.first
        assert now.versions == before.versions
        assert found["problems"] == []
        return cut

    # -- what goes wrong beside them ----------------------------------------------------------------------------------

    def disturbed(self, phase: str, change: Callable[[], object]) -> Exception:
        """What a retraining fails with when something changes as a phase of it begins. Nothing may have been
        promoted."""
        before = self.standing()
        with self.retraining(pause=[phase, str(self.state / "go on")]) as child:
            assert child.listen(PATIENCE, until=lambda: child.told(phase))
            change()
            (self.state / "go on").touch()
            return self._failed(child, before)

    def short_of_room(self, phase: str, size: int) -> Exception:
        """What a retraining fails with when from a phase on no file can be larger. Nothing may have been promoted."""
        before = self.standing()
        with self.retraining(limit=[phase, size]) as child:
            return self._failed(child, before)

    def _failed(self, child: Child, before: Standing) -> Exception:
        try:
            told = child.answer()
        except Exception as error:  # noqa: BLE001 - the caller says which it has to be
            now = self._check_standing(before)
            assert (now.champion, now.last) == (before.champion, before.last)
            return error
        raise AssertionError(f"nothing was wrong: {told}")

    def retried(self) -> None:
        """The same retraining once more comes to what it always does."""
        before = self.standing()
        with self.retraining() as child:
            told = child.answer()
        assert told["decision"] == self.decision
        assert told["promotion"]["promoted"]
        assert self._check_standing(before).champion == told["promotion"]["version"] != before.champion

    def attempted(self) -> Exception | None:
        """What a retraining fails with, None when it comes to its end. Whatever happens, the registry is sound."""
        before = self.standing()
        try:
            with self.retraining() as child:
                child.answer()
        except Exception as error:  # noqa: BLE001 - the caller says which it has to be
            return error
        finally:
            self._check_standing(before)
        return None

    # -- two at once --------------------------------------------------------------------------------------------------

    def race(self) -> str:
        """Two decisions against the same champion, carried out at the same moment. Returns who won."""
        self.restore(DECIDED)
        before = self.standing()
        outcomes = self._at_once({again: ("promote", {"decision": self.decisions[again]}) for again in (NEXT, OTHER)})
        won = [again for again, outcome in outcomes.items() if not isinstance(outcome, PromotionRefused)]
        assert len(won) == 1, outcomes
        (lost,) = {NEXT, OTHER} - set(won)
        assert "evaluate again" in str(outcomes[lost])
        now = self._check_standing(before)
        assert now.versions[now.champion] == self.decisions[won[0]]
        assert set(now.versions.values()) == {*before.versions.values(), *self.decisions.values()}
        found = self.run("inspect")
        self._check_race(found, before.champion, now.champion)
        return won[0]

    def race_on(self, registry: Mapping[str, str]) -> str:
        """The same where `registry` says (section registry of the settings), with a model that is new there."""
        self.restore(DECIDED)
        self.run("promote", decision=self.first, registry=registry)
        outcomes = self._at_once(
            {again: ("promote", {"decision": self.decisions[again], "registry": registry}) for again in (NEXT, OTHER)}
        )
        (won,) = [again for again, outcome in outcomes.items() if not isinstance(outcome, PromotionRefused)]
        found = self.run("inspect", registry=registry)
        champion = found["champion"]
        assert found["versions"][champion]["decision"] == self.decisions[won]
        assert {version["decision"] for version in found["versions"].values()} == {
            self.first,
            *self.decisions.values(),
        }
        self._check_race(found, "1", champion)
        return won

    @staticmethod
    def _check_race(found: dict[str, Any], before: str, champion: str) -> None:
        assert (found["champion"], found["previous"]) == (champion, before)
        assert all(version["same"] for version in found["versions"].values())
        assert found["problems"] == []
        assert follows(found["audit"]) == champion
        assert [move["action"] for move in found["audit"]] == ["promote", "promote"]

    def race_with_rollback(self, later: float = 0.0, *, once: str = "") -> str:
        """A promotion against the champion and a rollback of it at the same moment, or the rollback so many seconds
        later, since a promotion takes longer to come to the point; `once` it tells of this (log_param: it writes its
        move). Returns who came first."""
        self.restore(ROLLED_BACK)
        before = self.standing()
        outcomes = self._at_once(
            {"promotion": ("promote", {"decision": self.decisions[OTHER]}), "rollback": ("roll_back", {})},
            later={"rollback": later},
            once=once,
        )
        assert not isinstance(outcomes["rollback"], Exception), outcomes
        now = self._check_standing(before)
        found = self.run("inspect")
        actions = [move["action"] for move in found["audit"]][3:]
        assert follows(found["audit"]) == now.champion == now.last == found["champion"]
        if isinstance(outcomes["promotion"], PromotionRefused):
            assert actions == ["rollback"]
            assert now.versions[now.champion] == self.decisions[NEXT]
            return "rollback"
        assert actions == ["promote", "rollback"], "the promotion was made against a champion that was gone"
        assert now.champion == before.champion
        return "promotion"

    def _at_once(
        self, jobs: dict[str, tuple[str, dict[str, Any]]], later: Mapping[str, float] | None = None, once: str = ""
    ) -> dict[str, Any]:
        """What each job came to when all were let go at the same moment, or so many seconds later. once: what the other
        job has to tell before that."""
        late, outcomes = later or {}, dict[str, Any]()
        gates = {name: self.state / (f"go-{name}" if name in late else "go") for name in jobs}
        with ExitStack() as alive:
            children = {
                name: alive.enter_context(
                    self.nursery.child(job, state=str(self.state), llm=self.llm, gate=str(gates[name]), **arguments)
                )
                for name, (job, arguments) in jobs.items()
            }
            for child in children.values():
                assert child.listen(PATIENCE, until=lambda child=child: child.told("ready"))
            for name in sorted(jobs, key=lambda name: late.get(name, 0.0)):
                if once and name in late:
                    (first,) = (child for other, child in children.items() if other not in late)
                    assert first.listen(PATIENCE, until=lambda first=first: first.told(once) or first.over)
                time.sleep(late.get(name, 0.0))
                gates[name].touch()
            for name, child in children.items():
                try:
                    outcomes[name] = child.answer()
                except PromotionRefused as error:
                    outcomes[name] = error
        return outcomes

    # -- reading ------------------------------------------------------------------------------------------------------

    def document(self, address: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(
            (self.state / "workspace" / "objects" / address / "document.json").read_text()
        )
        return read

    def standing(self) -> Standing:
        return standing(self.state / "mlflow", self.folder / "copy")

    def keys(self) -> set[str]:
        """Of the answers that are stored."""
        return {path.stem for path in (self.state / "workspace" / "answers").glob("*/*.json")}

    def stored(self) -> dict[str, str]:
        """The answers by their keys."""
        found = (self.state / "workspace" / "answers").glob("*/*.json")
        return {path.stem: json.loads(path.read_text())["text"] for path in found}


def key_of(asked: Asked) -> str:
    """Where llm.Client keeps the answer to a request."""
    canonical = json.dumps(asked.body, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def reader_of(world: World) -> Any:
    """A language model that reads: it answers from the passages that it is shown, or says that they do not answer."""
    asked = {world.question(*pair): pair for pair in world.asked}
    passages = {(car, part): f"{world.cars[car]}\nthe {world.parts[part][0]} takes " for car, part in world.asked}

    def script(request: Asked) -> Reply:
        pair = next(pair for question, pair in asked.items() if question in request.user)
        shown = passages[pair] + world.amount(*pair) in request.user
        return replace(completion(world.amount(*pair) if shown else "The passages do not answer this."), delay=READING)

    return script


@contextmanager
def prepared(folder: Path) -> Iterator[Trials]:
    """The world in a folder, with a language model to read it, ready to be killed and raced in."""
    server = ScriptedLlm()
    made = Trials(folder, server)
    try:
        made.prepare()
        made.prepare_races()
        yield made
    finally:
        made.close()
        server.close()
