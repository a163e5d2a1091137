"""The command line on bad input: one line that names what and where, status 2, and a workspace that is as it was."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from rerankops import cli
from rerankops.records import (
    Annotation,
    AnnotationTask,
    Candidate,
    GoldQuestion,
    Judgment,
    Passage,
    Query,
    QueryEvent,
    Record,
)
from rerankops.workspace import Address, Workspace

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
CORPUS = [
    {"passage_id": "p1", "title": "胎压", "text": "前轮2.3bar"},
    {"passage_id": "p2", "title": "后备箱", "text": "后备箱容积450升"},
]
GOLD = [{"question_id": "g1", "text": "胎压是多少", "accepted_answers": ["2.3"], "relevant_passage_ids": ["p1"]}]
LOG = [{"event_id": f"e{day}", "text": f"后备箱{day}多大", "issued_at": f"2026-09-0{day}T08:00:00Z"} for day in (1, 2)]
PLACEHOLDER = b"stands for vectors or an index; nothing here opens it"

Files = dict[str, str]


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A folder with sources and a workspace in it; everything a command may touch lies below it."""

    folder: Path
    patch: pytest.MonkeyPatch

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "workspace")

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self.patch.setenv(f"RERANKOPS__{name}", value)

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    def files(self) -> Files:
        """Every file below the folder with its hash; staged ones too."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
        }

    def staged(self) -> list[str]:
        """What a command left half done."""
        folder = self.folder / "workspace" / "tmp"
        return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in [name for name in os.environ if name.startswith("RERANKOPS")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    here = Place(tmp_path, monkeypatch)
    here.set(
        WORKSPACE__ROOT=str(tmp_path / "workspace"),
        SOURCES__CORPUS=str(here.write("sources/corpus.jsonl", lines(CORPUS))),
        SOURCES__GOLD=str(here.write("sources/gold.jsonl", lines(GOLD))),
        QUERY_LOG__LOCATION=str(here.write("sources/log.jsonl", lines(LOG))),
        ANNOTATION__INBOX=str(tmp_path / "inbox"),
        ANNOTATION__OUTBOX=str(tmp_path / "outbox"),
    )
    yield here
    assert here.staged() == []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """The command line in this process."""

    def run(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["rerankops", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        said = capsys.readouterr()
        return Finished(code, said.out, said.err)

    return run


def refused(done: Finished, *words: str) -> None:
    assert done.code == 2, done
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith("rerankops: ")
    assert "Traceback" not in done.err + done.out
    for word in words:
        assert word in done.err


# -- a loop's artefacts, published by hand ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """Addresses by reference or, for what has none, by step."""

    place: Place
    addresses: dict[str, Address] = field(default_factory=dict)

    def path(self, name: str, file: str = "data.parquet") -> Path:
        return self.place.folder / "workspace" / "objects" / self.addresses[name] / file


def texts(count: int) -> list[str]:
    return [f"后备箱{number}多大" for number in range(1, count + 1)]


@pytest.fixture
def published(place: Place) -> Published:
    """Everything from the events to the judgments, each made from what it is really made from."""
    workspace, made = place.workspace, {}

    def table(
        name: str, record: Record, rows: list[dict[str, Any]], inputs: Sequence[str] = (), **counts: float
    ) -> None:
        sources = [made[source] for source in inputs]
        made[name] = workspace.publish(record, record.table(rows), step=STEPS[name], inputs=sources, counts=counts)

    def folder(name: str, kind: str, inputs: Sequence[str]) -> None:
        def build(at: Path) -> None:
            (at / "content").write_bytes(PLACEHOLDER)

        made[name] = workspace.publish_folder(kind, build, step=STEPS[name], inputs=[made[source] for source in inputs])

    event = {"source": "query_log", "shown_passage_ids": [], "clicked_passage_ids": [], "feedback": "none"}
    query = {"stratum": "numeric", "frequency": 1, "first_seen": NOON, "last_seen": NOON}
    task = {"batch_id": "b1", "passage_title": "后备箱", "passage_text": "后备箱容积450升", "stratum": "numeric"}
    asked = [{"query_id": f"q{number}", "text": text, **query} for number, text in enumerate(texts(2), start=1)]
    table("corpus", Passage, [row | {"metadata": []} for row in CORPUS], passages=2)
    table("gold", GoldQuestion, [{"stratum": "all", **row} for row in GOLD], gold_questions=1)
    folder("vectors", "vectors", ["corpus"])
    folder("index", "indexes", ["corpus", "vectors"])
    table(
        "events",
        QueryEvent,
        [
            {"event_id": f"e{n}", "text": text, "issued_at": NOON, "query_id": f"q{n}", "redactions": 0, **event}
            for n, text in enumerate(texts(2), start=1)
        ],
        redactions=0,
    )
    table("queries", Query, asked, ["events", "gold"], near_duplicates=0)
    table("sample", Query, asked, ["queries"])
    found = [
        {"query_id": row["query_id"], "passage_id": "p2", "rank": 1, "fused_score": 0.03, "bm25_rank": 1}
        for row in asked
    ]
    table("candidates", Candidate, found, ["sample", "index"])
    tasks = [
        {"task_id": f"t{n}", "query_id": f"q{n}", "passage_id": "p2", "query_text": text, **task}
        for n, text in enumerate(texts(2), start=1)
    ]
    table("batch", AnnotationTask, tasks, ["sample", "candidates"], tasks=2)
    folder("delivery", "deliveries", [])
    folder("verdict", "verdicts", ["delivery", "gold", "batch"])
    given = {"batch_id": "b1", "annotator_id": "sim-1", "grade": 3, "annotated_at": NOON}
    table("annotations", Annotation, [given | {"task_id": row["task_id"]} for row in tasks], ["verdict"])
    judged = {"passage_id": "p2", "stratum": "numeric", "grade": 3, "confidence": 0.9, "annotator_count": 1}
    table(
        "judgments",
        Judgment,
        [
            {"query_id": f"q{n}", "query_text": text, "origin": "human", **judged}
            for n, text in enumerate(texts(2), start=1)
        ],
        ["annotations", "batch"],
        judgments=2,
    )
    for name in ("corpus", "gold", "index", "events", "judgments"):
        workspace.point(name, made[name])
    workspace.point("batches/b1", made["batch"])
    return Published(place, made)


STEPS = {
    "corpus": "load_corpus",
    "gold": "load_gold",
    "vectors": "embed_corpus",
    "index": "build_index",
    "events": "pull_events",
    "queries": "distil_queries",
    "sample": "sample_queries",
    "candidates": "retrieve_candidates",
    "batch": "make_annotation_batch",
    "delivery": "pull_deliveries",
    "verdict": "validate_delivery",
    "annotations": "validate_delivery",
    "judgments": "adjudicate",
}


# -- lineage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["reference", "address"])
def test_lineage_goes_all_the_way_back_to_the_events(
    published: Published, run: Callable[..., Finished], by: str
) -> None:
    before = published.place.files()
    done = run("lineage", "judgments" if by == "reference" else published.addresses["judgments"])
    assert (done.code, done.err) == (0, "")
    for name, address in published.addresses.items():
        row = next(line for line in done.out.splitlines() if f"{address} {STEPS[name]}" in line)
        assert published.place.workspace.manifest(address).created_at[:19] in row
    assert "redactions 0" in done.out
    assert done.out.index(published.addresses["judgments"]) < done.out.index(published.addresses["events"])
    assert f"{published.addresses['batch']} (above)" in done.out
    assert published.place.files() == before


def test_lineage_of_nothing_known_is_refused(published: Published, run: Callable[..., Finished]) -> None:
    before = published.place.files()
    for unknown in ("champions", "judgments/0000", "", "../../etc"):
        refused(run("lineage", unknown), "no artefact", unknown, "workspace")
    assert published.place.files() == before


def test_lineage_in_a_workspace_that_is_not_there_makes_none(place: Place, run: Callable[..., Finished]) -> None:
    refused(run("lineage", "judgments"), "no artefact judgments", str(place.folder / "workspace"))
    assert not (place.folder / "workspace").exists()


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ("retrieval: {bm25k: 3}", ["unknown setting 'retrieval.bm25k'", "own.yaml"]),
        ("retrieving: {bm25_k: 3}", ["unknown setting 'retrieving'", "own.yaml"]),
        ("retrieval: {bm25_k: 0}", ["setting 'retrieval.bm25_k' is 0", "own.yaml"]),
        ("retrieval: 5", ["retrieval is a section", "own.yaml"]),
        ("retrieval: [", ["own.yaml is not valid YAML"]),
        ("- retrieval", ["own.yaml must hold sections, found list"]),
        ("", ["own.yaml must hold sections"]),
    ],
)
def test_a_bad_overlay_is_refused_by_key_and_file(
    published: Published, run: Callable[..., Finished], overlay: str, words: list[str]
) -> None:
    path = published.place.write("own.yaml", overlay)
    before = published.place.files()
    for command in (["refresh"], ["lineage", "judgments"]):
        refused(run(*command, "--config", str(path)), *words)
    assert published.place.files() == before


def test_an_overlay_that_is_not_there_is_refused_with_those_that_are(
    place: Place, run: Callable[..., Finished]
) -> None:
    refused(run("refresh", "--config", "prod"), "'prod'", "demo")
    refused(run("refresh", "--config", "nowhere.yaml"), "nowhere.yaml cannot be read")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RETRIEVAL__BM25K", "3", ["unknown setting 'retrieval.bm25k'", "RERANKOPS__RETRIEVAL__BM25K"]),
        ("RETRIEVAL__BM25_K", "many", ["setting 'retrieval.bm25_k' is 'many'", "RERANKOPS__RETRIEVAL__BM25_K"]),
        ("RETRIEVAL__BM25_K", "[", ["RERANKOPS__RETRIEVAL__BM25_K", "not a YAML value"]),
        ("RETRIEVAL", "5", ["retrieval is a section", "RERANKOPS__RETRIEVAL"]),
        ("WORKSPACE__ROOT", "nosuch://bucket/path", ["workspace.root", "nosuch://bucket/path"]),
    ],
)
def test_a_bad_environment_variable_is_refused_by_its_name(
    published: Published, run: Callable[..., Finished], name: str, value: str, words: list[str]
) -> None:
    before = published.place.files()
    published.place.set(**{name: value})
    refused(run("lineage", "judgments"), *words)
    assert published.place.files() == before


# -- sources ----------------------------------------------------------------------------------------------------------

SOURCE_COMMANDS = {"sources.corpus": "refresh", "sources.gold": "refresh", "query_log.location": "collect"}


@pytest.mark.parametrize("source", list(SOURCE_COMMANDS))
def test_a_source_that_is_not_there_is_refused_by_setting_and_place(
    published: Published, run: Callable[..., Finished], source: str
) -> None:
    before = published.place.files()
    missing = str(published.place.folder / "nowhere.jsonl")
    variable = source.upper().replace(".", "__")
    published.place.set(**{variable: missing})
    refused(run(SOURCE_COMMANDS[source]), f"{source} is {missing!r}: no such file")
    published.place.set(**{variable: "null"})
    refused(run(SOURCE_COMMANDS[source]), f"setting {source} names nothing")
    assert published.place.files() == before


@pytest.mark.parametrize(
    ("source", "content", "words"),
    [
        ("corpus", lines([CORPUS[0], {"id": "p2", "text": "?"}]), "corpus.jsonl:2: passage_id is missing"),
        ("corpus", lines([CORPUS[0], CORPUS[0]]), "corpus.jsonl:2: passage_id 'p1' was already given"),
        ("corpus", lines(CORPUS)[:-20], "corpus.jsonl:2: not valid JSON"),
        ("corpus", "", "corpus.jsonl holds no passages"),
        ("gold", lines([{"question_id": "g1", "text": "胎压"}]), "gold.jsonl:1: a gold question needs"),
        ("gold", "[]\n", "gold.jsonl holds no questions"),
    ],
)
def test_a_source_of_the_wrong_shape_is_refused_by_file_and_line(
    published: Published, run: Callable[..., Finished], source: str, content: str, words: str
) -> None:
    published.place.write(f"sources/{source}.jsonl", content)
    before = published.place.files()
    refused(run("refresh"), words)
    assert published.place.files() == before


def test_a_bad_row_of_the_log_is_set_aside_and_said(published: Published, run: Callable[..., Finished]) -> None:
    published.place.write("sources/log.jsonl", lines([*LOG, {"event_id": "e3", "text": "?"}]))
    done = run("collect")
    assert done.code == 0, done
    assert "query_log: 1 set aside; rerankops set-aside query_log says why" in done.out
    assert "log.jsonl:3: issued_at is missing" in run("set-aside", "query_log").out


def test_a_log_of_bad_rows_alone_is_refused_with_an_example_and_keeps_them(
    published: Published, run: Callable[..., Finished]
) -> None:
    published.place.write("sources/log.jsonl", lines([LOG[0] | {"issued_at": "yesterday"}]))
    refused(run("collect"), "log.jsonl:1: issued_at is 'yesterday'")
    assert "log.jsonl:1" in run("set-aside", "query_log").out


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_moment_that_is_none_is_refused_by_its_option(
    published: Published, run: Callable[..., Finished], option: str
) -> None:
    before = published.place.files()
    refused(run("collect", option, "yesterday"), f"{option.removeprefix('--')} is 'yesterday'", "ISO 8601")
    assert published.place.files() == before


# -- the workspace ----------------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, empty, flip, Path.unlink])
def test_a_damaged_table_is_refused_by_its_path(
    published: Published, run: Callable[..., Finished], damage: Callable[[Path], None]
) -> None:
    path = published.path("events")
    damage(path)
    before = published.place.files()
    refused(run("collect"), str(path), "delete its folder and run its step again")
    assert published.place.files() == before


def test_damaged_judgments_stop_a_retraining_before_any_model_is_loaded(
    published: Published, run: Callable[..., Finished]
) -> None:
    path = published.path("judgments")
    truncate(path)
    before = published.place.files()
    refused(run("retrain"), f"{path} is damaged")
    after = published.place.files()
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[2] for name in after if name not in before} == {"plans"}
    refused(run("retrain"), f"{path} is damaged")
    assert published.place.files() == after


@pytest.mark.parametrize("content", ["", "{", "[]", '{"address": "x"}', '{"inputs": [], "more": 1}'])
def test_a_damaged_manifest_is_refused_by_its_path(
    published: Published, run: Callable[..., Finished], content: str
) -> None:
    path = published.path("queries", "manifest.json")
    path.write_text(content)
    before = published.place.files()
    refused(run("lineage", "judgments"), str(path), "run its step again")
    assert published.place.files() == before


@pytest.mark.parametrize("content", ["", "judgments/1", "[]", "{}"])
def test_a_damaged_reference_is_refused_by_its_path(
    published: Published, run: Callable[..., Finished], content: str
) -> None:
    path = published.place.write("workspace/refs/judgments.json", content)
    before = published.place.files()
    for command in (["lineage", "judgments"], ["retrain"]):
        refused(run(*command), f"{path} is no reference")
    assert published.place.files() == before


def test_a_workspace_root_that_is_a_file_is_refused(place: Place, run: Callable[..., Finished]) -> None:
    path = place.write("taken", "a file")
    place.set(WORKSPACE__ROOT=str(path))
    before = place.files()
    refused(run("refresh"), str(path), "Not a directory")
    assert place.files() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_that_may_not_be_written_is_refused(place: Place, run: Callable[..., Finished]) -> None:
    folder = place.folder / "locked"
    folder.mkdir(mode=0o555)
    place.set(WORKSPACE__ROOT=str(folder / "workspace"))
    refused(run("refresh"), str(folder), "Permission denied")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["collect"], "run refresh_corpus_index first; it freezes the gold questions"),
        (["retrain"], "run ingest_annotations first; there are no judgments to train on"),
        (["rollback", "--reason", "worse than before"], "model 'reranker' has no champion"),
    ],
)
def test_a_step_out_of_turn_says_what_to_run_first(
    place: Place, run: Callable[..., Finished], command: list[str], words: str
) -> None:
    refused(run(*command), words)
    assert not (place.folder / "mlflow").exists()
    assert {path.name for path in (place.folder / "workspace" / "refs").glob("*")} <= {"checks"}


def test_a_delivery_that_cannot_be_validated_yet_is_kept_for_later(place: Place, run: Callable[..., Finished]) -> None:
    place.write("inbox/b1.jsonl", lines([{"batch_id": "b1", "task_id": "t1", "annotator_id": "a", "grade": 3}]))
    refused(run("ingest"), "run refresh_corpus_index first; it freezes the gold questions")
    before = place.files()
    refused(run("ingest"), "run refresh_corpus_index first; it freezes the gold questions")
    assert place.files() == before
    assert {path.name for path in (place.folder / "workspace" / "refs").iterdir()} == {"streams"}


def test_a_learning_rate_of_zero_is_refused_by_its_setting(published: Published, run: Callable[..., Finished]) -> None:
    before = published.place.files()
    refused(run("retrain", "--learning-rate", "0"), "setting 'training.learning_rate' is 0.0", "greater than 0")
    assert published.place.files() == before


def test_events_of_a_collection_that_failed_are_collected_by_the_next(
    published: Published, run: Callable[..., Finished]
) -> None:
    """The watermark moves when the batch is out, not when the events are read."""
    from rerankops.pipeline import channels, context, queries

    place = published.place
    (place.folder / "workspace" / "refs" / "index.json").unlink()
    place.write("sources/log.jsonl", lines([*LOG, LOG[1] | {"event_id": "e9", "text": "后备箱能放几个行李箱"}]))

    def references() -> dict[str, str]:
        found = {name: digest for name, digest in place.files().items() if "/refs/" in name}
        return {name: digest for name, digest in found.items() if "/refs/checks/" not in name}

    before = references()
    for _ in range(2):
        refused(run("collect"), "there is no index to search")
        assert references() == before

    here = context.load()
    events = queries.pull_events(context=here)
    sample = queries.sample_queries(queries.distil_queries(events, context=here), context=here)
    assert queries.read_queries(here, sample)["text"].to_pylist()
    batch = place.workspace.publish(
        AnnotationTask,
        place.workspace.read(published.addresses["batch"], AnnotationTask),
        step="make_annotation_batch",
        inputs=[sample, published.addresses["candidates"]],
    )
    channels.send_batch(batch, context=here)
    assert place.workspace.ref("events") == events
    assert place.workspace.refs("samples") == [f"samples/{sample.split('/')[1]}"]
    done = run("collect")
    assert (done.code, done.err) == (0, "")
    assert "Nothing new to ask" in done.out


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("null", "setting encoder.model names no model"),
        ("/nowhere/model", "encoder.model: no such folder /nowhere/model"),
        ("package:no-such-package", "encoder.model: Python package no-such-package is not installed"),
        ("sources", "encoder.model: folder sources holds no model"),
    ],
)
def test_a_model_that_is_not_there_is_refused_by_its_setting(
    published: Published, run: Callable[..., Finished], model: str, words: str
) -> None:
    published.place.set(ENCODER__MODEL=model)
    before = published.place.files()
    refused(run("refresh"), words)
    assert published.place.files() == before


# -- trial ------------------------------------------------------------------------------------------------------------


def trial(dataset: Path, *options: str) -> list[str]:
    chosen = {"--train-split": "train", "--gold-split": "gold", "--encoder": "package:none", "--base-model": "none"}
    return ["trial", f"--dataset={dataset}", "--output=out", *(f"{k}={v}" for k, v in chosen.items()), *options]


def test_a_trial_without_a_usable_set_is_refused_and_makes_no_output(
    place: Place, run: Callable[..., Finished]
) -> None:
    refused(run(*trial(place.folder / "nowhere")), f"--dataset {place.folder / 'nowhere'} is no folder")
    refused(run(*trial(place.folder / "sources")), "sources has no questions.train.jsonl[.gz]")
    questions = [{"query_id": "q1", "text": "后备箱多大", "relevant_doc_ids": ["p9"]}]
    place.write("sources/questions.train.jsonl", lines(questions))
    refused(run(*trial(place.folder / "sources")), "split train: question q1 names passage p9, not in the corpus")
    questions[0]["relevant_doc_ids"] = ["p2"]
    place.write("sources/questions.train.jsonl", lines(questions))
    refused(run(*trial(place.folder / "sources")), "sources has no questions.gold.jsonl[.gz]; it has")
    refused(run(*trial(place.folder / "sources", "--gold-split=train")), "are both 'train'")
    assert not (place.folder / "out").exists()


# -- the command line itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["refresh", "--quick"], "No such option: --quick"),
        (["polish"], "No such command 'polish'"),
        (["rollback"], "Missing option '--reason'"),
        (["lineage"], "Missing argument"),
        (["lineage", "a", "b"], "unexpected extra argument"),
        (["retrain", "--epochs", "0"], "Invalid value for '--epochs'"),
        (["retrain", "--seed", "x"], "Invalid value for '--seed'"),
        (["trial", "--labels", "2"], "Invalid value for '--labels'"),
    ],
)
def test_wrong_usage_ends_with_status_2(
    place: Place, run: Callable[..., Finished], arguments: list[str], words: str
) -> None:
    before = place.files()
    done = run(*arguments)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err
    assert place.files() == before


def test_a_demo_of_too_many_rounds_is_refused_before_anything_is_made(
    place: Place, run: Callable[..., Finished]
) -> None:
    before = place.files()
    refused(run("demo", "--rounds", "0", "--root", str(place.folder / "demo")), "--rounds is 0")
    assert place.files() == before


@pytest.mark.parametrize("error", [RuntimeError("ours"), FileNotFoundError(errno.ENOENT, "gone", "x"), KeyError("k")])
def test_a_defect_of_ours_is_one_line_and_its_trace_is_kept_for_its_owner(
    place: Place, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Finished], error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise error

    monkeypatch.setenv("XDG_STATE_HOME", str(place.folder / "state"))
    monkeypatch.setattr("rerankops.pipeline.flows.refresh", fail)
    done = run("refresh")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "a defect of rerankops" in done.err
    (trace,) = (place.folder / "state/rerankops/traces").iterdir()
    assert str(trace) in done.err
    assert "Traceback" in trace.read_text()
    assert trace.stat().st_mode & 0o077 == 0
    assert trace.parent.stat().st_mode & 0o077 == 0


def real(place: Place, *arguments: str, module: bool = False) -> Finished:
    """The command line as a process of its own."""
    program = [sys.executable, "-m", "rerankops.cli"] if module else [str(Path(sys.executable).parent / "rerankops")]
    done = subprocess.run([*program, *arguments], cwd=place.folder, capture_output=True, text=True, timeout=400)
    return Finished(done.returncode, done.stdout, done.stderr)


def test_the_installed_command_refuses_in_one_line(published: Published) -> None:
    before = published.place.files()
    refused(real(published.place, "lineage", "champions"), "no artefact champions")
    done = real(published.place, "lineage", "judgments", module=True)
    assert (done.code, done.err) == (0, "")
    assert published.addresses["events"] in done.out
    assert published.place.files() == before


def test_a_hub_model_without_a_network_is_refused_in_one_line(published: Published) -> None:
    """In a process of its own: libraries that warn would be heard."""
    published.place.set(ENCODER__MODEL="someone/no-such-model")
    published.place.patch.setenv("HF_HOME", str(published.place.folder / "hub"))
    before = published.place.files()
    refused(
        real(published.place, "refresh"),
        "encoder.model: model 'someone/no-such-model' is not on this machine and could not be fetched",
        "connect to the hub, or name a local folder",
    )
    assert published.place.files() == before
