"""Storage for the bytes of a workspace: a local folder, which renames, or an object store, which writes conditionally.

In a folder, a whole artefact is renamed into place. An object store cannot do that: the files go into a folder below
the artefact's, named after their content. The manifest is then written on the condition that none exists. So of any
number of writers one wins; its files are what its manifest says, whatever the others write, and a reader never sees a
mix of two writers.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from upath import UPath

from rerankops.errors import ArtefactDamaged
from rerankops.workspace import writing
from rerankops.workspace.hashing import sha256, sha256_once
from rerankops.workspace.manifest import AGAIN, Manifest

MANIFEST = "manifest.json"
OBJECTS = "objects"
_TRIES = 5
"""A store may answer that another write is in progress (409 of S3), which does not say who wins."""
_PAUSE = 0.1


class Store(Protocol):
    """What a workspace needs from its storage. Names are relative to the root, with slashes."""

    def read(self, name: str) -> bytes: ...

    def replace(self, name: str, data: bytes) -> None: ...

    def create(self, name: str, data: bytes) -> None: ...

    def place(self, hashes: Mapping[str, str]) -> str: ...

    def publish(self, manifest: Manifest, files: Mapping[str, bytes | Path]) -> None: ...

    def scratch(self) -> AbstractContextManager[Path]: ...

    def folder(self, manifest: Manifest) -> AbstractContextManager[Path]: ...


class Folder:
    """A local folder. Nothing is created before the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises FileNotFoundError when it does not exist."""
        return (self.root / name).read_bytes()

    def replace(self, name: str, data: bytes) -> None:
        with writing.room(f"a reference of workspace {self.root}"):
            writing.replace(self.root / name, data)

    def create(self, name: str, data: bytes) -> None:
        """Writes a file that does not exist yet. Raises FileExistsError when it does."""
        with writing.room(f"a reference of workspace {self.root}"):
            writing.create(self.root / name, data)

    def place(self, hashes: Mapping[str, str]) -> str:
        """Files are in the artefact's folder itself."""
        return ""

    def publish(self, manifest: Manifest, files: Mapping[str, bytes | Path]) -> None:
        """Stores the files and the manifest. Files given as paths are moved."""
        final = self.root / OBJECTS / manifest.address
        with self.scratch() as folder:
            for name, content in {**files, MANIFEST: manifest.to_json()}.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    content.replace(target)
                else:
                    target.write_bytes(content)
                writing.sync(target)
            for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
                writing.sync(path)
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists() and not (final / MANIFEST).exists():
                shutil.rmtree(final)
            folder.chmod(final.parent.stat().st_mode & 0o777)  # published files are as accessible as their neighbours
            try:
                folder.rename(final)
            except OSError:
                # Another process published the same address first; its files stay.
                if not (final / MANIFEST).exists():
                    raise
            writing.sync(final.parent)

    def scratch(self) -> AbstractContextManager[Path]:
        """A folder on the same file system as the objects, so that files move into place; old ones are swept."""
        return writing.scratch(self.root / "tmp", f"an artefact of workspace {self.root}")

    @contextmanager
    def folder(self, manifest: Manifest) -> Iterator[Path]:
        """The artefact's own folder, each of its files read and compared; see hashing.sha256_once."""
        folder = self.root / OBJECTS / manifest.address / manifest.place
        for name, promised in manifest.files.items():
            try:
                found = sha256_once(folder / name)
            except OSError as error:
                raise ArtefactDamaged(f"{folder / name} is gone; {AGAIN}") from error
            if found != promised:
                raise ArtefactDamaged(f"{folder / name} is damaged: it is not what {manifest.step} stored; {AGAIN}")
        yield folder


class ObjectStore:
    """Any file system of fsspec with conditional writes: S3, GCS, Azure."""

    def __init__(self, root: UPath) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises FileNotFoundError when it does not exist."""
        return bytes((self.root / name).read_bytes())

    def replace(self, name: str, data: bytes) -> None:
        path = self._made(name)
        path.write_bytes(data)

    def create(self, name: str, data: bytes) -> None:
        """Writes a file that does not exist yet. Raises FileExistsError when it does, also when another process wrote
        it while the store was busy."""
        path = self._made(name)
        for tries_left in reversed(range(_TRIES)):
            try:
                path.fs.pipe_file(path.path, data, mode="create")
            except OSError as error:
                if path.exists():
                    raise FileExistsError(str(path)) from error
                if not tries_left:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def place(self, hashes: Mapping[str, str]) -> str:
        """A name derived from the files' content, so that writers who disagree never write to the same folder."""
        return hashlib.sha256("\n".join(f"{hashes[name]} {name}" for name in sorted(hashes)).encode()).hexdigest()[:16]

    def publish(self, manifest: Manifest, files: Mapping[str, bytes | Path]) -> None:
        folder = f"{OBJECTS}/{manifest.address}"
        for name, content in files.items():
            path = self._made(f"{folder}/{manifest.place}/{name}")
            if isinstance(content, Path):
                path.fs.put_file(str(content), path.path)
            else:
                path.write_bytes(content)
        try:
            self.create(f"{folder}/{MANIFEST}", manifest.to_json())
        except FileExistsError:  # another process was first; its files stay
            stored = Manifest.from_json(self.read(f"{folder}/{MANIFEST}"), manifest.address, self.root / folder)
            if stored.place != manifest.place:
                mine = self.root / folder / manifest.place
                mine.fs.rm(mine.path, recursive=True)

    def scratch(self) -> AbstractContextManager[Path]:
        what = f"files of workspace {self.root} on this machine"
        return writing.scratch(Path(tempfile.gettempdir()), what, prefix="rerankops-scratch-")

    @contextmanager
    def folder(self, manifest: Manifest) -> Iterator[Path]:
        """A copy for the duration of the block, with every file compared."""
        with self.scratch() as folder:
            for name, promised in manifest.files.items():
                path, target = self.root / OBJECTS / manifest.address / manifest.place / name, folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    path.fs.get_file(path.path, str(target))
                except FileNotFoundError as error:
                    raise ArtefactDamaged(f"{path} is gone; {AGAIN}") from error
                if sha256(target) != promised:
                    raise ArtefactDamaged(f"{path} is damaged: it is not what {manifest.step} stored; {AGAIN}")
            yield folder

    def _made(self, name: str) -> UPath:
        """The path, with its parent folder created if the store has folders."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
