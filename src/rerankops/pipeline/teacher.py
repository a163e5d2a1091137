"""Steps of teacher_grades: measure the teacher against people, choose what nobody judged, let it grade, use it or not.

Its answers are kept by the content of their question (pipeline.answers): a step that was stopped, by a kill or by its
budget, goes on where it was when it runs again, and what is known costs nothing. What a step publishes is therefore
addressed by what the model said, not by the question alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops.annotation import teacher as grading
from rerankops.annotation.teacher import TeacherGrade, TeacherPair
from rerankops.llm import Answer, Client
from rerankops.pipeline.answers import StoredAnswers
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.corpus import CORPUS, GOLD
from rerankops.pipeline.judgments import SOURCES, take_in
from rerankops.pipeline.queries import PULLS, distil_queries, gold_texts, retrieve_candidates
from rerankops.queries.normalise import identify, near_to
from rerankops.queries.sampling import stratified_sample
from rerankops.records import AnnotationTask, Candidate, Judgment, Passage, Query
from rerankops.workspace import Address, digest

SOURCE = "teacher"
TRUST = "teacher-trust"
"""Reference: the newest measurement of the teacher against people."""
ASKED = "teacher-pairs"
"""References: `teacher-pairs/IDENTITY/…`, every table of pairs that a teacher of this identity was asked about."""
_HINT = "run refresh_corpus_index first"


@dataclass(frozen=True)
class Spent:
    """What a step sent, and the answers that it found already there. words: the budget, too. problems, examples: pairs
    without a grade by kind of reason, and one reply of each kind (annotation.teacher.examples)."""

    requests: int
    tokens: int
    cached: int
    words: str
    problems: dict[str, int]
    examples: dict[str, dict[str, str]]

    def __add__(self, more: Spent) -> Spent:
        return Spent(
            self.requests + more.requests,
            self.tokens + more.tokens,
            self.cached + more.cached,
            self.words,
            {kind: self.problems.get(kind, 0) + more.problems.get(kind, 0) for kind in self.problems | more.problems},
            more.examples | self.examples,
        )


@dataclass(frozen=True)
class Teaching:
    """What a run came to. trust: the document of the measurement. labels: grades of pairs that nobody judged, None when
    none were asked for. judgments: all judgments there are now, None when this run changed nothing in them."""

    trust: dict[str, Any]
    trust_address: Address
    labels: Address | None
    judgments: Address | None
    spent: tuple[Spent, ...]


@step
def measure_teacher(context: Context) -> Address | None:
    """How far the teacher agrees with people, as a document, and whether it may be believed. None without a server.

    On a stratified sample of the pairs that people surely judged, and of controls. Never on gold questions.
    """
    if context.settings.llm.url is None:
        log.info("measure_teacher: no language model is configured (llm.url)")
        return None
    return _measure(context)[0]


@step
def choose_pairs(context: Context) -> Address | None:
    """TeacherPair: the first candidates of sampled queries of all pulls, less what people judged and what is near a
    gold question. None when there is none. The same pulls, index and judgments of people give the same pairs."""
    workspace, settings = context.workspace, context.settings
    pulls = sorted({workspace.require(name, "") for name in workspace.refs(PULLS)})
    if not pulls:
        log.info("choose_pairs: no queries were pulled yet")
        return None
    distilled = [distil_queries(events, context=context) for events in pulls]
    wanted = {"queries": settings.teacher.queries, "seed": settings.teacher.seed, "strata": settings.queries.strata}

    def draw() -> tuple[pa.Table, dict[str, float]]:
        tables = [pl.DataFrame(pl.from_arrow(workspace.read(address, Query))) for address in distilled]
        pool = (
            pl.concat(tables)
            .group_by("query_id")
            .agg(
                pl.col("text", "stratum").first(),
                pl.col("frequency").sum(),
                pl.col("first_seen").min(),
                pl.col("last_seen").max(),
            )
            .sort("query_id")
        )
        shares = {stratum.name: stratum.share for stratum in settings.queries.strata}
        drawn = stratified_sample(pool, shares, size=settings.teacher.queries, seed=settings.teacher.seed)
        return drawn.select(Query.columns).to_arrow(), {"pooled": pool.height, "queries": drawn.height}

    sample = context.table(Query, draw, step="draw_queries_to_teach", inputs=distilled, settings=wanted)
    candidates = retrieve_candidates(sample, context=context)
    corpus = workspace.manifest(workspace.manifest(candidates).inputs[1]).inputs[0]
    people = _people(context)

    def make() -> tuple[pa.Table, dict[str, float]]:
        queries = pl.DataFrame(pl.from_arrow(workspace.read(sample, Query)))
        first = (
            pl.DataFrame(pl.from_arrow(workspace.read(candidates, Candidate)))
            .filter(pl.col("rank") <= settings.teacher.candidates_per_query)
            .join(queries.select("query_id", "stratum", query_text="text"), on="query_id")
        )
        judged = _judged(context, people).select("query_id", "passage_id")
        open_ = first.join(judged, on=["query_id", "passage_id"], how="anti")
        known = pl.lit(None, dtype=pl.Int8)
        pairs = open_.with_columns(source=pl.lit("candidate"), known_grade=known)
        table = grading.with_texts(pairs, workspace.read(corpus, Passage))
        return table, {"pairs": table.num_rows, "judged_by_people": first.height - open_.height}

    address = context.table(
        TeacherPair,
        make,
        step="choose_pairs",
        inputs=[candidates, *people],
        settings={"candidates_per_query": settings.teacher.candidates_per_query},
    )
    return address if workspace.manifest(address).rows else None


@step
def teach(context: Context, trust: Address, pairs: Address | None) -> Address | None:
    """Lets the teacher grade the pairs and, when it is trusted, takes its labels in with all that it gave before.

    Returns all judgments there are, None when they stay as they were. A teacher that is not trusted is not asked,
    unless `teacher.grade_untrusted`; then its grades are stored and not used. Labels of a teacher that is trusted no
    more are taken out again.
    """
    return _teach(context, trust, pairs)[1]


def run(context: Context, tell: Callable[[str], None]) -> Teaching:
    """All steps of teacher_grades. Raises SettingsError when no server is configured."""
    tell("measure the teacher against people")
    trust, first = _measure(context)
    tell("choose pairs that nobody judged")
    pairs = choose_pairs(context=context)
    tell("let it grade them")
    labels, judgments, second = _teach(context, trust, pairs)
    spent = (first, second) if second else (first,)
    return Teaching(context.workspace.read_document(trust), trust, labels, judgments, spent)


# -- private ----------------------------------------------------------------------------------------------------------


def _measure(context: Context) -> tuple[Address, Spent]:
    workspace, settings = context.workspace, context.settings.teacher
    corpus, gold = workspace.require(CORPUS, _HINT), workspace.require(GOLD, _HINT)
    people = _people(context)
    batches = sorted({workspace.require(name, "") for name in workspace.refs("batches")})

    def make() -> tuple[pa.Table, dict[str, float]]:
        tasks = [workspace.read(address, AnnotationTask) for address in batches]
        judged = _judged(context, people)
        controls = pa.concat_tables(tasks) if tasks else AnnotationTask.empty()
        asked_about = pl.concat([judged["query_text"], pl.Series(controls["query_text"], dtype=pl.String)])
        ids = pl.concat([judged["query_id"], pl.Series(controls["query_id"], dtype=pl.String)])
        known = grading.known_pairs(
            judged.to_arrow(),
            controls,
            workspace.read(corpus, Passage),
            min_confidence=settings.min_confidence,
            leave_out=_near_gold(context, gold, ids, asked_about),
        )
        chosen = grading.sample(known, size=settings.sample_size, seed=settings.seed)
        return chosen, {"known": known.num_rows, "pairs": chosen.num_rows}

    pairs = context.table(
        TeacherPair,
        make,
        step="choose_known_pairs",
        inputs=[corpus, gold, *people, *batches],
        settings={
            **settings.model_dump(include={"sample_size", "min_confidence", "seed"}),
            **context.settings.queries.likeness(),
        },
    )
    graded, spent = _grade(context, pairs)
    measured = grading.against_people(
        workspace.read(graded, TeacherGrade), samples=settings.bootstrap_samples, seed=settings.seed
    )
    objections = grading.objections(measured, settings)
    document = {
        "model": context.settings.llm.model,
        "trusted": not objections,
        "objections": objections,
        "min_kappa": settings.min_kappa,
        **asdict(measured),
        "examples": spent.examples,
    }
    counts: dict[str, float] = {"pairs": measured.asked, "graded": measured.graded, "trusted": int(not objections)}
    if measured.kappa is not None and measured.kappa_interval is not None:
        counts |= {"kappa": round(measured.kappa, 3), "kappa_low": round(measured.kappa_interval[0], 3)}
    trust = workspace.publish_document(
        "teacher_trust",
        document,
        step="measure_teacher",
        inputs=[graded],
        settings={
            "teacher": _identity(context),
            "examples": digest(spent.examples),
            **settings.model_dump(
                include={"min_pairs", "min_kappa", "max_ungraded_share", "bootstrap_samples", "seed"}
            ),
        },
        counts=counts,
    )
    workspace.point(TRUST, trust)
    for words in objections:
        log.warning("measure_teacher: not trusted: %s", words)
    return trust, spent


def _teach(
    context: Context, trust: Address, pairs: Address | None
) -> tuple[Address | None, Address | None, Spent | None]:
    """Labels or grades, all judgments when they changed, and what was spent."""
    workspace, settings = context.workspace, context.settings.teacher
    measured = workspace.read_document(trust)
    judgments = None if measured["trusted"] else _withdraw(context, trust)
    if pairs is None or not (measured["trusted"] or settings.grade_untrusted):
        return None, judgments, None
    graded, spent = _grade(context, pairs)
    if not measured["trusted"]:
        return graded, judgments, spent
    name = f"{ASKED}/{digest(_identity(context))[:16]}"
    workspace.point(f"{name}/{pairs.split('/')[1]}", pairs)
    # All that this teacher was ever asked: what is known costs nothing, and what failed or was left over is asked now.
    tables = {pairs: graded}
    for earlier in workspace.refs(name):
        address = workspace.require(earlier, "")
        if address not in tables:
            tables[address], more = _grade(context, address)
            spent += more
    gold = workspace.require(GOLD, _HINT)
    every = [pl.DataFrame(pl.from_arrow(workspace.read(tables[one], TeacherGrade))) for one in sorted(tables)]
    frame = pl.concat(every).drop_nulls("grade").unique(["query_id", "passage_id"], keep="first", maintain_order=True)
    leaks = _near_gold(context, gold, frame["query_id"], frame["query_text"])
    kept = frame.filter(~pl.col("query_id").is_in(list(leaks)))
    table = grading.judgments(kept.to_arrow(), measured["confidence"])
    counts: dict[str, float] = {"labels": table.num_rows, "near_gold": frame.height - kept.height}
    counts |= {f"grade_{grade}": number for grade, number in sorted(kept.group_by("grade").len().iter_rows())}
    labels = workspace.publish(
        Judgment,
        table,
        step="teach",
        inputs=[trust, gold, *sorted(tables.values())],
        settings=context.settings.queries.likeness(),
        counts=counts,
    )
    before = workspace.ref(f"{SOURCES}/{SOURCE}")
    return labels, None if before == labels else take_in(context, SOURCE, labels), spent


def _grade(context: Context, pairs: Address) -> tuple[Address, Spent]:
    """TeacherGrade of a table of pairs. The model is asked for what it has not said before."""
    settings = context.settings.teacher
    table = context.workspace.read(pairs, TeacherPair)
    sheets = grading.sheets(table, settings)
    with Client(context.settings.llm, cache=StoredAnswers(context.workspace)) as client:
        answers = client.ask([sheet.prompt for sheet in sheets])
        cached = sum(isinstance(answer, Answer) and answer.cached for answer in answers)
        sent = (client.budget.requests, client.budget.tokens, cached, str(client.budget))
    graded = grading.grades(table, sheets, answers)
    problems = dict(
        pl.DataFrame(pl.from_arrow(graded)).drop_nulls("problem").group_by("problem").len().sort("problem").iter_rows()
    )
    spent = Spent(*sent, problems, grading.examples(sheets, answers))
    for kind, example in spent.examples.items():
        log.warning("teacher: no grade, %s: %s; it sent: %r", kind, example["reason"], example["reply"])
    log.info("teacher: %d pairs, %s, %d answers known, no grade: %s", graded.num_rows, spent.words, cached, problems)
    address = context.workspace.publish(
        TeacherGrade,
        graded,
        step="grade_pairs",
        inputs=[pairs],
        settings={
            "teacher": _identity(context),
            "grades": digest(graded.select(["grade", "problem", "said"]).to_pydict()),
        },
        counts={"pairs": graded.num_rows, "graded": graded.num_rows - graded["grade"].null_count}
        | {f"no_grade_{name}": number for name, number in sorted(problems.items())},
    )
    return address, spent


def _withdraw(context: Context, trust: Address) -> Address | None:
    """Takes the teacher's labels out of the judgments; None when there are none."""
    workspace = context.workspace
    current = workspace.ref(f"{SOURCES}/{SOURCE}")
    if current is None or not workspace.manifest(current).rows:
        return None
    log.warning("teach: the teacher is trusted no more; its %d labels are taken out", workspace.manifest(current).rows)
    nothing = workspace.publish(Judgment, Judgment.empty(), step="withdraw_labels", inputs=[trust])
    return take_in(context, SOURCE, nothing)


def _people(context: Context) -> list[Address]:
    """What every source but the teacher says."""
    workspace = context.workspace
    names = [name for name in workspace.refs(SOURCES) if name != f"{SOURCES}/{SOURCE}"]
    return sorted({workspace.require(name, "") for name in names})


def _judged(context: Context, sources: list[Address]) -> pl.DataFrame:
    """records.Judgment that people gave, here or in an imported set; clicks are none."""
    tables = [Judgment.empty(), *(context.workspace.read(address, Judgment) for address in sources)]
    every = pl.concat([pl.DataFrame(pl.from_arrow(table)) for table in tables])
    return every.filter(pl.col("origin").is_in(["human", "imported"]))


def _near_gold(context: Context, gold: Address, ids: pl.Series, texts: pl.Series) -> set[str]:
    """Those query ids whose text equals or nearly equals a gold question."""
    settings = context.settings.queries
    normal = identify(texts, settings)["normal"]
    asked = pl.DataFrame({"id": ids, "normal": normal}).unique("id", keep="first", maintain_order=True)
    return near_to(
        asked, gold_texts(context, gold), threshold=settings.gold_distance_threshold, synonyms=settings.synonyms
    )


def _identity(context: Context) -> dict[str, Any]:
    """Which teacher this is: model, parameters, prompt, guidelines."""
    return {**context.settings.llm.identity(), **grading.identity(context.settings.teacher)}
