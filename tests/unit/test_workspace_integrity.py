"""What is read is what was written: damage to any byte, formats, and the memory of what was read already."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest

from rerankops.errors import ArtefactDamaged, ArtefactMissing, FormatTooNew, RerankopsError
from rerankops.records import Passage
from rerankops.workspace import Workspace, seal, unseal
from rerankops.workspace.hashing import sha256_once


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def file_of(workspace: Workspace, *parts: str) -> Path:
    return Path(workspace.root.path).joinpath(*parts)


def note(workspace: Workspace) -> str:
    return workspace.publish_document("notes", {"说明": "胎压"}, step="note", inputs=["x/1"], settings={"k": 0.5})


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def passages() -> object:
    return Passage.table([{"passage_id": "p", "title": "", "text": "胎压2.3bar", "metadata": []}])


# -- manifests and references


def test_a_bit_flipped_anywhere_in_a_manifest_is_noticed(workspace: Workspace) -> None:
    address = note(workspace)
    path = file_of(workspace, "objects", address, "manifest.json")
    whole, draw = path.read_bytes(), random.Random(0)
    for place in range(len(whole)):
        path.write_bytes(flipped(whole, place, draw.randrange(8)))
        with pytest.raises((ArtefactDamaged, FormatTooNew)) as caught:
            workspace.manifest(address)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_bit_flipped_anywhere_in_a_reference_is_noticed(workspace: Workspace) -> None:
    workspace.point("corpus", note(workspace))
    path = file_of(workspace, "refs", "corpus.json")
    whole, draw = path.read_bytes(), random.Random(0)
    for place in range(len(whole)):
        path.write_bytes(flipped(whole, place, draw.randrange(8)))
        with pytest.raises(ArtefactDamaged, match=r"corpus\.json is no reference: .*; delete it and run the step"):
            workspace.ref("corpus")


def test_a_manifest_that_was_moved_to_another_artefact_is_noticed(workspace: Workspace) -> None:
    one = note(workspace)
    other = workspace.publish_document("notes", {"a": 1}, step="other", settings={})
    manifest = file_of(workspace, "objects", one, "manifest.json")
    manifest.replace(file_of(workspace, "objects", other, "manifest.json"))
    with pytest.raises(ArtefactDamaged, match=f"is the manifest of {one}"):
        workspace.read_document(other)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": ' * 100_000, b"\xff\xfe", b"\0" * 50])
def test_what_is_no_json_ends_in_one_line(workspace: Workspace, content: bytes) -> None:
    address = note(workspace)
    workspace.point("corpus", address)
    for parts in (("objects", address, "manifest.json"), ("refs", "corpus.json")):
        file_of(workspace, *parts).write_bytes(content)
    for read in (workspace.manifest, workspace.read_document):
        with pytest.raises(ArtefactDamaged, match=r"manifest\.json is no manifest: it is n.*run its step again"):
            read(address)
    with pytest.raises(ArtefactDamaged, match=r"corpus\.json is no reference: it is n"):
        workspace.ref("corpus")


# -- formats


def in_format_1(workspace: Workspace, address: str) -> Path:
    """The manifest as the first format was: without a format, a place and a check."""
    path = file_of(workspace, "objects", address, "manifest.json")
    tree = json.loads(path.read_bytes())
    for name in ("format", "place", "check"):
        del tree[name]
    path.write_text(json.dumps(tree, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def test_an_artefact_of_the_first_format_is_read_and_its_files_are_compared(workspace: Workspace) -> None:
    address = note(workspace)
    in_format_1(workspace, address)
    assert workspace.read_document(address) == {"说明": "胎压"}
    file_of(workspace, "objects", address, "document.json").write_bytes(b"{}")
    with pytest.raises(ArtefactDamaged, match=r"document\.json is damaged"):
        workspace.read_document(address)


@pytest.mark.parametrize("files", [{}, {"document.json": None}, {"document.json": ""}, ["document.json"]])
def test_an_artefact_without_hashes_is_not_read(workspace: Workspace, files: object) -> None:
    address = note(workspace)
    path = in_format_1(workspace, address)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "files": files}))
    with pytest.raises(ArtefactDamaged, match=r"manifest\.json has no SHA-256 of every file|holds \[\], not document"):
        workspace.read_document(address)


def test_a_reference_of_the_first_format_is_read(workspace: Workspace) -> None:
    address = note(workspace)
    workspace.point("corpus", address)
    path = file_of(workspace, "refs", "corpus.json")
    path.write_text(json.dumps({"address": address, "moved_at": "2026-01-01T00:00:00+00:00"}))
    assert workspace.ref("corpus") == address


@pytest.mark.parametrize("sealed", [True, False])
def test_a_manifest_of_a_newer_format_is_refused(workspace: Workspace, sealed: bool) -> None:
    address = note(workspace)
    path = file_of(workspace, "objects", address, "manifest.json")
    tree = {**unseal(path.read_bytes())[0], "format": 3, "compression": "zstd"}
    path.write_bytes(seal(tree) if sealed else json.dumps(tree).encode())
    for read in (workspace.manifest, workspace.read_document, workspace.lineage):
        with pytest.raises(FormatTooNew, match=r"has format 3, this version of rerankops reads up to 2: update"):
            read(address)


def test_a_table_of_a_newer_record_is_refused(workspace: Workspace) -> None:
    address = workspace.publish(Passage, passages(), step="load")
    path = file_of(workspace, "objects", address, "manifest.json")
    path.write_bytes(seal({**unseal(path.read_bytes())[0], "version": Passage.version + 1}))
    with pytest.raises(FormatTooNew, match=r"is a table of version \d+ of passages.*update rerankops"):
        workspace.read(address, Passage)


# -- files


def test_a_file_that_changed_keeps_neither_its_size_nor_its_time_to_be_noticed(workspace: Workspace) -> None:
    def build(folder: Path) -> None:
        (folder / "weights").write_bytes(b"as trained")

    address = workspace.publish_folder("rankers", build, step="fit", settings={})
    path = file_of(workspace, "objects", address, "weights")
    with workspace.local_folder(address):
        before = path.stat()
    path.write_bytes(b"as spoiled")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ArtefactDamaged, match="weights is damaged"), workspace.local_folder(address):
        pass


def test_a_file_is_read_once_a_process_while_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"as trained")
    later = time.time_ns() + 60_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)  # it was written long ago
    opened: list[Path] = []
    real = Path.open

    def counted(self: Path, *args: object, **kwargs: object) -> object:
        opened.append(self)
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", counted)
    found = {sha256_once(path) for _ in range(3)}
    assert (len(found), opened.count(path)) == (1, 1)
    path.write_bytes(b"as spoiled")
    assert sha256_once(path) not in found


def test_a_file_that_was_just_written_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    for content in (b"one", b"two", b"six"):
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))
        first = sha256_once(path)
        path.write_bytes(content[::-1] + b"!")
        os.utime(path, ns=(0, 0))
        assert sha256_once(path) != first


@pytest.mark.parametrize("name", ["data.parquet", "manifest.json"])
def test_an_artefact_whose_file_is_gone_says_what_to_do(workspace: Workspace, name: str) -> None:
    address = workspace.publish(Passage, passages(), step="load")
    file_of(workspace, "objects", address, name).unlink()
    with pytest.raises((ArtefactDamaged, ArtefactMissing), match=r"run (its|the) step"):
        workspace.read(address, Passage)


def test_a_sealed_document_has_no_check_of_its_own() -> None:
    with pytest.raises(ValueError, match="check"):
        seal({"check": 1})
    document = {"text": "\ud800 胎压", "number": 0.1, "nested": [{"a": None}]}
    assert unseal(seal(document)) == (document, True)
    assert issubclass(FormatTooNew, RerankopsError)
