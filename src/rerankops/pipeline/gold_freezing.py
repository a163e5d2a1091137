"""Steps that freeze gold questions: the next version of a set, what it can show, and judgments that it makes leaks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from filelock import FileLock

from rerankops.annotation.gold import consensus, freezing
from rerankops.errors import ArtefactDamaged, GoldLeak, InputError
from rerankops.evaluation import significance
from rerankops.evaluation.readers import may_refuse
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.gold import DRAFTS, answer_addresses, gold_status, judged_texts
from rerankops.pipeline.gold_sets import SETS, checked_name, entries, find, versions
from rerankops.pipeline.judgments import JUDGMENTS, withhold
from rerankops.promotion import budget
from rerankops.promotion.strata import level as strata_level
from rerankops.queries.normalise import identify
from rerankops.queries.sources import read_gold, table_rows
from rerankops.records import GoldDraft, GoldEntry, GoldQuestion, Judgment
from rerankops.workspace import Address, digest

_NAMED = 3
"""Leaking queries that an error names; all of them are in the report."""


@dataclass(frozen=True)
class Frozen:
    """A version of a set. added: 0 when nothing changed and the newest version stands.

    withheld: judged queries that training leaves out from now on.
    """

    name: str
    version: int
    address: Address
    added: int
    retired: int
    withheld: int


@dataclass(frozen=True)
class Reach:
    """What a stratum of a set, or the whole set, can show.

    questions: asked by the gate. minimum: below it the gate tests the stratum with other small ones, or refuses the
    whole set. noticeable: the smallest true loss in a stratum, or gain of the whole, that is noticed with the settings'
    power, None: not even all; difference: the one that matters (a stratum's that must be noticed, the whole's margin).
    needed: questions to notice it, None: no number.
    """

    stratum: str
    questions: int
    minimum: int
    noticeable: float | None
    difference: float
    needed: int | None


@step
def freeze_gold(
    context: Context,
    name: str,
    *,
    draft: str | None = None,
    file: str | Path | None = None,
    answered_by: Collection[str] = (),
    retire: Mapping[str, str] | None = None,
    leave_out: Collection[str] = (),
    drop_judged: bool = False,
) -> Frozen:
    """The next version of gold set `name`: all of the one before, unchanged, and what the draft settled or the file
    holds. When there is nothing new and nothing to retire the newest version stands.

    retire: question id to reason. leave_out: ids of the draft or file that do not come along. answered_by: who is
    behind a file that does not say so itself. drop_judged: freeze although queries that were judged, or sent to
    annotators, nearly equal new questions; training leaves them out from then on.

    Raises InputError for near-duplicates within the set, for a frozen question offered with other content and when
    there is nothing to freeze; GoldLeak for judged queries, unless drop_judged.
    """
    workspace = context.workspace
    checked_name(name, of="gold set")
    with FileLock(_lock(context)):
        known = versions(workspace, name)
        newest = max(known, default=0)
        before = entries(workspace, known[newest]) if known else _none()
        offered, inputs = _offered(context, name, draft, file, answered_by)
        unknown = sorted(set(leave_out) - set(offered["question_id"]))
        if unknown:
            raise InputError(f"--leave-out names question {unknown[0]}, which is not on offer")
        new = freezing.fresh(before, offered.filter(~pl.col("question_id").is_in(list(leave_out))))
        retire = (
            {} if retire is None else {key: why for key, why in retire.items() if not _is_retired(before, key, why)}
        )
        if new.is_empty() and not retire:
            if not known:
                raise InputError(f"gold set {name!r}: nothing to freeze; name a draft that is settled, or a file")
            log.info("freeze_gold: nothing new, %s@%d stands", name, newest)
            return Frozen(name, newest, known[newest], 0, 0, 0)
        leaks = _checked(context, before, new, retire, drop_judged)
        version = newest + 1

        def make() -> tuple[pa.Table, dict[str, float]]:
            table = freezing.next_version(before, new, retire, version=version, at=datetime.now(UTC))
            asked = table.filter(pl.col("retired_version").is_null(), ~pl.col("unanswerable"))
            counts: dict[str, float] = {"version": version, "added": new.height, "retired": len(retire)}
            counts |= {"questions": asked.height}
            counts |= {f"questions_{key}": n for key, n in sorted(asked.group_by("stratum").len().iter_rows())}
            return table.to_arrow(), counts

        identity = {
            "name": name,
            "version": version,
            "retire": dict(sorted(retire.items())),
            "questions": digest(new.drop("added_version", "added_at").to_dicts()),
        }
        address = context.table(
            GoldEntry,
            make,
            step="freeze_gold",
            inputs=[*([known[newest]] if known else []), *inputs],
            settings=identity,
        )
        if workspace.ref(f"{SETS}/{name}/{version}") not in (None, address):
            raise ArtefactDamaged(f"gold set {name!r} got a version {version} meanwhile; freeze again")
        if leaks.height:
            withhold(context, leaks["query_id"].to_list(), because=address)
        workspace.point(f"{SETS}/{name}/{version}", address)
        workspace.point(f"{SETS}/{name}", address)
        return Frozen(name, version, address, new.height, len(retire), leaks.height)


def reach(context: Context, address: Address) -> list[Reach]:
    """What each stratum of a version, and all of it, can show under the gate's settings and gold.discordance.

    A stratum's test is Holm-corrected: its alpha is divided by the number of groups that are tested, refusals and small
    strata among them, the hardest case.
    The whole set's is that of a first look.
    """
    gate, gold = context.settings.promotion, context.settings.gold
    frozen = entries(context.workspace, address)
    asked = frozen.filter(pl.col("retired_version").is_null(), ~pl.col("unanswerable"))
    sizes = dict(sorted(asked.group_by("stratum").len().iter_rows()))
    large = sum(size >= gate.min_stratum_questions for size in sizes.values())
    refusals = gate.max_unnoticed_refusal_loss is not None and may_refuse(context.settings.reader)
    tested = large + (large < len(sizes)) + refusals
    allowed, level = gate.max_unnoticed_stratum_loss, strata_level(tested, gate)
    noticing = partial(significance.questions_noticing, churn=gold.discordance, level=level, power=gold.power)
    noticed = partial(significance.noticeable_loss, churn=gold.discordance, level=level, power=gold.power)
    enough = noticing(allowed) if allowed else None
    strata = [
        Reach(
            stratum,
            size,
            gate.min_stratum_questions,
            noticed(size),
            allowed,
            enough,
        )
        for stratum, size in sizes.items()
    ]
    share = gate.first_metric_share if len(gate.metrics) > 1 else 1.0
    first = {"discordance": gold.discordance, "alpha": budget.level(0.0, gate.alpha) * share, "power": gold.power}
    gain = gate.inferiority_margin
    whole = Reach(
        consensus.WHOLE,
        asked.height,
        gate.min_questions,
        freezing.noticeable(asked.height, **first) if asked.height else None,
        gain,
        int(freezing.questions_needed(gain, **first)) + 1 if gain else None,
    )
    return [*strata, whole]


@step
def export_gold(context: Context, which: str, *, everything: bool = False) -> list[dict[str, Any]]:
    """The rows of NAME or NAME@VERSION as a gold file holds them; unanswerable questions only with `everything`."""
    frozen = entries(context.workspace, find(context.workspace, which)[2])
    return [dict(row) for row in freezing.export(frozen) if everything or not row["unanswerable"]]


def _offered(
    context: Context, name: str, draft: str | None, file: str | Path | None, answered_by: Collection[str]
) -> tuple[pl.DataFrame, list[Address]]:
    """What could be frozen, as records.GoldEntry without a version yet, and what it comes from."""
    if draft is not None and file is not None:
        raise InputError("a version comes from a draft or from a file, not from both; freeze twice")
    workspace = context.workspace
    if draft is not None:
        settled = gold_status(draft, context=context).settled
        source = workspace.require(f"{DRAFTS}/{draft}", "")
        texts = pl.DataFrame(pl.from_arrow(workspace.read(source, GoldDraft)))
        by_id = dict(texts.select("question_id", "text").iter_rows())
        ready = [one for one in settled if one.state in (consensus.AGREED, consensus.RESOLVED)]
        rows = [
            {
                "question_id": one.question_id,
                "text": by_id[one.question_id],
                "accepted_answers": list(one.accepted_answers),
                "stratum": one.stratum,
                "relevant_passage_ids": [passage for passage, _ in one.relevant],
                "relevant_grades": [grade for _, grade in one.relevant],
                "unanswerable": one.unanswerable,
                "answered_by": list(one.answered_by),
                "resolved_by": one.resolved_by,
                "source": f"draft {draft}",
            }
            for one in ready
        ]
        return _entries(rows), [source, *answer_addresses(context, draft)]
    if file is None:
        return _none(), []
    questions = read_gold(str(file), context.settings.reading)
    people = {
        str(row.get("question_id") or row.get("query_id") or row.get("_id")): row.get("answered_by")
        for _, row, _ in table_rows(str(file), context.settings.reading, setting="--from-file")
    }
    address = workspace.publish(GoldQuestion, questions, step="read_gold", counts={"questions": questions.num_rows})
    rows = [
        row
        | {
            "unanswerable": False,
            "answered_by": [str(person) for person in people.get(row["question_id"]) or sorted(answered_by)],
            "source": Path(file).name,
        }
        for row in questions.to_pylist()
    ]
    return _entries(rows), [address]


def _entries(rows: list[dict[str, Any]]) -> pl.DataFrame:
    unset = {"added_version": 0, "added_at": datetime(1970, 1, 1, tzinfo=UTC)}
    return pl.DataFrame(pl.from_arrow(GoldEntry.table([row | unset for row in rows])))


def _none() -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(GoldEntry.empty()))


def _is_retired(before: pl.DataFrame, question_id: str, reason: str) -> bool:
    """Whether the newest version already says so: the same command again is no new version."""
    same = (pl.col("question_id") == question_id) & (pl.col("retired_reason") == reason)
    return not before.filter(same.fill_null(False)).is_empty()


def _checked(
    context: Context, before: pl.DataFrame, new: pl.DataFrame, retire: Mapping[str, str], drop_judged: bool
) -> pl.DataFrame:
    """The judged queries that leak; raises what `freeze_gold` does."""
    settings = context.settings.queries

    def normal(frame: pl.DataFrame) -> pl.DataFrame:
        normal = identify(frame["text"], settings)["normal"]
        return frame.select(id="question_id").with_columns(normal=normal)

    asked = before.filter(pl.col("retired_version").is_null(), ~pl.col("question_id").is_in(list(retire)))
    freezing.refuse_near_duplicates(
        normal(asked), normal(new), threshold=settings.near_duplicate_threshold, synonyms=settings.synonyms
    )
    judged = judged_texts(context)
    leaks = freezing.leaks(normal(new), judged, threshold=settings.gold_distance_threshold, synonyms=settings.synonyms)
    if leaks.height and not drop_judged:
        texts = leaks.join(judged, left_on="query_id", right_on="id")["normal"]
        named = "; ".join(repr(text) for text in texts[:_NAMED]) + ("; …" if leaks.height > _NAMED else "")
        raise GoldLeak(
            f"{leaks.height} queries that were judged or sent to annotators nearly equal new gold questions: {named} "
            f"(all of them, with their judgments: {_report(context, leaks, judged)}). Leave those questions out "
            "(--leave-out ID), or withhold the judgments from training (--drop-judged) and retrain before comparing: "
            "a champion that learned from them would look better than it is"
        )
    return leaks


def _report(context: Context, leaks: pl.DataFrame, judged: pl.DataFrame) -> str:
    """Where the list of leaking queries is."""
    workspace = context.workspace
    address = workspace.ref(JUDGMENTS)
    table = workspace.read(address, Judgment) if address else Judgment.empty()
    counts = (
        pl.DataFrame(pl.from_arrow(table))
        .group_by("query_id")
        .agg(judgments=pl.len(), origins=pl.col("origin").unique())
    )
    rows = (
        leaks.join(judged, left_on="query_id", right_on="id")
        .join(counts, on="query_id", how="left")
        .with_columns(pl.col("judgments").fill_null(0), pl.col("origins").list.sort())
        .sort("query_id")
    )
    stored = workspace.publish_document("gold_leaks", {"queries": rows.to_dicts()}, step="freeze_gold")
    return workspace.place(stored, "document.json")


def _lock(context: Context) -> Path:
    path = context.local("locks", "gold.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
