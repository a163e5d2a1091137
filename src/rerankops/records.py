"""The vocabulary: every table that crosses a room's boundary, with its Arrow schema.

A record describes a table, not a row: tables travel as `pyarrow.Table`. `Record.conform` is the one door through
which a table becomes a record's: it puts the columns in order, casts what can be cast without loss and refuses the
rest with an error that names the column. Pure: no I/O, no clock, no randomness.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rerankops.errors import SchemaMismatch

TIMESTAMP = pa.timestamp("us", tz="UTC")
STRINGS = pa.list_(pa.string())

GRADES = (0, 1, 2, 3)
"""0 irrelevant, 1 same topic, 2 partly answers, 3 answers fully."""
RELEVANT_GRADE = 2
"""The lowest grade that counts as relevant (positive)."""
FEEDBACK = ("none", "up", "down")
ORIGINS = ("human", "imported", "feedback", "teacher")
"""Where a judgment comes from, the most trusted first."""
VERDICTS = ("careless", "watch", "fine", "unknown")
"""On annotators: careless with certainty, rather careless than not, neither, too few answers to tell."""
RULE_VERDICTS = ("passed", "failed", "cannot tell", "accepted", "unknown", "not gated")
"""Of a rule of the gate: as asked, against what was asked, too few questions to tell, that and a person accepted it by
name, not measured, told only."""
SYSTEMS = ("retrieval_only", "tuned_fusion", "base", "champion", "challenger", "teacher")
"""Rows of the ladder, cheapest first; the teacher is compared and never promoted."""


def field(name: str, kind: pa.DataType, about: str, *, null: bool = False) -> pa.Field:
    """A column: its meaning travels with it as Arrow field metadata."""
    return pa.field(name, kind, nullable=null, metadata={"about": about})


@dataclass(frozen=True)
class Record:
    """A table's name, version, columns and unique key.

    name: plural, also the first part of an artefact's address.
    version: raised when a stored table of the old shape can no longer be read as the new one.
    key: columns whose values together are unique; () when rows may repeat.
    """

    name: str
    version: int
    schema: pa.Schema
    key: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        return list(self.schema.names)

    def empty(self) -> pa.Table:
        return self.schema.empty_table()

    def table(self, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
        """A conforming table from row dictionaries; a nullable column may be absent. Raises SchemaMismatch."""
        rows = list(rows)
        unknown = sorted({name for row in rows for name in row} - set(self.columns))
        if unknown:
            raise SchemaMismatch(f"{self.name}: unknown column {unknown[0]!r}; allowed are {self.columns}")
        arrays = []
        for column in self.schema:
            try:
                arrays.append(pa.array([row.get(column.name) for row in rows], column.type))
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise SchemaMismatch(
                    f"{self.name}: column {column.name!r} holds a value that is no {column.type} ({error})"
                ) from error
        return self.conform(pa.Table.from_arrays(arrays, names=self.columns))

    def conform(self, table: pa.Table) -> pa.Table:
        """The same rows with exactly this record's columns, order and types.

        Raises SchemaMismatch naming the column that is missing, unknown, there twice, of another type, null where it
        may not be, or whose key repeats.
        """
        missing = [name for name in self.columns if name not in table.column_names]
        if missing:
            raise SchemaMismatch(f"{self.name}: missing column {missing[0]!r}; it has {table.column_names}")
        unknown = [name for name in table.column_names if name not in self.columns]
        if unknown:
            raise SchemaMismatch(f"{self.name}: unknown column {unknown[0]!r}; allowed are {self.columns}")
        twice = [name for name in self.columns if table.column_names.count(name) > 1]
        if twice:
            raise SchemaMismatch(f"{self.name}: column {twice[0]!r} is there more than once")
        arrays = []
        for column in self.schema:
            values = table.column(column.name)
            if values.type != column.type:
                try:
                    values = values.cast(column.type)
                except pa.ArrowException as error:
                    raise SchemaMismatch(
                        f"{self.name}: column {column.name!r} is {values.type}, expected {column.type} ({error})"
                    ) from error
            if not column.nullable and values.null_count:
                row = pc.index(pc.is_null(values), True).as_py()
                raise SchemaMismatch(f"{self.name}: column {column.name!r} is null in row {row}, which it may not be")
            arrays.append(values)
        result = pa.Table.from_arrays(arrays, schema=self.schema)
        self._refuse_repeated_keys(result)
        return result

    def _refuse_repeated_keys(self, table: pa.Table) -> None:
        if not self.key or table.num_rows < 2:
            return
        counted = table.select(list(self.key)).group_by(list(self.key)).aggregate([([], "count_all")])
        repeated = counted.filter(pc.greater(counted["count_all"], 1))
        if repeated.num_rows:
            first = {name: repeated.column(name)[0].as_py() for name in self.key}
            raise SchemaMismatch(f"{self.name}: {repeated.num_rows} repeated key(s), the first is {first}")


QueryEvent = Record(
    "query_events",
    2,
    pa.schema(
        [
            field("event_id", pa.string(), "unique in its source"),
            field("text", pa.string(), "what the user typed, personal data already replaced by placeholders"),
            field("issued_at", TIMESTAMP, "when"),
            field("source", pa.string(), "which log it was pulled from"),
            field("shown_passage_ids", STRINGS, "what the system showed, best first"),
            field("clicked_passage_ids", STRINGS, "what the user opened"),
            field("feedback", pa.string(), "one of FEEDBACK"),
            field("query_id", pa.string(), "hash of the normalised text; null when it is no usable query", null=True),
            field("redactions", pa.int32(), "how many personal data were replaced"),
            field("user_group", pa.string(), "a segment of users, never a person; null: not logged", null=True),
            field("preferred_passage_id", pa.string(), "what the user said answers it, or corrected to", null=True),
            field("ranker", pa.string(), "name and version of what ordered the shown passages", null=True),
            field("randomised", pa.bool_(), "the shown passages were shuffled, each order as likely", null=True),
        ]
    ),
    key=("event_id",),
)

SetAside = Record(
    "set_aside",
    1,
    pa.schema(
        [
            field("file", pa.string(), "or server's table; a name that is no UTF-8 is spelled out"),
            field("line", pa.int64(), "of its text, from 1", null=True),
            field("row", pa.int64(), "as a spreadsheet numbers it", null=True),
            field("place", pa.string(), "all of that in words"),
            field("kind", pa.string(), "the sort of reason"),
            field("reason", pa.string(), "what is wrong and what to do"),
            field("content", pa.string(), "the row, cut if long, personal data replaced by placeholders"),
        ]
    ),
)

Query = Record(
    "queries",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), "hash of the normalised text"),
            field("text", pa.string(), "the most frequent wording among its near-duplicates"),
            field("stratum", pa.string(), "numeric, procedure, summary, or as configured"),
            field("frequency", pa.int64(), "events, near-duplicates counted in"),
            field("first_seen", TIMESTAMP, "first event"),
            field("last_seen", TIMESTAMP, "last event"),
        ]
    ),
    key=("query_id",),
)

SelectedQuery = Record(
    "selected_queries",
    1,
    pa.schema(
        [
            *Query.schema,
            field(
                "chosen_for", pa.string(), "random, uncertainty, disagreement, diversity, remainder; pool: not chosen"
            ),
            field("inclusion_probability", pa.float64(), "of the random share; null: it was not drawn", null=True),
            field("stratum_queries", pa.int64(), "queries of its stratum that could have been drawn"),
            field("stratum_events", pa.int64(), "and the events they stand for"),
        ]
    ),
    key=("query_id",),
)

Passage = Record(
    "passages",
    1,
    pa.schema(
        [
            field("passage_id", pa.string(), "stable across corpus versions"),
            field("title", pa.string(), "document and section; may be empty"),
            field("text", pa.string(), "what a reader reads"),
            field("metadata", pa.map_(pa.string(), pa.string()), "filterable facts, such as the car's model"),
        ]
    ),
    key=("passage_id",),
)

Candidate = Record(
    "candidates",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), "whose candidate"),
            field("passage_id", pa.string(), "which passage"),
            field("rank", pa.int32(), "1 is best, after fusion"),
            field("fused_score", pa.float64(), "reciprocal rank fusion of the two legs"),
            field("bm25_rank", pa.int32(), "null when the BM25 leg did not return it", null=True),
            field("bm25_score", pa.float64(), "null when the BM25 leg did not return it", null=True),
            field("dense_rank", pa.int32(), "null when the dense leg did not return it", null=True),
            field("dense_score", pa.float64(), "cosine; null when the dense leg did not return it", null=True),
        ]
    ),
    key=("query_id", "passage_id"),
)

RankedCandidate = Record(
    "ranked_candidates",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), "whose candidate"),
            field("passage_id", pa.string(), "which passage"),
            field("rank", pa.int32(), "1 is best, by the incumbent"),
            field("score", pa.float64(), "the incumbent's; only differences within a query mean anything"),
        ]
    ),
    key=("query_id", "passage_id"),
)

AnnotationTask = Record(
    "annotation_tasks",
    2,
    pa.schema(
        [
            field("batch_id", pa.string(), "the batch it was sent in"),
            field("task_id", pa.string(), "unique over all batches"),
            field("query_id", pa.string(), ""),
            field("passage_id", pa.string(), ""),
            field("query_text", pa.string(), "as the annotator reads it"),
            field("passage_title", pa.string(), "as the annotator reads it"),
            field("passage_text", pa.string(), "as the annotator reads it"),
            field("stratum", pa.string(), "of the query"),
            field("control_grade", pa.int8(), "the known grade of a control task, else null", null=True),
            field("chosen_for", pa.string(), "why its query is in the batch: random, uncertainty, …", null=True),
        ]
    ),
    key=("task_id",),
)

Annotation = Record(
    "annotations",
    2,
    pa.schema(
        [
            field("batch_id", pa.string(), "the batch the task was sent in"),
            field("task_id", pa.string(), ""),
            field("annotator_id", pa.string(), "pseudonymous; starts with sim- when simulated"),
            field("grade", pa.int8(), "0..3"),
            field("annotated_at", TIMESTAMP, "when"),
            field("lead_seconds", pa.float64(), "that it took, where the tool measured it", null=True),
        ]
    ),
    key=("task_id", "annotator_id"),
)

Scorecard = Record(
    "scorecards",
    1,
    pa.schema(
        [
            field("annotator_id", pa.string(), ""),
            field("tasks", pa.int64(), "graded, controls left out"),
            field("controls", pa.int64(), "control tasks graded"),
            field("control_accuracy", pa.float64(), "share of them within one grade of the known one", null=True),
            field("control_low", pa.float64(), "lower end of its 95 % interval (Wilson)", null=True),
            field("control_high", pa.float64(), "upper end", null=True),
            field("agreement", pa.float64(), "share of grades equal to the adjudicated ones", null=True),
            field("kappa", pa.float64(), "quadratically weighted, with the true grades as far as they can be told"),
            field("kappa_with_others", pa.float64(), "quadratically weighted, mean over colleagues", null=True),
            field("bias", pa.float64(), "mean of grade - adjudicated grade; above 0: lenient", null=True),
            field("seconds", pa.float64(), "median a task; null where it cannot be told", null=True),
            field("set_aside", pa.float64(), "share of their answers that validation set aside"),
            field("careless_probability", pa.float64(), "that kappa is below adjudication.careless_kappa"),
            field("verdict", pa.string(), "one of VERDICTS"),
        ]
    ),
    key=("annotator_id",),
)

Judgment = Record(
    "judgments",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), ""),
            field("passage_id", pa.string(), ""),
            field("query_text", pa.string(), "judgments outlive the log window that their query came from"),
            field("stratum", pa.string(), "of the query"),
            field("grade", pa.int8(), "0..3, adjudicated"),
            field("confidence", pa.float64(), "posterior probability of the grade; becomes the training weight"),
            field("annotator_count", pa.int32(), ""),
            field("origin", pa.string(), "one of ORIGINS"),
        ]
    ),
    key=("query_id", "passage_id", "origin"),
)

Preference = Record(
    "preferences",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), ""),
            field("query_text", pa.string(), ""),
            field("stratum", pa.string(), "of the query"),
            field("better_passage_id", pa.string(), ""),
            field("worse_passage_id", pa.string(), ""),
            field("weight", pa.float64(), "0..1: 0 as likely the other way round, 1 certain"),
            field("origin", pa.string(), "one of ORIGINS"),
            field("user_group", pa.string(), "whose preference it is; null: all users' together", null=True),
        ]
    ),
)

_GRADED = pa.list_(
    pa.struct(
        [
            pa.field("passage_id", pa.string()),
            pa.field("title", pa.string()),
            pa.field("text", pa.string()),
            pa.field("grade", pa.int8()),
            pa.field("weight", pa.float64()),
        ]
    )
)

TrainingGroup = Record(
    "training_groups",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), ""),
            field("query_text", pa.string(), ""),
            field("stratum", pa.string(), ""),
            field("split", pa.string(), "train or dev; a query is in one only"),
            field("positives", _GRADED, "grade >= RELEVANT_GRADE; weight = confidence"),
            field("negatives", _GRADED, "judged irrelevant or mined; grade null when mined"),
        ]
    ),
    key=("query_id",),
)

GoldQuestion = Record(
    "gold_questions",
    1,
    pa.schema(
        [
            field("question_id", pa.string(), ""),
            field("text", pa.string(), ""),
            field("accepted_answers", STRINGS, "any one of them, after normalisation, makes an answer right"),
            field("stratum", pa.string(), ""),
            field("relevant_passage_ids", STRINGS, "may be empty when unknown"),
            field("relevant_grades", pa.list_(pa.int8()), "of those passages, in order; null: all 3", null=True),
        ]
    ),
    key=("question_id",),
)

GoldDraft = Record(
    "gold_drafts",
    1,
    pa.schema(
        [
            field("question_id", pa.string(), "stays the question's id when it is frozen"),
            field("text", pa.string(), ""),
            field("stratum", pa.string(), ""),
            field("source", pa.string(), "production or file"),
            field("frequency", pa.int64(), "how often users asked it; null: it comes from a file", null=True),
        ]
    ),
    key=("question_id",),
)

GoldAnswer = Record(
    "gold_answers",
    1,
    pa.schema(
        [
            field("question_id", pa.string(), ""),
            field("annotator_id", pa.string(), "who answered"),
            field("role", pa.string(), "annotator or resolver"),
            field("accepted_answers", STRINGS, "empty when unanswerable or discarded"),
            field("unanswerable", pa.bool_(), "the corpus does not answer it"),
            field("discard", pa.bool_(), "it is no question for a gold set"),
            field("graded_passage_ids", STRINGS, ""),
            field("grades", pa.list_(pa.int8()), "0..3, of those passages, in order"),
            field("comment", pa.string(), "may be empty"),
        ]
    ),
    key=("question_id", "annotator_id", "role"),
)

GoldEntry = Record(
    "gold_entries",
    1,
    pa.schema(
        [
            *GoldQuestion.schema,
            field(
                "unanswerable", pa.bool_(), "kept out of training; asked of readers that can refuse: refusing is right"
            ),
            field("answered_by", STRINGS, "who answered independently"),
            field("resolved_by", pa.string(), "who settled a disagreement", null=True),
            field("source", pa.string(), "the draft or file it comes from"),
            field("added_version", pa.int32(), "of the set"),
            field("added_at", TIMESTAMP, "when that version was frozen"),
            field("retired_version", pa.int32(), "from which version on it is not asked", null=True),
            field("retired_reason", pa.string(), "", null=True),
        ]
    ),
    key=("question_id",),
)

ImportedLabel = Record(
    "imported_labels",
    1,
    pa.schema(
        [
            field("query_text", pa.string(), "personal data already replaced by placeholders"),
            field("passage_id", pa.string(), "of the passages imported with it"),
            field("grade", pa.int8(), "0..3"),
            field("confidence", pa.float64(), "0..1"),
            field("mined", pa.bool_(), "a set calls it negative, nobody graded it", null=True),
        ]
    ),
)

Signal = Record(
    "signals",
    1,
    pa.schema(
        [
            field("query_id", pa.string(), ""),
            field("passage_id", pa.string(), ""),
            field("rank", pa.int32(), "of the fused retrieval order"),
            field("reciprocal_rank", pa.float64(), "the fused score of retrieval"),
            field("bm25", pa.float64(), "standardised within the query; not returned by the leg: its lowest"),
            field("cosine", pa.float64(), "of the pooled vectors"),
            field("maxsim", pa.float64(), "late interaction: mean over query tokens of the largest cosine"),
            field("cross_encoder", pa.float64(), "logit; null when no cross-encoder scored it", null=True),
        ]
    ),
    key=("query_id", "passage_id"),
)

QuestionOutcome = Record(
    "question_outcomes",
    2,
    pa.schema(
        [
            field("system", pa.string(), "one of SYSTEMS"),
            field("question_id", pa.string(), ""),
            field("stratum", pa.string(), ""),
            field("answer", pa.string(), "what the reader said from the ranked passages; may be empty"),
            field("correct", pa.bool_(), "null when no verdict could be had", null=True),
            field("refused", pa.bool_(), "the reader would not answer; null when it was not heard", null=True),
            field(
                "judged_by", pa.string(), "containment, llm or refusal; null when no verdict could be had", null=True
            ),
            field("reciprocal_rank@10", pa.float64(), "null without known relevant passages", null=True),
            field("average_precision", pa.float64(), "null without known relevant passages", null=True),
            field("ndcg@10", pa.float64(), "null without known relevant passages", null=True),
            field("ndcg_exp@10", pa.float64(), "null without known relevant passages", null=True),
            field("hit@1", pa.float64(), "null without known relevant passages", null=True),
            field("hit@6", pa.float64(), "null without known relevant passages", null=True),
            field("hit@30", pa.float64(), "null without known relevant passages", null=True),
            field("recall@1", pa.float64(), "null without known relevant passages", null=True),
            field("recall@6", pa.float64(), "null without known relevant passages", null=True),
            field("recall@30", pa.float64(), "null without known relevant passages", null=True),
            field("top_passage_ids", STRINGS, "what the reader saw, best first"),
        ]
    ),
    key=("system", "question_id"),
)

RECORDS: dict[str, Record] = {
    record.name: record
    for record in (
        QueryEvent,
        Query,
        SelectedQuery,
        Passage,
        Candidate,
        RankedCandidate,
        AnnotationTask,
        Annotation,
        Scorecard,
        Judgment,
        Preference,
        TrainingGroup,
        GoldQuestion,
        GoldDraft,
        GoldAnswer,
        GoldEntry,
        ImportedLabel,
        Signal,
        QuestionOutcome,
    )
}


@dataclass(frozen=True)
class Comparison:
    """A paired difference between two systems on the same gold questions.

    difference: mean of (of - against), in the metric's unit (shares, not points).
    interval: two-sided 95 % paired bootstrap interval. p_value: one-sided, of a difference <= 0.
    """

    of: str
    against: str
    metric: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    n: int


@dataclass(frozen=True)
class Rule:
    """One rule of the gate: what was asked, what was measured, whether it lets pass, and why, in words too.

    verdict: one of RULE_VERDICTS; "" in decisions that were stored before there were verdicts.
    """

    name: str
    threshold: float | None
    measurement: float | None
    interval: tuple[float, float] | None
    passed: bool
    words: str
    verdict: str = ""


@dataclass(frozen=True)
class PromotionDecision:
    """What the gate said. system: the row of the ladder that is promoted; None when promote is False.
    cannot_tell: nobody is promoted because this gold set is too small to tell, not because of what it says.
    cannot_tell_about: the strata (or "refusals") that alone stand in the way, so that a person may accept them by name.
    """

    promote: bool
    system: str | None
    rules: tuple[Rule, ...]
    reasons: tuple[str, ...]
    cannot_tell: bool = False
    cannot_tell_about: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """promoted, refused, or cannot tell with this gold set."""
        return "promoted" if self.promote else "cannot tell with this gold set" if self.cannot_tell else "refused"
