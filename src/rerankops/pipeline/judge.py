"""How far the judge agrees with people: measured on a sample that people judged, kept by the judge's identity."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rerankops.errors import InputError
from rerankops.evaluation import judge as judging
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.reading import reading, unfinished
from rerankops.pipeline.set_aside import reading_of
from rerankops.workspace import Address, digest

CHECKS = "judge-checks"
"""References: `judge-checks/IDENTITY`, the newest measurement of the judge with that model, prompt and parameters."""


SAMPLE = "judge-sample"
"""The source of rows that are set aside."""


@dataclass(frozen=True)
class Checked:
    """document: the measures (evaluation.agreement.JudgeAgreement) and the judge's identity. spent: in words."""

    address: Address
    document: dict[str, Any]
    spent: str


@step
def check_judge(context: Context, sample: str | Path) -> Checked:
    """Lets the judge of the settings judge the sample, a table (question, accepted_answers, answer, correct), and
    publishes how far it agrees with the people behind `correct`.

    With reading.skip_bad, rows that cannot be used are set aside. Raises InputError naming file and row,
    ServerUnavailable or SettingsError when not every answer could be judged because the server was away or the budget
    spent: what was measured before stands.
    """
    from rerankops.evaluation import agreement

    workspace, settings = context.workspace, context.settings
    with reading_of(context, SAMPLE) as aside:
        rows = agreement.parse(_content(sample), str(sample), settings.reading, aside)
    if not rows.num_rows:
        raise InputError(f"{sample}: none of its rows can be used; rerankops set-aside {SAMPLE} says why")
    address = workspace.publish(agreement.JudgeSample, rows, step="read_judge_sample")
    with reading(context.with_settings(_only_judging(settings.model_dump(mode="json")))) as asked:
        verdicts = asked.judge.verdicts(agreement.given(rows))
        spent = str(asked.budget) if asked.budget else "no language model was asked"
        unfinished(asked.judge.problems, asked=rows.num_rows)
        examples = asked.judge.problems.examples
    measured = agreement.measure(
        rows, verdicts, samples=settings.evaluation.bootstrap_samples, seed=settings.evaluation.seed
    )
    identity = judging.identity(settings.judge, settings.llm)
    document = {"judge": identity, **asdict(measured), "examples": examples}
    counts: dict[str, float] = {"answers": measured.n, "judged": measured.judged}
    if measured.kappa is not None and measured.kappa_interval is not None:
        counts |= {"kappa": round(measured.kappa, 3), "kappa_low": round(measured.kappa_interval[0], 3)}
    checked = workspace.publish_document(
        "judge_checks",
        document,
        step="check_judge",
        inputs=[address],
        settings={
            "judge": identity,
            "verdicts": digest([[verdict.correct, verdict.judged_by] for verdict in verdicts]),
            "examples": digest(examples),
            **settings.evaluation.model_dump(include={"bootstrap_samples", "seed"}),
        },
        counts=counts,
    )
    workspace.point(_name(context), checked)
    log.info("check_judge: %s", dict(Counter(verdict.judged_by or "no verdict" for verdict in verdicts)))
    return Checked(checked, workspace.read_document(checked), spent)


def newest_check(context: Context) -> Address | None:
    """The newest measurement of the judge that the settings name; None when it was never measured."""
    return context.workspace.ref(_name(context))


def agreement_with_people(
    context: Context, checked: Address | None
) -> tuple[float, tuple[float, float]] | tuple[None, None]:
    """On the sample's answers that the language model judged, with the 95 % interval; (None, None) without any.

    checked: of `newest_check`.
    """
    model = context.workspace.read_document(checked)["by"].get("llm") if checked else None
    return (model["agreement"], tuple(model["interval"])) if model else (None, None)


def _name(context: Context) -> str:
    return f"{CHECKS}/{digest(judging.identity(context.settings.judge, context.settings.llm))[:16]}"


def _only_judging(tree: dict[str, Any]) -> dict[str, Any]:
    """The settings with a reader that costs nothing to make: it is not asked."""
    return tree | {"reader": tree["reader"] | {"kind": "extractive"}}


def _content(sample: str | Path) -> bytes:
    path = Path(sample)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; give a file with judged answers") from error
