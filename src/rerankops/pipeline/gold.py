"""Steps of making gold questions: a draft, and where it stands. Forms: pipeline.gold_forms; versions: gold_freezing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops import reading
from rerankops.annotation.gold import consensus, drafting
from rerankops.annotation.gold.forms import ANNOTATOR
from rerankops.errors import ArtefactMissing, InputError
from rerankops.evaluation.normalise import normalise
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import GOLD
from rerankops.pipeline.gold_sets import SETS, checked_name, entries
from rerankops.pipeline.judgments import JUDGMENTS
from rerankops.pipeline.queries import gold_texts, pull_events, pulled_events
from rerankops.privacy import Redactor
from rerankops.queries.distilling import distil
from rerankops.queries.normalise import identify, near_to, stratum_of
from rerankops.queries.sources import table_rows
from rerankops.records import GoldAnswer, GoldDraft, Judgment, Query, QueryEvent
from rerankops.workspace import Address, digest

DRAFTS = "gold-drafts"
"""References: drafts by name."""
ASSIGNMENTS = "gold-assignments"
"""References: who answers what of a draft."""
ANSWERS = "gold-answers"
"""References: `gold-answers/DRAFT/ROLE-PERSON`, all that a person answered of a draft."""


@dataclass(frozen=True)
class Status:
    """Where a draft stands. outstanding: questions that each person still has to answer."""

    draft: str
    settled: list[consensus.Settled]
    accord: list[consensus.Accord]
    outstanding: dict[str, int]

    def states(self) -> dict[str, Counter[str]]:
        """State counts by stratum."""
        found: dict[str, Counter[str]] = {}
        for one in self.settled:
            found.setdefault(one.stratum, Counter())[one.state] += 1
        return found


@step
def draft_gold(
    context: Context,
    name: str,
    *,
    file: str | Path | None = None,
    per_stratum: int | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Address:
    """Questions for a gold set, as records.GoldDraft, pointed at by `gold-drafts/NAME`. A draft that exists stands.

    From production: `per_stratum` of each stratum among the queries of all pulls dealt with, or of the window from
    since to until; from a file (*.txt, one question a line, or *.jsonl with `text`, perhaps `question_id` and
    `stratum`): all of it. Left out is whatever equals or nearly equals a gold question, frozen or in another draft, and
    whatever was judged or sent to annotators: it may have been trained on.

    Raises InputError when nothing is left to ask.
    """
    workspace, settings = context.workspace, context.settings
    existing = workspace.ref(f"{DRAFTS}/{checked_name(name, of='draft')}")
    if existing:
        log.info("draft_gold: %s exists and stands", name)
        return existing
    number = per_stratum or settings.gold.questions_per_stratum
    events = _events(context, since, until) if file is None else []
    taken = _taken(context)

    def make() -> tuple[pa.Table, dict[str, float]]:
        if file is None:
            tables = [pl.DataFrame(pl.from_arrow(workspace.read(address, QueryEvent))) for address in events]
            distilled, counts = distil(pl.concat(tables).unique("event_id"), taken, settings.queries)
            drawn = drafting.draw(
                distilled,
                [stratum.name for stratum in settings.queries.strata],
                per_stratum=number,
                seed=settings.training.seed,
            )
            counts["left_out_near_known"] = counts.pop("near_gold")
        else:
            drawn, counts = _from_file(context, file, taken)
        if drawn.is_empty():
            raise InputError(f"draft {name!r}: nothing is left to ask that is neither gold nor judged already")
        strata = dict(drawn.group_by("stratum").len().iter_rows())
        return drawn.to_arrow(), counts | {"questions": drawn.height} | {f"questions_{s}": strata[s] for s in strata}

    if file is None:
        address = context.table(
            GoldDraft,
            make,
            step="draft_gold",
            inputs=events,
            settings={
                "name": name,
                "per_stratum": number,
                "queries": settings.queries.model_dump(mode="json"),
                "seed": settings.training.seed,
            },
        )
    else:
        table, counts = make()
        identity = {"name": name, "questions": digest(table.to_pylist())}
        address = workspace.publish(GoldDraft, table, step="draft_gold", settings=identity, counts=counts)
    workspace.point(f"{DRAFTS}/{name}", address)
    return address


@step
def gold_status(context: Context, name: str) -> Status:
    """Where a draft stands, computed from all that was collected."""
    workspace, settings = context.workspace, context.settings.gold
    draft = draft_address(context, name)
    answers = collected(context, name)
    settled = consensus.settle(
        workspace.read(draft, GoldDraft),
        answers,
        normalise=normalise,
        per_question=settings.annotators_per_question,
        passage_agreement=settings.passage_agreement,
    )
    assignment = workspace.ref(f"{ASSIGNMENTS}/{name}")
    assigned = workspace.read_document(assignment)["assigned"] if assignment else {}
    waiting = {one.question_id for one in settled if one.state == consensus.WAITING}
    given = {(row["annotator_id"], row["question_id"]) for row in answers.to_pylist() if row["role"] == ANNOTATOR}
    outstanding = {
        person: sum(question in waiting and (person, question) not in given for question in questions)
        for person, questions in sorted(assigned.items())
    }
    return Status(name, settled, consensus.accord(settled, answers), outstanding)


def answer_addresses(context: Context, name: str) -> list[Address]:
    """The answers of everybody to a draft, sorted."""
    workspace = context.workspace
    return sorted(workspace.require(ref, "") for ref in workspace.refs(f"{ANSWERS}/{name}"))


def collected(context: Context, name: str) -> pa.Table:
    """records.GoldAnswer of everybody."""
    tables = [context.workspace.read(address, GoldAnswer) for address in answer_addresses(context, name)]
    return GoldAnswer.conform(pa.concat_tables([GoldAnswer.empty(), *tables]))


def judged_texts(context: Context) -> pl.DataFrame:
    """id and normal of every query that was judged or sent to annotators: it may be, or come to be, trained on."""
    workspace = context.workspace
    judgments = workspace.ref(JUDGMENTS)
    parts = [pl.DataFrame(schema={"id": pl.String, "normal": pl.String})]
    if judgments:
        judged = pl.DataFrame(pl.from_arrow(workspace.read(judgments, Judgment)))
        parts.append(judged.select(id="query_id", normal="query_text"))
    for name in workspace.refs("samples"):
        sample = pl.DataFrame(pl.from_arrow(workspace.read(workspace.require(name, ""), Query)))
        parts.append(sample.select(id="query_id", normal="text"))
    return pl.concat(parts).unique("id").sort("id")


def draft_address(context: Context, name: str) -> Address:
    """The draft of that name. Raises ArtefactMissing."""
    known = [ref.split("/")[1] for ref in context.workspace.refs(DRAFTS)]
    address = context.workspace.ref(f"{DRAFTS}/{checked_name(name, of='draft')}")
    if address is None:
        raise ArtefactMissing(f"there is no draft {name!r}; there are {known}; `rerankops gold draft {name}` makes it")
    return address


def _events(context: Context, since: str | None, until: str | None) -> list[Address]:
    if since or until:
        pulled = pull_events(since or "0001-01-01T00:00:00Z", until, context=context)
        events = [pulled] if pulled else []
    else:
        events, _ = pulled_events(context)
    if not events:
        raise InputError(
            "there are no production queries to draw from yet; give a window (--since), or your own (--from-file)"
        )
    return events


def _taken(context: Context) -> pl.DataFrame:
    """id and normal of everything that a new draft must not come near."""
    workspace = context.workspace
    gold = workspace.ref(GOLD)
    texts = [pl.Series("text", [], pl.String)]
    texts += [entries(workspace, workspace.require(ref, ""))["text"] for ref in workspace.refs(SETS)]
    for ref in workspace.refs(DRAFTS):
        drafted = workspace.read(workspace.require(ref, ""), GoldDraft)
        texts.append(pl.Series("text", drafted["text"].to_pylist(), pl.String))
    whole = pl.concat(texts)
    normal = identify(whole, context.settings.queries)["normal"]
    parts = [judged_texts(context), pl.DataFrame({"id": whole, "normal": normal})]
    if gold:
        parts.append(gold_texts(context, gold))
    return pl.concat(parts).drop_nulls("normal").unique("normal").sort("normal")


def _from_file(context: Context, file: str | Path, taken: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, float]]:
    """records.GoldDraft as a frame. Personal data are removed; unusable and known questions are left out, counted."""
    settings, rows = context.settings.queries, list[dict[str, Any]]()
    if str(file).endswith(".txt"):
        (text,) = reading.files_at(str(file), setting="--from-file").files
        for number, line, _ in reading.text_lines(text, context.settings.reading):
            if isinstance(line, reading.Unfit):
                raise InputError(f"{file}:{number}: {line}")
            rows += [{"text": line.strip()}] if line.strip() else []
    else:
        columns = (("text",),)
        more = ("question_id", "stratum")
        for place, row, _ in table_rows(
            str(file), context.settings.reading, setting="--from-file", columns=columns, more=more
        ):
            if not isinstance(row.get("text"), str) or not row["text"].strip():
                raise InputError(f"{place}: text is missing; the line has {sorted(row)}")
            known = {name: str(row[name]) for name in ("question_id", "stratum") if row.get(name)}
            rows.append(known | {"text": row["text"].strip()})
    schema = {"question_id": pl.String, "text": pl.String, "stratum": pl.String}
    given = pl.DataFrame([schema.fromkeys(schema) | row for row in rows], schema=schema)
    redacted = Redactor(settings).redact(given["text"])
    settled = pl.when(redacted["doubt"].is_null())
    identified = identify(redacted["text"], settings).with_columns(settled.then("query_id").alias("query_id"))
    frame = given.with_columns(text=redacted["text"]).hstack(identified)
    usable = frame.drop_nulls("query_id").unique("normal", keep="first", maintain_order=True)
    near = near_to(
        usable.select(id="query_id", normal="normal"),
        taken,
        threshold=settings.gold_distance_threshold,
        synonyms=settings.synonyms,
    )
    kept = usable.filter(~pl.col("query_id").is_in(list(near)))
    drawn = kept.select(
        question_id=pl.coalesce("question_id", "query_id"),
        text="text",
        stratum=pl.coalesce("stratum", stratum_of(pl.col("normal"), settings.strata)),
        source=pl.lit("file"),
        frequency=pl.lit(None, pl.Int64),
    )
    counts: dict[str, float] = {
        "given": given.height,
        "redactions": int(redacted["redactions"].sum() or 0),
        "unusable": frame["query_id"].null_count(),
        "left_out_near_known": usable.height - kept.height,
    }
    if doubtful := redacted["doubt"].count():
        counts["in_doubt"] = doubtful
    return drawn.sort("question_id"), counts
