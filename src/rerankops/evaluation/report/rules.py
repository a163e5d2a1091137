"""The gate's rules as the report shows them: what was asked and measured in the rule's own unit, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rerankops.evaluation.report.plots import Mark, Scale, covering, mark
from rerankops.evaluation.report.sections import Pair, pair
from rerankops.evaluation.report.words import (
    UNKNOWN,
    known,
    megabytes,
    milliseconds,
    number,
    p_value,
    points,
    share,
)
from rerankops.records import Rule

Tell = Callable[[float | None], str]


def _points(value: float | None) -> str:
    return points(value) if value is None else f"{points(value)}\u00a0points"


def _p(value: float | None) -> str:
    return p_value(value) if value is None or value < 0.001 else f"{value:.3g}"


def _yes(value: float | None) -> str:
    return UNKNOWN if value is None else "yes" if value else "no"


_UNITS: tuple[tuple[str, str, Tell], ...] = (
    # how a rule's name begins, what the measurement has to be to the threshold, how both are told
    ("superiority", "above", _points),
    ("stratum ", "above", _points),
    ("worth more", "above", _points),
    ("over ", "", _points),
    ("refusals", "above", _points),
    ("latency", "at most", milliseconds),
    ("memory", "at most", megabytes),
    ("verdicts", "at most", share),
    ("labels", "at most", _p),
    ("gold budget", "at least", _p),
    ("leaks", "at most", number),
    ("gold", "at least", number),
    ("judge", "at least", share),
    ("data", "", _yes),
)
"""A rule that is not listed is told in plain numbers, without a direction."""
_PLOTTED = ("superiority", "stratum ", "worth more", "over ", "refusals")
_WORTH = "worth more than"


@dataclass(frozen=True)
class Judged:
    """A rule in words and figures. verdict: pass, fail, unsure or told (reported, not gated). edge: where its threshold
    stands in the plot, in per cent."""

    name: str
    verdict: str
    told: str
    words: str
    asked: str | None
    measured: str | None
    interval: str | None
    mark: Mark | None
    edge: float | None


@dataclass(frozen=True)
class Group:
    """Rules about one contender, or about the evidence itself (subject None), on one scale."""

    subject: str | None
    rules: tuple[Judged, ...]
    scale: Scale | None


def groups(rules: Sequence[Rule], systems: Iterable[str]) -> list[Group]:
    """Rules in the gate's order, those about the evidence first, then those about each contender."""
    names = set(systems)
    sorted_: dict[str | None, list[tuple[str, Rule]]] = {}
    for rule in rules:
        head, colon, rest = rule.name.partition(": ")
        about = head if colon and head in names else None
        sorted_.setdefault(about, []).append((rest if about else rule.name, rule))
    order = sorted(sorted_, key=lambda about: about is not None)
    return [_group(about, sorted_[about]) for about in order]


def verdict(rule: Rule) -> tuple[str, str]:
    """How a rule came out: its class, and in a word or two. Decisions that were stored before rules had verdicts have
    theirs from whether they passed and from their words."""
    said = rule.verdict or ("cannot tell" if rule.passed and "cannot tell" in rule.words else "")
    if said == "unknown":
        return "fail", "not known"
    if said == "accepted":
        return "unsure", "accepted by a person"
    if said == "cannot tell":
        return "unsure", "passed: cannot tell" if rule.passed else "cannot tell"
    if said == "not gated" or "reported only" in rule.words:
        return "told", "not gated"
    if _WORTH in rule.name and not rule.passed:
        return "told", "not worth it"
    return ("pass", "passed") if rule.passed else ("fail", "failed")


def _group(about: str | None, rules: Sequence[tuple[str, Rule]]) -> Group:
    drawn = [rule for name, rule in rules if name.startswith(_PLOTTED) and known(rule.measurement) is not None]
    ends = [end for rule in drawn for end in (rule.measurement, rule.threshold, *(pair(rule.interval) or ()))]
    scale = covering([0.0, *ends], unit="points") if drawn else None
    return Group(about, tuple(_judged(name, rule, scale if rule in drawn else None) for name, rule in rules), scale)


def _judged(name: str, rule: Rule, scale: Scale | None) -> Judged:
    direction, tell = next(((how, tell) for start, how, tell in _UNITS if name.startswith(start)), ("", number))
    outcome, told = verdict(rule)
    threshold, measurement = known(rule.threshold), known(rule.measurement)
    interval: Pair | None = pair(rule.interval)
    return Judged(
        name=name,
        verdict=outcome,
        told=told,
        words=rule.words,
        asked=None if threshold is None else f"{direction} {tell(threshold)}".strip(),
        measured=None if measurement is None else tell(measurement),
        interval=None if interval is None else f"{_end(interval[0], tell)} to {_end(interval[1], tell)}",
        mark=None if scale is None else mark(scale, measurement, interval, outcome),
        edge=None if scale is None or threshold is None else scale.at(threshold),
    )


def _end(value: float, tell: Tell) -> str:
    """An end of an interval: its unit stands with the measurement."""
    return points(value) if tell is _points else tell(value)
