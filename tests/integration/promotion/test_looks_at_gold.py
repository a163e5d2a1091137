"""Two real evaluations on the same gold questions: what each looks at, spends and shows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from promotion_world import FIRST, NEXT, World, contenders, prepare, settings
from rich.console import Console

from rerankops import config
from rerankops.cli import output
from rerankops.pipeline import evaluation, promotion, ranking
from rerankops.pipeline.acceptance import accept
from rerankops.pipeline.context import Context
from rerankops.pipeline.looks import Look, looks
from rerankops.pipeline.reporting import full_ladder
from rerankops.workspace import Workspace

pytestmark = pytest.mark.timeout(900)
STOPPED = "the process was stopped"


@dataclass(frozen=True)
class Compared:
    """A comparison that was stopped after its look was recorded, and then tried again and carried out. before: the
    looks, and the files with results, that it left the first time."""

    look: Look
    before: tuple[list[int], list[Path]]
    evaluation: str
    decision: str
    told: str
    """Everything that people get to see of it."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Context:
    tree = settings(tmp_path_factory.mktemp("looks"))
    tree["evaluation"] |= {"bootstrap_samples": 200}
    tree["promotion"] = {"reserve_share": 0.6, "min_questions": 40}
    return Context(config.load(environ={}, overrides=tree), Workspace(tree["workspace"]["root"]))


@pytest.fixture(scope="module")
def compared(here: Context) -> Iterator[list[Compared]]:
    folder, world = Path(here.workspace.root.path).parent, World()
    prepare(here, folder, world)
    with pytest.MonkeyPatch.context() as patch:
        yield [compare(here, folder, world, again, patch) for again in (FIRST, NEXT)]


def compare(here: Context, folder: Path, world: World, again: str, patch: pytest.MonkeyPatch) -> Compared:
    plan, fitted = contenders(here, folder, world, again)
    ranked = ranking.rank_gold_candidates(
        plan, fitted, evaluation.freeze_gold_candidates(plan, context=here), context=here
    )
    there = results(here)
    with patch.context() as stopped:
        stopped.setattr(evaluation.pq, "write_table", stop)
        with pytest.raises(KeyboardInterrupt, match=STOPPED):
            evaluation.evaluate(plan, fitted, ranked, context=here)
    before = [look.number for look in looks(here)], sorted(results(here) - there)
    measured = evaluation.evaluate(plan, fitted, ranked, context=here)
    decision = evaluation.decide(plan, fitted, measured, context=here)
    done = promotion.promote(decision, context=here)
    (look,) = (look for look in looks(here) if look.evaluation == measured)
    return Compared(look, before, measured, decision, told(here, measured, decision, done, patch))


def results(here: Context) -> set[Path]:
    """Files of evaluations and what is on its way to be an artefact."""
    root = Path(here.workspace.root.path)
    return {path for path in root.rglob("*") if {"evaluations", "tmp"} & set(path.relative_to(root).parts)}


def stop(*_: Any) -> None:
    raise KeyboardInterrupt(STOPPED)


def told(here: Context, measured: str, decision: str, done: dict[str, Any], patch: pytest.MonkeyPatch) -> str:
    """The report's folder, what MLflow was given, and what the command line prints."""
    root = Path(here.workspace.root.path)
    files = [*(root / "objects" / done["report"]).iterdir(), *(root.parent / "mlflow" / "artifacts").rglob("*.*")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in {".html", ".json"}]
    shown = io.StringIO()
    with patch.context() as printed:
        printed.setattr(output, "console", Console(file=shown, width=200))
        ladder = full_ladder(here, measured, decision)
        output.print_ladder(ladder)
        output.print_decision(ladder, done)
    return "\n".join([*texts, shown.getvalue()])


def test_the_look_is_recorded_before_a_result_is_written_and_is_one_look(compared: list[Compared]) -> None:
    assert [each.before for each in compared] == [([1], []), ([1, 2], [])]
    assert [each.look.number for each in compared] == [1, 2]


def test_the_second_look_rests_on_the_reserve_of_the_first_and_costs_half(
    here: Context, compared: list[Compared]
) -> None:
    for each in compared:
        rules = {rule.name: rule for rule in evaluation.read_decision(here, each.decision).rules}
        assert rules["gold"].measurement == len(each.look.decided)
        assert rules["gold budget"].measurement == pytest.approx(each.look.level)
    first, second = (each.look for each in compared)
    assert second.decided == first.decided - first.shown
    assert (first.level, second.level) == (pytest.approx(0.025), pytest.approx(0.0125))


def test_nothing_that_people_see_names_a_question_in_reserve(compared: list[Compared]) -> None:
    for each in compared:
        texts = dict(zip(each.look.questions["question_id"], each.look.questions["text"], strict=True))
        held = set(texts) - each.look.shown
        assert 30 < len(held) < len(texts)
        assert not [name for name in held if texts[name] in each.told]
        assert [name for name in each.look.shown if texts[name] in each.told]
        assert f"{len(held)} is held back in this and" in " ".join(each.told.split())


def test_deciding_again_is_no_look(here: Context, compared: list[Compared]) -> None:
    plan, fitted, measured = here.workspace.manifest(compared[0].decision).inputs
    assert evaluation.decide(plan, fitted, measured, context=here) == compared[0].decision
    assert len(looks(here)) == 2


def test_what_the_gate_cannot_tell_about_is_accepted_by_name_and_decided_again(
    here: Context, compared: list[Compared]
) -> None:
    about = evaluation.read_decision(here, compared[1].decision).cannot_tell_about
    assert about, "strata of about forty questions hide a loss of ten points"
    decisions = [accept(name, "forty answers read", "Ada", context=here) for name in about]
    assert len({compared[1].decision, *decisions}) == len(about) + 1
    accepted = evaluation.read_decision(here, decisions[-1])
    assert accepted.promote
    assert not accepted.cannot_tell_about
    told = [rule.words for rule in accepted.rules if rule.verdict == "accepted"]
    assert len(told) >= len(about)
    assert all("Ada" in words and "forty answers read" in words for words in told)
    assert len(looks(here)) == 2, "deciding again is no look"
    assert promotion.promote(decisions[-1], context=here)["promoted"]
