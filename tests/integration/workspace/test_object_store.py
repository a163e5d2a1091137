"""A workspace on a real S3 server: what is published there is whole, written once, and compared when it is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from s3_server import S3Server
from two_at_once import Two, damaged

from rerankops.errors import ArtefactDamaged
from rerankops.records import Passage
from rerankops.workspace import Workspace
from rerankops.workspace.manifest import Manifest
from rerankops.workspace.stores import ObjectStore


def passages(text: str) -> pa.Table:
    return Passage.table([{"passage_id": "p", "title": "", "text": text, "metadata": []}])


@pytest.fixture
def root(s3: S3Server) -> str:
    return f"{s3.bucket()}/team/workspace"


def folder_of(content: bytes) -> object:
    def build(folder: Path) -> None:
        (folder / "pages").mkdir()
        (folder / "pages" / "index.html").write_bytes(content)
        (folder / "weights").write_bytes(content * 1000)

    return build


def test_what_one_process_publishes_another_reads(root: str) -> None:
    writer, reader = Workspace(root), Workspace(root)
    assert reader.ref("corpus") is None
    assert reader.refs("batches") == []
    table = writer.publish(Passage, passages("胎压"), step="load")
    document = writer.publish_document("notes", {"a": 1}, step="note", inputs=[table])
    folder = writer.publish_folder("reports", folder_of(b"x"), step="render", inputs=[document])
    writer.point("corpus", table)
    writer.point("batches/b1", document)
    assert reader.ref("corpus") == table
    assert reader.refs("batches") == ["batches/b1"]
    assert reader.read(table, Passage)["text"].to_pylist() == ["胎压"]
    assert reader.read_document(document) == {"a": 1}
    with reader.local_folder(folder) as fetched:
        assert (fetched / "pages" / "index.html").read_bytes() == b"x"
        assert sorted(path.name for path in fetched.iterdir()) == ["pages", "weights"]
    assert list(reader.lineage(folder)) == [folder, document, table]
    assert reader.place(folder, "pages/index.html").startswith(f"{root}/objects/{folder}/")
    assert reader.root.fs.exists(reader.place(folder, "pages/index.html"))


def test_of_two_writers_who_disagree_one_wins_and_nothing_is_of_both(root: str) -> None:
    """The other one comes when the first has written its files and not yet its manifest."""

    class Interrupted(ObjectStore):
        def create(self, name: str, data: bytes) -> None:
            if not begun:
                begun.append(name)
                other.publish_folder("reports", folder_of(b"other"), step="render", settings={})
            super().create(name, data)

    begun: list[str] = []
    first, other = Workspace(root), Workspace(root)
    first._store = Interrupted(first.root)
    address = first.publish_folder("reports", folder_of(b"first"), step="render", settings={})
    for workspace in (first, other, Workspace(root)):
        with workspace.local_folder(address) as folder:
            assert (folder / "pages" / "index.html").read_bytes() == b"other"
            assert (folder / "weights").read_bytes() == b"other" * 1000
    left = {path.rsplit("/", 1)[-1] for path in other.root.fs.ls(str(other.root / "objects" / address))}
    assert left == {"manifest.json", other.manifest(address).place}


def test_what_a_killed_writer_left_is_in_nobodys_way(root: str) -> None:
    workspace = Workspace(root)
    address = workspace.address("reports", step="render", settings={})
    for name in ("weights", "pages/index.html", "0123456789abcdef/weights"):
        workspace._store.replace(f"objects/{address}/{name}", b"half")
    assert not workspace.exists(address)
    assert workspace.publish_folder("reports", folder_of(b"whole"), step="render", settings={}) == address
    with workspace.local_folder(address) as folder:
        assert (folder / "pages" / "index.html").read_bytes() == b"whole"


def test_a_byte_that_changed_on_the_store_is_noticed(root: str) -> None:
    workspace = Workspace(root)
    table = workspace.publish(Passage, passages("胎压"), step="load")
    folder = workspace.publish_folder("reports", folder_of(b"x"), step="render", settings={})
    workspace.point("corpus", table)
    for address, name in ((table, "data.parquet"), (folder, "weights"), (folder, "pages/index.html")):
        path = f"objects/{address}/{workspace.manifest(address).place}/{name}"
        data = workspace._store.read(path)
        workspace._store.replace(path, data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(ArtefactDamaged, match=rf"{name} is damaged"), workspace.local_folder(address):
            pass
        workspace._store.replace(path, data)
    path = f"objects/{table}/manifest.json"
    workspace._store.replace(path, workspace._store.read(path).replace(b'"rows": 1', b'"rows": 2'))
    with pytest.raises(ArtefactDamaged, match=r"manifest\.json is no manifest"):
        workspace.read(table, Passage)


def test_a_workspace_of_a_folder_can_be_copied_to_a_store(root: str, tmp_path: Path) -> None:
    here = Workspace(tmp_path / "ws")
    address = here.publish_folder("reports", folder_of(b"x"), step="render", settings={})
    there = Workspace(root)
    there.root.fs.put(str(tmp_path / "ws"), str(there.root), recursive=True)
    with there.local_folder(address) as folder:
        assert (folder / "pages" / "index.html").read_bytes() == b"x"


def test_a_manifest_is_written_once(root: str) -> None:
    workspace = Workspace(root)
    address = workspace.publish_document("notes", {"a": 1}, step="note", settings={})
    stored = workspace._store.read(f"objects/{address}/manifest.json")
    with pytest.raises(FileExistsError):
        workspace._store.create(f"objects/{address}/manifest.json", b"{}")
    assert workspace._store.read(f"objects/{address}/manifest.json") == stored
    assert Manifest.from_json(stored, address, "").place == json.loads(stored)["place"]


@pytest.mark.campaign
def test_two_at_once_come_to_equal_results(s3: S3Server, tmp_path: Path) -> None:
    """One round of what tests/campaigns does fifty of; like them it takes minutes."""
    with Two(tmp_path, {**os.environ, **s3.environment}) as two:
        told = two.round(f"{s3.bucket()}/workspace")
    assert told.differ == []
    assert damaged(told.workspace) == []
