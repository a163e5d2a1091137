"""When gold questions count as changed under a retraining, and when not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rerankops import config
from rerankops.errors import PromotionRefused
from rerankops.pipeline import corpus
from rerankops.pipeline.context import Context
from rerankops.pipeline.gold_in_force import gold_file, gold_file_at_planning, refuse_changed_gold
from rerankops.pipeline.training import Plan
from rerankops.workspace import Workspace


def write(path: Path, *answers: str, indent: str = "") -> None:
    rows = [{"question_id": f"g{n}", "text": f"问题{n}", "accepted_answers": [a]} for n, a in enumerate(answers)]
    path.write_text("".join(indent + json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gold.jsonl"
    write(path, "一", "二")
    return path


@pytest.fixture
def here(tmp_path: Path, file: Path) -> Context:
    settings = config.load(environ={}, overrides={"sources": {"gold": str(file)}})
    return Context(settings, Workspace(tmp_path / "workspace"))


@pytest.fixture
def planned(here: Context) -> Plan:
    gold = corpus.load_gold(context=here)
    return Plan("plans/p", "judgments/j", None, gold, "indexes/i", None, None, here, gold_file_at_planning(here))


def test_a_file_that_stays_is_no_change(planned: Plan, file: Path) -> None:
    refuse_changed_gold(planned)
    write(file, "一", "二", indent=" ")
    refuse_changed_gold(planned)  # the same questions


def test_a_file_that_was_edited_is_a_change_until_it_is_restored(planned: Plan, file: Path) -> None:
    write(file, "一", "三")
    with pytest.raises(PromotionRefused, match=r"gold\.jsonl changed under this retraining; restore it"):
        refuse_changed_gold(planned)
    write(file, "一", "二")
    refuse_changed_gold(planned)


def test_a_file_that_is_gone_or_broken_is_a_change(planned: Plan, file: Path) -> None:
    file.write_text("{")
    with pytest.raises(PromotionRefused, match="cannot be read any more"):
        refuse_changed_gold(planned)
    file.unlink()
    with pytest.raises(PromotionRefused, match="cannot be read any more"):
        refuse_changed_gold(planned)


def test_other_questions_in_force_are_a_change(planned: Plan, file: Path) -> None:
    write(file, "一", "三")
    now = corpus.load_gold(context=planned.context)
    with pytest.raises(PromotionRefused, match=f"measured on {planned.gold}, in force is {now}; run retrain_reranker"):
        refuse_changed_gold(planned)
    refuse_changed_gold(replace(planned, gold=now, gold_file=gold_file(planned.context)))


def test_an_edit_from_before_the_plan_was_made_is_none_under_it(here: Context, planned: Plan, file: Path) -> None:
    write(file, "一", "三")  # and not frozen yet
    later = replace(planned, gold_file=gold_file_at_planning(here))
    refuse_changed_gold(later)
    write(file, "一", "二")  # and taken back: what was measured
    refuse_changed_gold(later)


def test_without_a_file_the_questions_in_force_decide(here: Context, planned: Plan, file: Path) -> None:
    file.unlink()
    assert gold_file_at_planning(here) is None
    refuse_changed_gold(replace(planned, gold_file=None))
    frozen = here.with_settings(
        here.settings.model_dump(mode="json") | {"sources": {"corpus": None, "gold": "frozen:g"}}
    )
    assert gold_file(frozen) is None
