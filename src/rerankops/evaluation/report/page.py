"""The page itself: every section's view, and the template that draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rerankops.evaluation import history as past
from rerankops.evaluation.report import rules, sections, words
from rerankops.evaluation.report.chronicle import chronicle
from rerankops.evaluation.report.duels import SHOWN, Duel, duel
from rerankops.evaluation.report.plots import Scale
from rerankops.records import PromotionDecision

if TYPE_CHECKING:
    from jinja2 import Environment


def render(
    ladder: Mapping[str, Any],
    decision: PromotionDecision,
    outcomes: Mapping[str, pa.Table],
    gold: pa.Table,
    passages: pa.Table,
    *,
    title: str,
    lineage: Mapping[str, str],
    metric: str | None = None,
    decided_at: str | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Any] | None = None,
    orders: Mapping[str, pa.Table] | None = None,
    awaits_approval: bool = False,
    held_back: int = 0,
) -> str:
    """The page as one string; the same arguments give the same page.

    ladder: of `ladder.ladder`; keys that it lacks and values that are None are left out of the page. outcomes: a
    records.QuestionOutcome table for each system. gold: records.GoldQuestion. passages: records.Passage, at least those
    that the outcomes show. lineage: name -> address. metric: the gate's first metric; None: accuracy or, where no
    answer has a verdict, the share with a relevant passage on top. decided_at: ISO 8601. history: rows of
    `history.entry` for the earlier decisions, oldest first. settings: nested, as they were when the models were
    trained. orders: query_id, passage_id, rank of each system's whole ranking, so that ranks below those that the
    reader saw can be given. awaits_approval: a challenger that passes is promoted only when a person approves, so the
    page does not say that it is. held_back: number of gold questions that the outcomes leave out, since no report may
    show how systems did on them.
    """
    systems: list[Mapping[str, Any]] = list(ladder.get("systems") or [])
    comparisons: list[Mapping[str, Any]] = list(ladder.get("comparisons") or [])
    chosen = metric or _metric(systems)
    names = [row["name"] for row in systems]
    subject, incumbent = past.subject(decision.system, names), past.incumbent(names)
    duels = [
        duel(name, incumbent, outcomes, gold, passages, metric=chosen, orders=orders, limit=SHOWN)
        for name in sorted(names, key=lambda name: name != subject)
        if incumbent and name != incumbent and name in outcomes and incumbent in outcomes
    ]
    scale, levels = sections.levels(systems, chosen, subject)
    this = past.entry(
        {"promote": decision.promote, "system": decision.system, "cannot_tell": decision.cannot_tell},
        ladder,
        at=decided_at,
        gold=lineage.get("gold_questions"),
    )
    page = (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            decided_at=decided_at,
            decision=decision,
            awaits_approval=awaits_approval,
            outcome="promoted" if decision.promote else "unsure" if decision.cannot_tell else "refused",
            metric=chosen,
            metric_name=sections.RANKING.get(chosen, chosen),
            subject=subject,
            incumbent=incumbent,
            key=_key(levels, comparisons, subject, incumbent, chosen),
            asked=max((level.n or 0 for level in levels), default=0),
            groups=rules.groups(decision.rules, names),
            scale=scale,
            levels=levels,
            rungs=sections.rungs(levels, comparisons, chosen),
            systems=systems,
            ranking={key: name for key, name in sections.RANKING.items() if _measured(systems, key)},
            comparisons=comparisons,
            time=_time(systems),
            strata=_strata(systems, decision, subject, incumbent),
            classification=[row for row in systems if row.get("classification")],
            classified=sections.CLASSIFICATION,
            reliabilities=sections.reliabilities(systems),
            scores=sections.scores(systems),
            refusals=sections.refusals(systems),
            duels=duels,
            held_back=held_back,
            shown_count=max((table.num_rows for table in outcomes.values()), default=0),
            filters=_filters(duels),
            learned=chronicle([*history, this]),
            stages=ladder.get("stages") or [],
            slowest=max((stage["seconds"] for stage in ladder.get("stages") or []), default=0) or 1,
            lineage=dict(lineage),
            settings=list(_flat(settings or {})),
        )
    )
    return page.lstrip() + "\n"


_FILTERS = (
    words.share, words.points, words.milliseconds, words.megabytes, words.more, words.p_value, words.number,
    words.decimal, words.seconds, words.moment, words.bound,
)  # fmt: skip


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=words.printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {tell.__name__: tell for tell in _FILTERS}
    return environment


@dataclass(frozen=True)
class Key:
    """The figures that a decision comes down to: the subject's level beside the incumbent's."""

    value: float | None
    before: float | None
    difference: float | None
    interval: sections.Pair | None
    milliseconds: float | None
    milliseconds_before: float | None


def _key(
    levels: Sequence[sections.Level],
    comparisons: Sequence[Mapping[str, Any]],
    subject: str | None,
    incumbent: str | None,
    metric: str,
) -> Key:
    found = {level.name: level for level in levels}
    mine, other = found.get(subject or ""), found.get(incumbent or "")
    row = sections.compared(comparisons, subject, incumbent, metric)
    return Key(
        value=mine.value if mine else None,
        before=other.value if other and other is not mine else None,
        difference=row["difference"] if row else None,
        interval=sections.pair(row["interval"]) if row else None,
        milliseconds=mine.milliseconds if mine else None,
        milliseconds_before=other.milliseconds if other and other is not mine else None,
    )


@dataclass(frozen=True)
class Time:
    """A figure of stacked bars. legend: (number, key, leg). scale: milliseconds."""

    caption: str
    legend: list[tuple[int, str, str]]
    bars: list[sections.Stack]
    scale: Scale


_READER = ("reader_ms",)


def _time(systems: Sequence[Mapping[str, Any]]) -> list[Time]:
    """The whole answer and, where the reader takes most of it, what comes before the reader once more."""
    figures = []
    legend, bars, scale = sections.stacks(systems)
    if scale is not None:
        figures.append(Time("Median milliseconds of a question, from the query to the answer", legend, bars, scale))
        longest = max(bars, key=lambda bar: bar.total)
        if any(piece.leg == sections.LEGS["reader_ms"] and piece.value > longest.total / 2 for piece in longest.pieces):
            legend, bars, scale = sections.stacks(systems, without=_READER)
            if scale is not None:
                figures.append(Time("The same without the reader", legend, bars, scale))
    return figures


@dataclass(frozen=True)
class Strata:
    """names: every stratum. table: (metric's name, rows of (stratum, n, a value a system)). judged: the subject's
    difference to the incumbent as the gate weighed it, on `scale`; edge: the margin's place."""

    names: list[str]
    table: list[tuple[str, list[tuple[str, int | None, list[float | None]]]]]
    scale: Scale
    judged: list[sections.Difference]
    edge: float | None


def _strata(
    systems: Sequence[Mapping[str, Any]], decision: PromotionDecision, subject: str | None, incumbent: str | None
) -> Strata:
    names = sections.strata(systems)
    start = f"{subject}: stratum "
    weighed = [
        rule for rule in decision.rules if rule.name.startswith(start) and words.known(rule.measurement) is not None
    ]
    margin = next((rule.threshold for rule in weighed if words.known(rule.threshold) is not None), None)
    scale, judged = sections.differences(
        [
            (
                rule.name.removeprefix(start),
                float(rule.measurement or 0.0),
                sections.pair(rule.interval),
                *rules.verdict(rule),
            )
            for rule in weighed
        ],
        edges=[] if margin is None else [margin],
    )
    table = []
    for key, name in {"accuracy": "accuracy", **sections.RANKING}.items():
        rows = [
            (
                stratum,
                next((cell["n"] for cell in _cells(systems, stratum) if cell and cell.get("n") is not None), None),
                [words.known(cell.get(key)) if cell else None for cell in _cells(systems, stratum)],
            )
            for stratum in names
        ]
        if any(value is not None for _, _, values in rows for value in values):
            table.append((name, rows))
    return Strata(names, table, scale, judged, None if margin is None else scale.at(margin))


def _cells(systems: Sequence[Mapping[str, Any]], stratum: str) -> list[Mapping[str, Any] | None]:
    return [(row.get("strata") or {}).get(stratum) for row in systems]


@dataclass(frozen=True)
class Filters:
    """Choices over the questions that are shown, with how many each leaves: (name, count), in order of appearance."""

    systems: list[tuple[str, int]]
    strata: list[tuple[str, int]]
    total: int


def _filters(duels: Sequence[Duel]) -> Filters:
    shown = [(item.of, question) for item in duels for question in (*item.won, *item.lost)]
    by_system = [(item.of, len(item.won) + len(item.lost)) for item in duels]
    strata_shown = [question.stratum for _, question in shown]
    return Filters(by_system, [(name, strata_shown.count(name)) for name in sorted(set(strata_shown))], len(shown))


def _metric(systems: Sequence[Mapping[str, Any]]) -> str:
    return next((name for name in ("accuracy", "hit@1", "recall@1") if _measured(systems, name)), "accuracy")


def _measured(systems: Sequence[Mapping[str, Any]], key: str) -> bool:
    return any(words.known(row.get(key)) is not None for row in systems)


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Settings as dotted names and values."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
