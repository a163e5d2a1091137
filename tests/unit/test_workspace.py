"""Artefacts on a folder and on an object store: addresses, publishing, damage, death in the middle, lineage."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel
from safetensors.numpy import save_file
from upath import UPath

from rerankops.errors import ArtefactDamaged, ArtefactMissing, DiskFull, SchemaMismatch
from rerankops.records import GoldQuestion, Passage
from rerankops.workspace import Address, Workspace, digest


def passages(*texts: str) -> pa.Table:
    rows = [{"passage_id": f"p{i}", "title": "", "text": text, "metadata": []} for i, text in enumerate(texts)]
    return Passage.table(rows)


@pytest.fixture(params=["local", "memory"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    if request.param == "local":
        yield Workspace(tmp_path / "ws")
        return
    root = UPath(f"memory://{uuid.uuid4().hex}")
    yield Workspace(str(root))
    if root.exists():
        root.fs.rm(root.path, recursive=True)


@pytest.fixture
def local(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def stored(workspace: Workspace, address: Address, name: str) -> UPath:
    """Where a file lies: an object store keeps those of an artefact in a folder of their own, beside the manifest."""
    folder = workspace.root / "objects" / address
    if name == "manifest.json" or not workspace.exists(address):
        return folder / name
    return folder / workspace.manifest(address).place / name


def objects(workspace: Workspace) -> list[Path]:
    return sorted(p for p in Path(workspace.root.path).glob("objects/*/*") if p.is_dir())


# -- tables and documents


def test_nothing_is_created_before_the_first_write(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    assert workspace.ref("corpus") is None
    assert workspace.refs("batches") == []
    assert not workspace.exists("passages/0")
    assert not (tmp_path / "ws").exists()


def test_a_published_table_reads_back_equal(workspace: Workspace) -> None:
    table = passages("胎压2.3bar", "机油0W-20")
    address = workspace.publish(Passage, table, step="load", counts={"passages": 2}, seconds=0.5)
    assert workspace.read(address, Passage).equals(table)
    manifest = workspace.manifest(address)
    assert (manifest.kind, manifest.step, manifest.rows, manifest.counts) == ("passages", "load", 2, {"passages": 2})
    assert (manifest.version, manifest.seconds) == (Passage.version, 0.5)


def test_a_published_document_reads_back_equal(workspace: Workspace) -> None:
    document = {"说明": "胎压", "numbers": [1, 2.5, None]}
    address = workspace.publish_document("decisions", document, step="gate", settings={"alpha": 0.05})
    assert workspace.read_document(address) == document


def test_the_same_inputs_and_settings_are_one_address_and_one_write(workspace: Workspace) -> None:
    first = workspace.publish(Passage, passages("a"), step="load", inputs=["x/1"], settings={"k": 1})
    created = workspace.manifest(first).created_at
    second = workspace.publish(Passage, passages("b"), step="load", inputs=["x/1"], settings={"k": 1})
    assert first == second
    assert workspace.manifest(first).created_at == created
    assert workspace.read(first, Passage)["text"].to_pylist() == ["a"]


@pytest.mark.parametrize("settings", [{"k": 1}, [{"k": 1}, "CN", None], "CN", 3])
def test_settings_are_whatever_json_holds(workspace: Workspace, settings: object) -> None:
    address = workspace.publish_document("notes", {}, step="note", inputs=["x/1"], settings=settings)
    assert workspace.manifest(address).settings == settings


def test_data_from_outside_are_addressed_by_their_rows(workspace: Workspace) -> None:
    one, again, other = (workspace.publish(Passage, passages(t), step="load") for t in ("a", "a", "b"))
    assert one == again != other


@pytest.mark.parametrize(
    "change",
    [{"step": "other"}, {"inputs": ["x/2"]}, {"inputs": ["x/1", "x/1"]}, {"settings": {"k": 2}}, {"version": 2}],
)
def test_whatever_matters_changes_the_address(local: Workspace, change: dict[str, Any]) -> None:
    same: dict[str, Any] = {"step": "load", "inputs": ["x/1"], "settings": {"k": 1}}
    assert local.address("kind", **same) != local.address("kind", **{**same, **change})


def test_an_address_does_not_depend_on_the_order_of_keys() -> None:
    class Knobs(BaseModel):
        b: int = 1
        a: str = "x"

    assert digest({"b": 1, "a": "x"}) == digest({"a": "x", "b": 1}) == digest(Knobs())
    with pytest.raises(TypeError, match="set has no place in an address"):
        digest({"a": {1}})


def test_a_table_of_another_record_is_not_read(workspace: Workspace) -> None:
    address = workspace.publish(Passage, passages("a"), step="load")
    with pytest.raises(SchemaMismatch, match="gold_questions: missing column 'question_id'"):
        workspace.read(address, GoldQuestion)
    document = workspace.publish_document("notes", {"a": 1}, step="note")
    with pytest.raises(ArtefactDamaged, match=r"holds \['document.json'\], not data.parquet"):
        workspace.read(document, Passage)


def test_a_table_that_breaks_its_record_is_not_stored(local: Workspace) -> None:
    with pytest.raises(SchemaMismatch):
        local.publish(Passage, pa.table({"passage_id": ["p"]}), step="load")
    assert objects(local) == []


# -- missing and damaged


def test_what_was_never_published_is_missing(workspace: Workspace) -> None:
    for read in (workspace.manifest, workspace.read_document, lambda a: workspace.read(a, Passage), workspace.lineage):
        with pytest.raises(ArtefactMissing, match=r"no artefact passages/00 in workspace .*; run the step"):
            read("passages/00")
    with pytest.raises(ArtefactMissing, match="has no 'corpus' yet; run refresh_corpus first"):
        workspace.require("corpus", "run refresh_corpus first")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data + b"\0",
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
    ],
    ids=["last byte gone", "half", "empty", "byte more", "bit flipped"],
)
def test_a_damaged_table_is_refused_by_file(workspace: Workspace, damage: Callable[[bytes], bytes]) -> None:
    address = workspace.publish(Passage, passages("胎压" * 30), step="load")
    file = stored(workspace, address, "data.parquet")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ArtefactDamaged, match=r"data\.parquet is damaged: \d+ bytes.*run its step again") as caught:
        workspace.read(address, Passage)
    assert address in str(caught.value)


def test_a_table_whose_file_is_gone_is_damaged(workspace: Workspace) -> None:
    address = workspace.publish(Passage, passages("a"), step="load")
    stored(workspace, address, "data.parquet").unlink()
    with pytest.raises(ArtefactDamaged, match=r"data\.parquet is gone"):
        workspace.read(address, Passage)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"address": "x"}', "null", '{"inputs": [], "colour": 1}'])
def test_a_damaged_manifest_is_named(workspace: Workspace, content: str) -> None:
    address = workspace.publish(Passage, passages("a"), step="load")
    stored(workspace, address, "manifest.json").write_text(content)
    with pytest.raises(ArtefactDamaged, match=r"manifest\.json is no"):
        workspace.manifest(address)


def test_a_deleted_artefact_is_made_again(workspace: Workspace) -> None:
    address = workspace.publish(Passage, passages("a"), step="load")
    folder = workspace.root / "objects" / address
    folder.fs.rm(folder.path, recursive=True)
    assert not workspace.exists(address)
    assert workspace.publish(Passage, passages("a"), step="load") == address
    assert workspace.read(address, Passage).num_rows == 1


# -- folders


def test_a_folder_reads_back_with_its_nested_files(workspace: Workspace) -> None:
    def build(folder: Path) -> dict[str, float]:
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "weights.bin").write_bytes(b"\x00\xff")
        (folder / "config.json").write_text("{}")
        return {"weights": 2}

    address = workspace.publish_folder("models", build, step="train", settings={"seed": 1})
    assert workspace.manifest(address).counts == {"weights": 2}
    assert sorted(workspace.manifest(address).files) == ["config.json", "deep/er/weights.bin"]
    with workspace.local_folder(address) as folder:
        assert (folder / "deep" / "er" / "weights.bin").read_bytes() == b"\x00\xff"


def test_a_stored_folder_is_not_built_again(workspace: Workspace) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "a").write_text("a")

    for _ in range(2):
        workspace.publish_folder("models", build, step="train", settings={"seed": 1})
    assert len(built) == 1
    assert not built[0].exists()


def test_a_build_that_raises_leaves_nothing(workspace: Workspace) -> None:
    folders = []

    def build(folder: Path) -> None:
        folders.append(folder)
        (folder / "half").write_text("half")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        workspace.publish_folder("models", build, step="train", settings={"seed": 1})
    assert not folders[0].exists()
    assert not workspace.exists(workspace.address("models", step="train", settings={"seed": 1}))
    assert not (workspace.root / "objects").exists()


def test_a_build_may_not_take_the_name_of_the_manifest(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match=r"step train may not leave a manifest\.json"):
        workspace.publish_folder("models", lambda f: (f / "manifest.json").touch(), step="train", settings={})
    assert not (workspace.root / "objects").exists()


def test_a_folder_without_one_of_its_files_is_damaged(workspace: Workspace) -> None:
    address = workspace.publish_folder("models", lambda f: (f / "weights").touch(), step="train", settings={})
    stored(workspace, address, "weights").unlink()
    with pytest.raises(ArtefactDamaged, match=r"weights is gone"), workspace.local_folder(address):
        pass


# -- several at once, and death


def clean_processes() -> Any:
    """Processes that do not inherit the threads which other tests have started, and still start at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "pandas", "rerankops.workspace"])
    return context


def _publish(root: str, barrier: Any, number: int) -> None:
    workspace = Workspace(root)

    def build(folder: Path) -> None:
        (folder / "who").write_text(str(number))
        barrier.wait(timeout=120)

    for round_ in range(5):
        workspace.publish_folder("models", build, step="train", settings={"round": round_})
        barrier.wait(timeout=120)


def test_two_processes_publish_the_same_address_at_once(local: Workspace) -> None:
    context = clean_processes()
    barrier = context.Barrier(2)
    both = [context.Process(target=_publish, args=(str(local.root), barrier, i)) for i in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=300)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(objects(local)) == 5
    for folder in objects(local):
        address = f"models/{folder.name}"
        with local.local_folder(address) as files:
            assert (files / "who").read_text() in {"0", "1"}
        assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "who"]
    assert list((Path(local.root.path) / "tmp").iterdir()) == []


def _claim(root: str, barrier: Any, number: int) -> None:
    workspace = Workspace(root)
    mine = workspace.publish(Passage, passages(str(number)), step="load")
    for round_ in range(20):
        barrier.wait(timeout=120)
        taken = workspace.claim(f"rounds/{round_}", mine)
        workspace.point(f"told/{number}-{round_}", taken)


def test_of_processes_that_claim_a_reference_at_once_all_get_the_same_address(local: Workspace) -> None:
    context = clean_processes()
    barrier = context.Barrier(3)
    processes = [context.Process(target=_claim, args=(str(local.root), barrier, i)) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    for round_ in range(20):
        assert {local.ref(f"told/{number}-{round_}") for number in range(3)} == {local.ref(f"rounds/{round_}")}
    assert all(path.suffix == ".json" for path in Path(local.root.path, "refs", "rounds").iterdir())


TOUCHES_THE_DISK = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}


def _work(workspace: Workspace) -> None:
    def build(folder: Path) -> dict[str, float]:
        for name in "abc":
            (folder / name).write_text(name * 1000)
        return {"files": 3}

    workspace.publish_folder("models", build, step="train", settings={"seed": 1})
    workspace.point("corpus", workspace.publish(Passage, passages("a" * 10000), step="load"))


def _work_until(root: Path, point: int) -> None:
    """Works, and kills itself at the `point`-th time that it is about to touch the disk below root."""
    touched = itertools.count()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in TOUCHES_THE_DISK and str(root) in str(arguments) and next(touched) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    _work(Workspace(root))


def _die_at_every_point(parent: Path) -> None:
    """Leaves a workspace `parent/0`, `parent/1`, … for each point of death; the last one is of a process that lived."""
    for point in itertools.count():
        child = os.fork()
        if child == 0:
            _work_until(parent / str(point), point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        assert os.WTERMSIG(status) == signal.SIGKILL


def test_a_kill_at_any_point_leaves_no_half_artefact_and_a_second_try_works(tmp_path: Path) -> None:
    process = clean_processes().Process(target=_die_at_every_point, args=(tmp_path,))
    process.start()
    process.join(timeout=300)
    assert process.exitcode == 0
    roots = sorted(tmp_path.iterdir(), key=lambda root: int(root.name))
    assert len(roots) > 20
    seen = set()
    for root in roots:
        workspace = Workspace(root)
        for folder in objects(workspace):
            manifest = workspace.manifest(f"{folder.parent.name}/{folder.name}")
            for name, promised in manifest.files.items():
                assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == promised
        corpus = workspace.ref("corpus")
        assert corpus is None or workspace.read(corpus, Passage).num_rows == 1
        kinds = tuple(folder.parent.name for folder in objects(workspace))
        seen.add((kinds, corpus is not None))
        _work(workspace)
        assert len(objects(workspace)) == 2
        assert workspace.read(workspace.require("corpus", ""), Passage).num_rows == 1
    assert seen == {((), False), (("models",), False), (("models", "passages"), False), (("models", "passages"), True)}


def test_a_death_on_an_object_store_between_files_and_manifest_leaves_no_artefact(tmp_path: Path) -> None:
    """What a killed writer leaves on a store without rename: data without a manifest."""
    workspace = Workspace(f"memory://{uuid.uuid4().hex}")
    address = workspace.address(Passage.name, step="load", inputs=["x/1"], version=Passage.version)
    stored(workspace, address, "data.parquet").parent.mkdir(parents=True)
    stored(workspace, address, "data.parquet").write_bytes(b"half")
    stored(workspace, address, "stray").write_bytes(b"stray")
    assert not workspace.exists(address)
    assert workspace.publish(Passage, passages("a"), step="load", inputs=["x/1"]) == address
    assert workspace.read(address, Passage)["text"].to_pylist() == ["a"]


def test_a_folder_without_a_manifest_is_no_artefact_and_is_replaced(local: Workspace) -> None:
    address = local.address("models", step="train", settings={})
    stored(local, address, "x").mkdir(parents=True)
    assert not local.exists(address)
    local.publish_folder("models", lambda f: (f / "weights").touch(), step="train", settings={})
    with local.local_folder(address) as folder:
        assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "weights"]


def test_left_over_scratch_does_not_matter(local: Workspace) -> None:
    root = Path(local.root.path)
    (root / "tmp" / "1-dead").mkdir(parents=True)
    (root / "tmp" / "1-dead" / "manifest.json").write_text("{")
    (root / "refs" / "batches").mkdir(parents=True)
    (root / "refs" / "batches" / ".b1.json.dead").write_text("{")
    address = local.publish(Passage, passages("a"), step="load")
    local.point("batches/b2", address)
    assert local.refs("batches") == ["batches/b2"]
    assert list(local.lineage(address)) == [address]
    assert (root / "tmp" / "1-dead").exists()


# -- references and lineage


def test_a_reference_moves_and_only_to_what_exists(workspace: Workspace) -> None:
    one, two = (workspace.publish(Passage, passages(t), step="load") for t in "ab")
    workspace.point("corpus", one)
    workspace.point("corpus", two)
    assert workspace.ref("corpus") == two == workspace.require("corpus", "")
    with pytest.raises(ArtefactMissing):
        workspace.point("corpus", "passages/00")
    assert workspace.ref("corpus") == two


def test_pointing_at_the_same_address_again_writes_nothing(workspace: Workspace) -> None:
    address = workspace.publish(Passage, passages("a"), step="load")
    workspace.point("corpus", address)
    before = (workspace.root / "refs" / "corpus.json").read_text()
    workspace.point("corpus", address)
    assert (workspace.root / "refs" / "corpus.json").read_text() == before


def test_a_reference_is_claimed_once(workspace: Workspace) -> None:
    first, second = (workspace.publish(Passage, passages(text), step="load") for text in "ab")
    assert workspace.claim("looks/0001", first) == first
    assert workspace.claim("looks/0001", second) == first
    assert workspace.claim("looks/0001", first) == first
    assert workspace.refs("looks") == ["looks/0001"]
    with pytest.raises(ArtefactMissing):
        workspace.claim("looks/0002", "passages/none")
    assert workspace.ref("looks/0002") is None


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_reference_is_claimed_once_without_hard_links_as_well(
    local: Workspace, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    first, second = (local.publish(Passage, passages(text), step="load") for text in "ab")
    assert [local.claim("looks/0001", each) for each in (first, second, first)] == [first, first, first]
    assert sorted(path.name for path in Path(local.root.path, "refs", "looks").iterdir()) == ["0001.json"]


def test_a_claim_that_cannot_be_written_is_an_error(local: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", refuse)
    address = local.publish(Passage, passages("a"), step="load")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        local.claim("looks/0001", address)
    assert local.ref("looks/0001") is None


def test_references_under_a_prefix_are_listed_in_order(workspace: Workspace) -> None:
    address = workspace.publish(Passage, passages("a"), step="load")
    for name in ("batches/b2", "batches/b1", "batches/v1.2", "corpus"):
        workspace.point(name, address)
    assert workspace.refs("batches") == ["batches/b1", "batches/b2", "batches/v1.2"]
    assert workspace.refs("nothing") == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_reference_is_named(workspace: Workspace, content: str) -> None:
    file = workspace.root / "refs" / "corpus.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(ArtefactDamaged, match=r"corpus\.json is no reference.*sets 'corpus'"):
        workspace.ref("corpus")


def test_a_reader_never_sees_a_reference_half_written(local: Workspace) -> None:
    addresses = [local.publish(Passage, passages(t), step="load") for t in "abcd"]
    local.point("corpus", addresses[0])
    stop, seen, failures = threading.Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(local.ref("corpus"))
            except ArtefactDamaged as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(200):
        local.point("corpus", addresses[turn % 4])
    stop.set()
    reader.join()
    assert not failures
    assert seen <= set(addresses)
    assert [p.name for p in (Path(local.root.path) / "refs").iterdir()] == ["corpus.json"]


def test_lineage_is_breadth_first_and_names_each_ancestor_once(workspace: Workspace) -> None:
    def make(name: str, *inputs: Address) -> Address:
        return workspace.publish_document("notes", {"name": name}, step=name, inputs=inputs, settings={})

    root = make("root")
    left, right = make("left", root), make("right", root)
    middle = make("middle", left)
    top = make("top", middle, right, left)
    assert list(workspace.lineage(top)) == [top, middle, right, left, root]
    assert [workspace.manifest(a).step for a in workspace.lineage(middle)] == ["middle", "left", "root"]


# -- roots


def test_a_workspace_may_move_as_a_whole(tmp_path: Path) -> None:
    address = Workspace(tmp_path / "a").publish(Passage, passages("a"), step="load")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert Workspace(tmp_path / "b").read(address, Passage).num_rows == 1


def test_a_relative_root_does_not_follow_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace("ws")
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    address = workspace.publish_document("notes", {}, step="note", settings={"a": 1})
    assert (tmp_path / "ws" / "objects" / address / "manifest.json").is_file()


def test_a_file_uri_is_a_local_folder(tmp_path: Path) -> None:
    workspace = Workspace(f"file://{tmp_path}/ws")
    address = workspace.publish(Passage, passages("a"), step="load")
    assert workspace.is_local
    assert json.loads((tmp_path / "ws" / "objects" / address / "manifest.json").read_text())["address"] == address


# -- a disk that is full


@contextmanager
def files_of(most: int) -> Iterator[None]:
    """No file may have more bytes, so that writing ends in the middle, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("how", ["write_text", "parquet", "copytree", "safetensors"])
def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(local: Workspace, tmp_path: Path, how: str) -> None:
    large = tmp_path / "large"
    large.mkdir()
    (large / "file").write_bytes(b"x" * 100_000)

    def build(folder: Path) -> None:
        if how == "write_text":
            (folder / "page.html").write_text("x" * 100_000)
        elif how == "parquet":
            pq.write_table(pa.table({"a": np.random.default_rng(0).random(20_000)}), folder / "a.parquet")
        elif how == "copytree":
            shutil.copytree(large, folder / "copy")
        else:
            save_file({"a": np.zeros(20_000)}, folder / "a.safetensors")

    with (
        pytest.raises(DiskFull, match=r"no room is left for an artefact .* make room and run the step again"),
        files_of(10_000),
    ):
        local.publish_folder("reports", build, step="render", settings={})
    assert not list((Path(local.root.path) / "objects").glob("*/*"))
    assert not list((Path(local.root.path) / "tmp").iterdir())
    address = local.publish_folder("reports", build, step="render", settings={})
    assert local.manifest(address).rows == 1


def test_a_reference_that_does_not_fit_keeps_its_old_value(local: Workspace) -> None:
    old, new = (local.publish(Passage, passages(t), step="load") for t in "ab")
    local.point("corpus", old)
    with pytest.raises(DiskFull, match="no room is left"), files_of(10):
        local.point("corpus", new)
    assert local.ref("corpus") == old
    assert [p.name for p in (Path(local.root.path) / "refs").iterdir()] == ["corpus.json"]


def test_scratch_of_killed_processes_is_swept_after_a_week(local: Workspace) -> None:
    scratch = Path(local.root.path) / "tmp"
    for name, days in {"123-old": 8, "124-young": 1}.items():
        (scratch / name).mkdir(parents=True)
        (scratch / name / "weights").write_bytes(b"x")
        then = time.time() - days * 86400
        os.utime(scratch / name, (then, then))
    local.publish(Passage, passages("a"), step="load")
    assert [folder.name for folder in scratch.iterdir()] == ["124-young"]


def test_a_folder_is_compared_before_it_is_used(workspace: Workspace) -> None:
    def build(folder: Path) -> None:
        (folder / "weights").write_bytes(b"as trained")

    address = workspace.publish_folder("rankers", build, step="fit", settings={})
    with workspace.local_folder(address) as folder:
        assert (folder / "weights").read_bytes() == b"as trained"
    stored(workspace, address, "weights").write_bytes(b"as spoiled")
    with (
        pytest.raises(ArtefactDamaged, match=r"weights is damaged: it is not what fit stored; delete its folder"),
        workspace.local_folder(address),
    ):
        pass


def test_scratch_is_its_owners_alone_and_what_is_published_is_as_open_as_its_neighbours(local: Workspace) -> None:
    modes = []

    def build(folder: Path) -> None:
        modes.append(folder.stat().st_mode & 0o777)
        (folder / "file").write_text("x")

    address = local.publish_folder("things", build, step="build")
    published = Path(local.root.path) / "objects" / address
    assert modes == [0o700]
    assert published.stat().st_mode == published.parent.stat().st_mode


def test_scratch_of_an_object_store_is_private_and_swept_by_its_own_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    remote = Workspace(f"memory://scratch-{tmp_path.name}")
    left, other = tmp_path / "rerankops-scratch-1-old", tmp_path / "somebody-elses"
    then = time.time() - 8 * 24 * 3600
    for folder in (left, other):
        folder.mkdir()
        os.utime(folder, (then, then))
    modes = []

    def build(folder: Path) -> None:
        modes.append(folder.stat().st_mode & 0o777)
        (folder / "file").write_text("x")

    remote.publish_folder("things", build, step="build")
    assert modes == [0o700]
    assert [path.name for path in tmp_path.iterdir()] == ["somebody-elses"]
