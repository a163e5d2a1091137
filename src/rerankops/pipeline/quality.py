"""Steps that look at a table before the next step relies on it: suites of rules, Data Docs, a stop when it is unfit.

A check is an artefact beside the table: it is addressed by the table, by what that is compared with and by the settings
that set its bounds, so that a table is looked at once, and Great Expectations is imported only when there is something
new to look at. The table itself is never touched; its address does not know whether it was checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rerankops.errors import InputError
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import CORPUS, GOLD
from rerankops.records import Candidate, GoldQuestion, Judgment, Passage, Query, QueryEvent, Record, SelectedQuery
from rerankops.workspace import Address

if TYPE_CHECKING:
    from rerankops.annotation.suites import Suite

CHECKS = "checks"
"""References: the newest check of each table."""
_SEARCHED_FOR: dict[str, tuple[Record, str]] = {
    Query.name: (Query, "query_id"),
    SelectedQuery.name: (SelectedQuery, "query_id"),
    GoldQuestion.name: (GoldQuestion, "question_id"),
    Judgment.name: (Judgment, "query_id"),
}
"""Tables whose rows are searched for, and the column that a candidate calls query_id."""


class TableRefused(InputError):
    """A table does not meet a critical rule of its suite; the message names the rule, an example and the Data Docs."""


@step
def check_query_events(context: Context, events: Address) -> Address:
    """Looks at pulled events (suites.query_events). Returns the check. Raises TableRefused."""
    settings = context.settings
    # No event is later than the table that holds it: the same table gives the same answer whenever it is asked.
    written = datetime.fromisoformat(context.workspace.manifest(events).created_at)

    def suite() -> Suite:
        from rerankops.annotation.suites import query_events

        table = context.workspace.read(events, QueryEvent)
        return query_events.suite(table, settings.queries, settings.quality, written=written)

    bounds = [
        settings.quality.model_dump(include={"max_empty_share", "max_unusable_share", "max_time_fault_share"}),
        settings.queries.phone_region,
    ]
    return _checked(context, events, suite, bounds=bounds)


@step
def check_candidates(
    context: Context, candidates: Address, queries: Address | None = None, corpus: Address | None = None
) -> Address:
    """Looks at retrieved candidates (suites.candidates). Returns the check. Raises TableRefused.

    queries: the table that was searched for, corpus: the passages; None: the nearest in the candidates' lineage.
    """
    workspace, settings = context.workspace, context.settings
    behind = [] if queries and corpus else list(workspace.lineage(candidates))
    queries = queries or next((address for address in behind if _kind(address) in _SEARCHED_FOR), None)
    corpus = corpus or next((address for address in behind if _kind(address) == Passage.name), None)
    if queries is None or _kind(queries) not in _SEARCHED_FOR:
        raise InputError(
            f"{candidates} does not say what was searched for; name the table, one of {', '.join(_SEARCHED_FOR)}"
        )
    if corpus is None:
        raise InputError(f"{candidates} does not say which passages it was found in; name the corpus")
    record, column = _SEARCHED_FOR[_kind(queries)]

    def suite() -> Suite:
        from rerankops.annotation.suites import candidates as suites_of_candidates

        return suites_of_candidates.suite(
            workspace.read(candidates, Candidate),
            _column(workspace.read(queries, record), column),
            _column(workspace.read(corpus, Passage), "passage_id"),
            settings.retrieval,
            settings.quality,
        )

    bounds = [
        settings.retrieval.model_dump(include={"bm25_k", "dense_k"}),
        settings.quality.model_dump(include={"min_leg_share"}),
    ]
    return _checked(context, candidates, suite, others=[queries, corpus], bounds=bounds)


@step
def check_judgments(context: Context, judgments: Address, gold: Address | None = None) -> Address:
    """Looks at judgments (suites.judgments). Returns the check. Raises TableRefused.

    gold: the questions that must not be among them; None: the frozen ones.
    """
    workspace, settings = context.workspace, context.settings
    gold = gold or workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions")

    def suite() -> Suite:
        from rerankops.annotation.suites import judgments as suites_of_judgments
        from rerankops.pipeline.queries import gold_texts
        from rerankops.queries.normalise import near_to, normalised

        table = workspace.read(judgments, Judgment)
        texts = pl.DataFrame(pl.from_arrow(table.select(["query_id", "query_text"]))).unique(maintain_order=True)
        asked = texts.select(id="query_id", normal=normalised(pl.col("query_text")))
        queries = settings.queries
        near = near_to(
            asked, gold_texts(context, gold), threshold=queries.gold_distance_threshold, synonyms=queries.synonyms
        )
        return suites_of_judgments.suite(table, near, settings.annotation, settings.queries)

    bounds = [
        settings.annotation.model_dump(include={"positive_share"}),
        settings.queries.likeness(),
        [stratum.name for stratum in settings.queries.strata],
    ]
    return _checked(context, judgments, suite, others=[gold], bounds=bounds)


@step
def check_gold_questions(context: Context, gold: Address, corpus: Address | None = None) -> Address:
    """Looks at gold questions (suites.gold_questions). Returns the check. Raises TableRefused.

    corpus: the passages that answer them; None: the newest.
    """
    workspace, settings = context.workspace, context.settings
    corpus = corpus or workspace.require(CORPUS, "run refresh_corpus_index first; there are no passages")

    def suite() -> Suite:
        from rerankops.annotation.suites import gold_questions

        questions, passages = workspace.read(gold, GoldQuestion), workspace.read(corpus, Passage)
        texts = pl.DataFrame(pl.from_arrow(passages.select(["passage_id", "title", "text"])))
        return gold_questions.suite(
            questions,
            texts["passage_id"],
            _unsupported(pl.DataFrame(pl.from_arrow(questions)), texts),
            settings.queries,
            settings.promotion,
            settings.quality,
        )

    bounds = [
        settings.promotion.model_dump(include={"metrics", "min_questions", "min_stratum_questions"}),
        settings.quality.model_dump(include={"max_lost_gold_share"}),
        settings.queries.model_dump(mode="json", include={"near_duplicate_threshold", "synonyms"}),
        [stratum.name for stratum in settings.queries.strata],
    ]
    return _checked(context, gold, suite, others=[corpus], bounds=bounds)


def data_docs(context: Context, check: Address) -> str:
    """Where the Data Docs of a check (or of a verdict) can be opened."""
    return context.workspace.place(check, "data_docs/index.html")


def read_check(context: Context, check: Address) -> dict[str, Any]:
    """What a check found: table, findings (critical first), totals."""
    with context.workspace.local_folder(check) as folder:
        found: dict[str, Any] = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    return found


def _checked(
    context: Context,
    table: Address,
    suite: Callable[[], Suite],
    *,
    bounds: Any,
    others: Sequence[Address] = (),
) -> Address:
    """The check of a table; made when there is none of it yet, told and judged each time."""
    from dataclasses import asdict

    from rerankops.annotation import suites

    workspace, name = context.workspace, _kind(table)

    def build(folder: Path) -> Mapping[str, float]:
        now = datetime.fromisoformat(workspace.manifest(table).created_at)  # pages of one table are the same, always
        report = suites.check(suite(), data_docs=folder / "data_docs", run_name=table.split("/")[1][:12], now=now)
        found = {"table": table, "findings": [asdict(one) for one in report.findings], "totals": report.totals}
        text = json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False)
        (folder / "findings.json").write_text(text, encoding="utf-8")
        return {"critical": len(report.critical), "warnings": len(report.warnings), **report.totals}

    check = workspace.publish_folder(
        "checks", build, step=f"check_{name}", inputs=[table, *others], settings=bounds, version=suites.VERSION
    )
    workspace.point(f"{CHECKS}/{name}", check)
    findings = read_check(context, check)["findings"]
    for one in findings:
        if one["severity"] != suites.CRITICAL:
            log.warning("%s: rule %r is not met: %s", name, one["rule"], one["words"])
    refused = [one for one in findings if one["severity"] == suites.CRITICAL]
    where = data_docs(context, check)
    if refused:
        first, more = refused[0], [one["rule"] for one in refused[1:]]
        also = f" Also not met: {', '.join(map(repr, more))}." if more else ""
        raise TableRefused(
            f"{name}: rule {first['rule']!r} is not met: {first['words']}.{also} All about it: {where} ({table})"
        )
    log.info("check_%s: %d warnings, %s", name, len(findings), where)
    return check


def _unsupported(questions: pl.DataFrame, passages: pl.DataFrame) -> set[str]:
    """Ids of the questions none of whose accepted answers stands in a relevant passage of theirs. A question without
    answers, or without a passage in the corpus, cannot be told and is left out."""
    from rerankops.evaluation.normalise import mentions

    texts = (
        questions.select("question_id", "accepted_answers", passage_id="relevant_passage_ids")
        .filter(pl.col("accepted_answers").list.len() > 0)
        .explode("passage_id")
        .join(passages, on="passage_id", how="inner")
        .group_by("question_id", maintain_order=True)
        .agg(pl.col("accepted_answers").first(), text=pl.format("{}\n{}", "title", "text"))
    )
    rows = texts.iter_rows()  # gold questions are few, and an answer is found token by token
    return {name for name, answers, found in rows if not any(mentions(text, answers) for text in found)}


def _column(table: Any, name: str) -> pl.Series:
    return pl.Series(name, table.column(name).to_pylist(), dtype=pl.String)


def _kind(address: Address) -> str:
    return address.split("/")[0]
