"""Steps that carry gold questions to people and back: a form each, the answers, what a third person has to settle.

Nothing that people return is lost: every file is stored as it came, and a later one adds to what its author answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from rerankops.annotation.gold import consensus, drafting, forms
from rerankops.annotation.gold.forms import ANNOTATOR, RESOLVER, Asked, Form, Header, Shown
from rerankops.errors import InputError, SettingsError
from rerankops.files import write_whole
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.corpus import CORPUS, INDEX
from rerankops.pipeline.gold import ANSWERS, ASSIGNMENTS, collected, draft_address, gold_status
from rerankops.pipeline.gold_sets import checked_name
from rerankops.pipeline.queries import search
from rerankops.pipeline.set_aside import reading_of
from rerankops.privacy import Redactor
from rerankops.records import Candidate, GoldAnswer, GoldDraft, Passage
from rerankops.workspace import Address

CANDIDATES = "gold-candidates"
"""References: the candidates that a draft's forms show. Frozen with the first form: numbers on forms mean them."""


@dataclass(frozen=True)
class Returned:
    """What one returned form came to: answers in it, new or changed ones among them, all that its author answered."""

    path: str
    draft: str
    annotator: str
    role: str
    answered: int
    changed: int
    total: int


@step
def write_forms(
    context: Context, name: str, annotators: Sequence[str], folder: str | Path, *, form: Form = "jsonl"
) -> list[Path]:
    """A form for each annotator, with the questions assigned to them, and how-to-answer.md. The same people get the
    same questions again; other people share the draft anew, and what was answered before still counts."""
    workspace, settings = context.workspace, context.settings.gold
    draft = draft_address(context, name)
    people = [checked_name(person, of="annotator") for person in annotators]
    if len(set(people)) != len(people):
        raise SettingsError(f"annotators {people} name somebody twice; two answers of one person are not independent")
    _candidates(context, name, draft)
    chosen = {
        "annotators": sorted(people),
        "per_question": settings.annotators_per_question,
        "seed": context.settings.training.seed,
    }

    def make() -> tuple[Mapping[str, Any], Mapping[str, float]]:
        ids = workspace.read(draft, GoldDraft)["question_id"].to_pylist()
        assigned = drafting.assign(
            ids, people, per_question=settings.annotators_per_question, seed=context.settings.training.seed
        )
        return {"assigned": dict(assigned.group_by("annotator_id").agg("question_id").iter_rows())}, {}

    assignment = context.document("gold_assignments", make, step="assign_gold", inputs=[draft], settings=chosen)
    assigned = workspace.read_document(assignment)["assigned"]
    written = [
        _write(context, Header(name, person, ANNOTATOR), sorted(assigned.get(person, [])), Path(folder), form)
        for person in sorted(people)
    ]
    workspace.point(f"{ASSIGNMENTS}/{name}", assignment)
    return written


@step
def write_resolution(
    context: Context, name: str, resolver: str, folder: str | Path, *, form: Form = "jsonl"
) -> Path | None:
    """A form with the questions on which people disagree and `resolver` did not answer, with what they said, unnamed.
    None when there is none."""
    checked_name(resolver, of="resolver")
    disputed = [
        one.question_id
        for one in gold_status(name, context=context).settled
        if one.state == consensus.DISPUTED and resolver not in one.answered_by
    ]
    if not disputed:
        return None
    return _write(context, Header(name, resolver, RESOLVER), sorted(disputed), Path(folder), form)


@step
def collect_forms(context: Context, paths: Sequence[str | Path]) -> list[Returned]:
    """Takes returned forms in: each file is stored as it came, its answers are put over its author's earlier ones.
    A file that was taken in before changes nothing. Raises InputError naming file and line; files before it stay."""
    return [_collect(context, Path(path)) for path in paths]


def _candidates(context: Context, name: str, draft: Address) -> Address | None:
    """The candidates of the draft's forms; None without an index. The first forms settle which."""
    workspace = context.workspace
    existing = workspace.ref(f"{CANDIDATES}/{name}")
    index = workspace.ref(INDEX)
    if existing or index is None:
        return existing
    count = context.settings.gold.candidates_per_question

    def make() -> tuple[pa.Table, dict[str, float]]:
        questions = workspace.read(draft, GoldDraft)
        found = search(context, index, questions["question_id"].to_pylist(), questions["text"].to_pylist())
        kept = pl.DataFrame(pl.from_arrow(found)).filter(pl.col("rank") <= count)
        return kept.to_arrow(), {"candidates": kept.height}

    settings = {"retrieval": context.settings.retrieval.model_dump(mode="json"), "count": count}
    address = context.table(Candidate, make, step="gold_candidates", inputs=[draft, index], settings=settings)
    workspace.point(f"{CANDIDATES}/{name}", address)
    return address


def _asked(context: Context, header: Header) -> dict[str, Asked]:
    """The draft's questions as this person's form shows them."""
    workspace = context.workspace
    draft = workspace.read(draft_address(context, header.draft), GoldDraft).to_pylist()
    address = workspace.ref(f"{CANDIDATES}/{header.draft}")
    shown: dict[str, list[str]] = {}
    texts: dict[str, Shown] = {}
    if address:
        index = workspace.manifest(address).inputs[1]
        found = pl.DataFrame(pl.from_arrow(workspace.read(address, Candidate)))
        shown = dict(found.group_by("query_id").agg("passage_id").iter_rows())
        corpus = pl.DataFrame(pl.from_arrow(workspace.read(workspace.manifest(index).inputs[0], Passage)))
        wanted = corpus.filter(pl.col("passage_id").is_in(found["passage_id"].unique().to_list()))
        texts = {row[0]: Shown(*row) for row in wanted.select("passage_id", "title", "text").iter_rows()}
    return {
        row["question_id"]: Asked(
            row["question_id"],
            row["text"],
            row["stratum"],
            tuple(
                texts[passage_id]
                for passage_id in drafting.shuffled(
                    shown.get(row["question_id"], []), question_id=row["question_id"], annotator_id=header.annotator
                )
            ),
        )
        for row in draft
    }


def _write(context: Context, header: Header, question_ids: Sequence[str], folder: Path, form: Form) -> Path:
    asked = _asked(context, header)
    questions = [asked[question_id] for question_id in question_ids]
    if header.role == RESOLVER:
        given = _given(collected(context, header.draft))
        questions = [
            Asked(one.question_id, one.text, one.stratum, one.candidates, tuple(given[one.question_id]))
            for one in questions
        ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{header.draft}.{header.role}.{header.annotator}.{form}"
    write_whole(folder / "how-to-answer.md", forms.GUIDELINES)
    write_whole(path, forms.render(header, questions, form))
    return path


def _given(answers: pa.Table) -> dict[str, list[str]]:
    """What annotators said of each question, without their names, in a stable order."""
    said: dict[str, list[str]] = {}
    for row in answers.sort_by([("question_id", "ascending"), ("annotator_id", "ascending")]).to_pylist():
        if row["role"] != ANNOTATOR:
            continue
        words = " | ".join(row["accepted_answers"])
        words = "no question" if row["discard"] else "unanswerable" if row["unanswerable"] else words
        graded = ", ".join(f"{p}={g}" for p, g in zip(row["graded_passage_ids"], row["grades"], strict=True))
        listed = said.setdefault(row["question_id"], [])
        letter = chr(ord("A") + len(listed) % 26)
        listed.append(
            f"{letter}: {words}; passages {graded or 'none'}{'; ' + row['comment'] if row['comment'] else ''}"
        )
    return said


def _collect(context: Context, path: Path) -> Returned:
    workspace = context.workspace
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    settings = context.settings.reading
    header = forms.header_of(content, str(path), settings)
    checked_name(header.annotator, of="annotator")
    with reading_of(context, source_of(header)) as aside:
        answers = forms.parse(content, str(path), header, _asked(context, header), settings, aside)
    answers = _with_clean_comments(context, answers)
    _refuse_unknown(context, header, answers, path)
    about = {"draft": header.draft, "annotator": header.annotator, "role": header.role}

    def keep(folder: Path) -> Mapping[str, float]:
        (folder / "form").write_bytes(content)
        (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        return {"answers": answers.num_rows}

    identity = about | {"sha256": sha256(content).hexdigest()}
    returned = workspace.publish_folder("gold_returns", keep, step="collect_gold", settings=identity)
    ref = f"{ANSWERS}/{header.draft}/{header.role}-{header.annotator}"
    earlier = workspace.ref(ref)
    before = workspace.read(earlier, GoldAnswer) if earlier else GoldAnswer.empty()
    seen = earlier is not None and returned in workspace.lineage(earlier)
    changed = sum(row not in before.to_pylist() for row in answers.to_pylist()) if not seen else 0
    told = (str(path), header.draft, header.annotator, header.role, answers.num_rows, changed)
    if seen:
        return Returned(*told, before.num_rows)
    old, new = (pl.DataFrame(pl.from_arrow(table)) for table in (before, answers))
    merged = pl.concat([old.join(new, on=list(GoldAnswer.key), how="anti"), new]).sort(GoldAnswer.key)
    inputs = [draft_address(context, header.draft), returned, *([earlier] if earlier else [])]
    address = context.table(
        GoldAnswer,
        lambda: (merged.to_arrow(), {"answers": merged.height, "changed": changed}),
        step="collect_gold",
        inputs=inputs,
    )
    workspace.point(ref, address)
    return Returned(*told, merged.height)


def source_of(whose: Header | Returned) -> str:
    """Under which rows of a person's form are set aside."""
    return f"gold-{whose.draft}-{whose.role}-{whose.annotator}"


def _with_clean_comments(context: Context, answers: pa.Table) -> pa.Table:
    """Without personal data in comments; answers stay, since a service number may be the right one."""
    comments = Redactor(context.settings.queries).texts(answers["comment"].to_pylist())
    return answers.set_column(answers.column_names.index("comment"), "comment", pa.array(comments, pa.string()))


def _refuse_unknown(context: Context, header: Header, answers: pa.Table, path: Path) -> None:
    """Passages must be there, and who settles a disagreement must not be part of it."""
    corpus = context.workspace.ref(CORPUS)
    named = {name for names in answers["graded_passage_ids"].to_pylist() for name in names}
    if named:
        known = set(context.workspace.read(corpus, Passage)["passage_id"].to_pylist()) if corpus else set()
        shown = {one.passage_id for asked in _asked(context, header).values() for one in asked.candidates}
        unknown = sorted(named - known - shown)
        if unknown:
            raise InputError(f"{path}: passage {unknown[0]!r} is not in the corpus, nor are {len(unknown) - 1} others")
    if header.role == RESOLVER:
        own = context.workspace.ref(f"{ANSWERS}/{header.draft}/{ANNOTATOR}-{header.annotator}")
        mine = set(context.workspace.read(own, GoldAnswer)["question_id"].to_pylist()) if own else set()
        both = sorted(mine & set(answers["question_id"].to_pylist()))
        if both:
            raise InputError(
                f"{path}: {header.annotator} answered question {both[0]} as an annotator; a third person settles it"
            )
