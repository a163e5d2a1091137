"""The people behind a delivery: who is careless, too fast, presses one key, or is somebody else."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from rerankops.annotation.expectations._patterns import PERIODS, copies, peers, repetition
from rerankops.annotation.expectations._statistics import DOUBT, SIGNIFICANCE, at_least, at_most, tail
from rerankops.annotation.expectations._verdict import SET_ASIDE, WARNING, Check, expectation
from rerankops.annotation.expectations._words import NAMED, listed, quoted
from rerankops.config.settings import AnnotationSettings
from rerankops.records import GRADES

CONTROL_TOLERANCE = 1
"""A control is passed within this many grades of its known grade (which is 0 or 3, see batches)."""
MONOTONOUS = 0.95
"""Share of one grade from which a test asks whether it is plausible."""
PERIODIC = 0.98
"""Share of grades that repeat after a period, from which a test asks the same."""
CHANCE_KAPPA = 0.2
"""Agreement with other people up to which a pattern is not explained by the tasks ('slight', Landis and Koch 1977)."""
NO_AGREEMENT = 0.1
"""Agreement with other people that a guess may reach; who is below beyond doubt did not read."""
MIN_COPIED, COPIED = 10, 0.9
"""Tasks, and share of somebody's work, that must be another's to the instant."""
MIN_PEERS = 30
"""Grades of other people on the same tasks, below which all others' grades are what to compare with."""


def passed() -> pl.Expr:
    """Whether a control annotation is within CONTROL_TOLERANCE; null for other annotations."""
    return (pl.col("grade_value") - pl.col("control_grade")).abs() <= CONTROL_TOLERANCE


def passed_reversed() -> pl.Expr:
    """Whether it would be, were its grades turned round."""
    return (GRADES[-1] - pl.col("grade_value") - pl.col("control_grade")).abs() <= CONTROL_TOLERANCE


def measured(sound: pl.DataFrame, annotators: pl.DataFrame, settings: AnnotationSettings) -> pl.DataFrame:
    """A row for each annotator of the sound rows, those who passed fewest controls first.

    control_accuracy_at_most, fast_share_at_least, kappa_at_most: bounds at 95 %. seconds: median a task, of
    lead_seconds or, where the tool measured none, between one annotation and the next; null where times say nothing.
    monotony_p, pattern_p: chance of such uniform or periodic grades, null where they are neither. copy_of: whose work
    it is, to the instant.
    """
    from scipy.special import ndtri

    order = sound.sort("annotator", "annotated_at_value", "line")
    code, annotator = np.unique(order["annotator"].to_numpy(), return_inverse=True)
    annotator, people = annotator.astype(np.int64), len(code)
    grade = order["grade_value"].to_numpy().astype(np.int64)
    about = peers(order["task"].to_numpy().astype(np.int64), annotator, grade, people)
    work = about.own.sum(axis=1)
    level = SIGNIFICANCE / max(1, people)
    top = about.own.argmax(axis=1)
    top_share = about.own[np.arange(people), top] / work
    expected = _expected(about.own, about.others)
    monotony = tail(about.own.max(axis=1), work, expected[np.arange(people), top])
    period, repeated, repeatable = repetition(annotator, grade, people)
    by_chance = ((about.own / work[:, None]) ** 2).sum(axis=1)
    pattern = tail(repeated, repeatable, by_chance)
    uniform = (top_share >= MONOTONOUS) & ~np.isnan(expected[:, 0])
    periodic = (
        (top_share < MONOTONOUS)
        & (repeated >= PERIODIC * repeatable)
        & ~(about.kappa > CHANCE_KAPPA)  # NaN: nobody shares a task, and nothing explains the pattern
    )
    names = order.group_by("annotator", maintain_order=True).agg(
        controls=passed().count(),
        controls_passed=passed().sum(),
        control_accuracy=passed().mean(),
        reversed_accuracy=passed_reversed().mean(),
    )
    names = names.join(annotators, on="annotator", how="left", maintain_order="left")
    copied = copies(order, least=MIN_COPIED, share=COPIED)
    return (
        names.with_columns(
            annotations=pl.Series(work).cast(pl.Int64),
            control_accuracy_at_most=pl.Series(at_most(names["controls_passed"], names["controls"])),
            top_grade=pl.Series(top),
            top_share=pl.Series(top_share),
            monotony_p=pl.Series(np.where(uniform, np.minimum(1, monotony * len(GRADES)), np.nan)).fill_nan(None),
            period=pl.Series(period).cast(pl.Int64),
            pattern_p=pl.Series(np.where(periodic, np.minimum(1, pattern * len(PERIODS)), np.nan)).fill_nan(None),
            kappa=pl.Series(about.kappa).fill_nan(None),
            kappa_at_most=pl.Series(about.kappa + ndtri(1 - DOUBT) * about.error).fill_nan(None),
            level=pl.lit(level),
            **_speed(order, annotator, people, settings.min_median_seconds),
        )
        .join(copied, on="annotator", how="left", maintain_order="left")
        .join(
            names.select(copy_of="annotator", copy_of_id="annotator_id"),
            on="copy_of",
            how="left",
            maintain_order="left",
        )
        .join(_namesakes(names, sound), on="annotator_id", how="left", maintain_order="left")
        .sort("control_accuracy", "annotator_id", nulls_last=True)
    )


def _expected(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(annotators, grades): how often other people give each grade, on the same tasks where they are enough, else on
    all; one of each added (Laplace). NaN where there are not enough at all."""
    everyone = own.sum(axis=0) - own
    enough = others.sum(axis=1, keepdims=True) >= MIN_PEERS
    compared = np.where(enough, others, everyone)
    n = compared.sum(axis=1, keepdims=True)
    return np.asarray(np.where(n >= MIN_PEERS, (compared + 1) / (n + len(GRADES)), np.nan))


def _speed(order: pl.DataFrame, annotator: np.ndarray, people: int, fastest: float) -> dict[str, pl.Series]:
    """seconds (median) and fast_share_at_least of each annotator; see measured."""
    seconds = order["seconds"].to_numpy().astype(np.float64)
    instants = order["annotated_at_value"].to_physical().to_numpy()
    told = np.bincount(annotator, ~np.isnan(seconds), people)
    work = np.bincount(annotator, minlength=people)
    gaps = np.full(len(seconds), np.nan)
    together = annotator[1:] == annotator[:-1]
    gaps[1:][together] = (instants[1:] - instants[:-1])[together] / 1e6
    times = np.bincount(annotator, np.nan_to_num(gaps, nan=1.0) > 0, people)
    if 2 * np.sum(times * 2 >= work) < people:  # most people have one time for most of their work: an export's date
        gaps[:] = np.nan
    used = np.where((told * 2 >= work)[annotator], seconds, gaps)
    known = ~np.isnan(used)
    timed = np.bincount(annotator[known], minlength=people)
    fast = np.bincount(annotator[known], used[known] < fastest, people)
    median = (
        pl.DataFrame({"annotator": annotator, "used": used})
        .with_columns(pl.col("used").fill_nan(None))
        .group_by("annotator")
        .agg(pl.col("used").median())
        .sort("annotator")["used"]
    )
    return {"seconds": median, "fast_share_at_least": pl.Series(at_least(fast, timed))}


def _namesakes(names: pl.DataFrame, sound: pl.DataFrame) -> pl.DataFrame:
    """Ids that read alike, as 'Ann-1' and 'ann-1': annotator_id, spelling_of (the one who did most) and whether the
    two grade the same tasks, as if they were two people."""
    alike = defaultdict(list)
    for name in names["annotator_id"].to_list():
        alike["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    doubtful = [group for group in alike.values() if len(group) > 1]
    code = dict(names.select("annotator_id", "annotator").iter_rows())
    work = dict(sound["annotator"].value_counts().iter_rows()) if doubtful else {}
    rows = []
    for group in doubtful:
        first, *others = sorted(group, key=lambda name: (-work[code[name]], name))
        graded = set(sound.filter(pl.col("annotator") == code[first])["task"])
        for name in others:
            shared = not graded.isdisjoint(sound.filter(pl.col("annotator") == code[name])["task"])
            rows.append({"annotator_id": name, "spelling_of": first, "same_tasks": shared})
    return pl.DataFrame(
        rows, schema={"annotator_id": pl.String, "spelling_of": pl.String, "same_tasks": pl.Boolean}, orient="row"
    )


# -- rules ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PersonRule:
    """What every annotator must be.

    name: of the fault. column, kind, arguments: the expectation. broken: the annotators who are not. told: what is
    said of one, a key of _TOLD.
    """

    name: str
    column: str
    about: str
    broken: pl.Expr
    told: str
    remedy: str
    kind: str
    arguments: dict[str, object]
    severity: str = SET_ASIDE


def person_rules(table: pl.DataFrame, settings: AnnotationSettings) -> list[PersonRule]:
    """table: see measured."""
    accuracy, fastest = settings.min_control_accuracy, settings.min_median_seconds
    level = table["level"][0] if table.height else SIGNIFICANCE
    between = "ExpectColumnValuesToBeBetween"
    none = "ExpectColumnValuesToBeNull"
    return [
        PersonRule(
            "failed controls",
            "control_accuracy_at_most",
            f"nobody passes fewer than {accuracy:.1%} of their control tasks beyond doubt",
            pl.col("control_accuracy_at_most") < accuracy,
            "control",
            "explain the grades to them and have these tasks graded again",
            between,
            {"min_value": accuracy},
        ),
        PersonRule(
            "doubtful controls",
            "doubtful_control_accuracy",
            f"everybody passes at least {accuracy:.1%} of their control tasks",
            pl.col("doubtful_control_accuracy") < accuracy,
            "doubtful",
            "look at a sample of their grades before the next batch",
            between,
            {"min_value": accuracy},
            WARNING,
        ),
        PersonRule(
            "too fast",
            "fast_share_at_least",
            f"nobody grades most tasks in less than {fastest:g} s beyond doubt",
            pl.col("fast_share_at_least") > 0.5,
            "fast",
            "ask them to read before they grade and have these tasks graded again",
            between,
            {"max_value": 0.5},
        ),
        PersonRule(
            "chance agreement",
            "kappa_at_most",
            "nobody's agreement with other people is that of a guess beyond doubt",
            pl.col("kappa_at_most") < NO_AGREEMENT,
            "chance",
            "explain the grades to them and have these tasks graded again",
            between,
            {"min_value": NO_AGREEMENT},
        ),
        PersonRule(
            "one grade throughout",
            "monotony_p",
            "nobody gives one grade throughout where other people's differ",
            pl.col("monotony_p") < level,
            "monotony",
            "talk to them and have these tasks graded again",
            between,
            {"min_value": level},
        ),
        PersonRule(
            "a pattern throughout",
            "pattern_p",
            "nobody's grades repeat after a period that the tasks do not explain",
            pl.col("pattern_p") < level,
            "pattern",
            "talk to them and have these tasks graded again",
            between,
            {"min_value": level},
        ),
        PersonRule(
            "another's work",
            "copy_of_id",
            "nobody's work is another's to the instant",
            pl.col("copy_of_id").is_not_null(),
            "copy",
            "find out who graded; one person counts once",
            none,
            {},
        ),
        PersonRule(
            "two names",
            "forged_name",
            "nobody grades tasks under two spellings of a name",
            pl.col("forged_name").is_not_null(),
            "name",
            "find out who graded; one person counts once",
            none,
            {},
        ),
        PersonRule(
            "two spellings",
            "second_spelling",
            "names are spelt in one way",
            pl.col("second_spelling").is_not_null(),
            "name",
            "use one spelling for each person",
            none,
            {},
            WARNING,
        ),
    ]


def with_doubts(table: pl.DataFrame, settings: AnnotationSettings) -> pl.DataFrame:
    """Columns that tell what is certain from what is only a doubt."""
    certain = pl.col("control_accuracy_at_most") < settings.min_control_accuracy
    return table.with_columns(
        doubtful_control_accuracy=pl.when(~certain).then(pl.col("control_accuracy")),
        forged_name=pl.when("same_tasks").then("spelling_of"),
        second_spelling=pl.when(~pl.col("same_tasks")).then("spelling_of"),
    )


_TOLD = {
    "control": "passed {controls_passed} of {controls} control tasks, at best {control_accuracy_at_most:.1%} of all, "
    "{needed:.1%} are needed{turned}",
    "doubtful": "passed {controls_passed} of {controls} control tasks, {needed:.1%} are needed, but they are too few "
    "to tell",
    "fast": "took {seconds:.2g} s a task (median), at least {fastest:g} s are needed to read one",
    "chance": "agrees with other people on {annotations} tasks no better than by chance (kappa {kappa:.2f})",
    "monotony": "gave grade {top_grade} to {top_share:.1%} of {annotations} tasks, which other people's grades make "
    "implausible",
    "pattern": "repeats the same {period} grades over and over in {annotations} tasks",
    "copy": "has the same grades at the same instants as annotator {copy_of_id} on {copied} of {annotations} tasks",
    "name": "reads like annotator {spelling_of}",
}


def told(rule: PersonRule, row: dict[str, object], settings: AnnotationSettings) -> str:
    """What is said of one annotator, continuing "annotator 'ann-1' …"."""
    plain = {name: quoted(value) if isinstance(value, str) else value for name, value in row.items()}
    reversed_ = row["reversed_accuracy"]
    turned = isinstance(reversed_, float) and reversed_ >= settings.min_control_accuracy
    return _TOLD[rule.told].format(
        **plain,
        needed=settings.min_control_accuracy,
        fastest=settings.min_median_seconds,
        turned=" (turned round, 3 for 0, they would pass)" if turned else "",
    )


def person_checks(table: pl.DataFrame, rules: Sequence[PersonRule], settings: AnnotationSettings) -> list[Check]:
    return [
        Check(
            expectation(rule.name, rule.kind, {"column": rule.column, **rule.arguments}, rule.about, rule.severity),
            rule.severity,
            partial(_named, rule, settings),
            broken := table.filter(rule.broken).height,
            int(table.filter(rule.broken)["annotations"].sum()) if broken and rule.severity == SET_ASIDE else 0,
        )
        for rule in rules
    ]


def _named(rule: PersonRule, settings: AnnotationSettings, table: pl.DataFrame) -> tuple[str, str]:
    low = table.filter(rule.broken)
    rows = low.head(NAMED).iter_rows(named=True)
    said = [f"annotator {quoted(row['annotator_id'])} {told(rule, row, settings)}" for row in rows]
    rest = f"; and {low.height - NAMED:,} more" if low.height > NAMED else ""
    return f"{low.height} of {table.height} annotators", f"{listed(said)}{rest}; {rule.remedy}"


def condemned(table: pl.DataFrame, rules: Sequence[PersonRule], settings: AnnotationSettings) -> pl.DataFrame:
    """annotator, why, faults: those who are set aside, all that is said of them, and in short."""
    setting = [rule for rule in rules if rule.severity == SET_ASIDE]
    low = table.filter(pl.any_horizontal(rule.broken.fill_null(value=False) for rule in setting))
    flags = {rule.name: low.select(rule.broken.fill_null(value=False)).to_series().to_list() for rule in setting}
    why = [
        f"annotator {quoted(row['annotator_id'])} "
        + " and ".join(f"{told(rule, row, settings)}; {rule.remedy}" for rule in setting if flags[rule.name][number])
        for number, row in enumerate(low.iter_rows(named=True))
    ]
    faults = [
        f"{quoted(name)} ({listed(rule.name for rule in setting if flags[rule.name][number])})"
        for number, name in enumerate(low["annotator_id"])
    ]
    texts = {"why": pl.Series(why, dtype=pl.String), "faults": pl.Series(faults, dtype=pl.String)}
    return low.select("annotator").with_columns(**texts)
