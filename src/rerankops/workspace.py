"""Where artefacts live: content addresses, manifests with lineage, atomic publishing, named references.

An artefact is a folder `ROOT/objects/KIND/DIGEST/` of files and a `manifest.json` that is written last: an artefact
exists when its manifest does. Its address `KIND/DIGEST` is known before the work is done, from the step's name, the
addresses of its inputs and the settings that matter to it (a derivation, as in Dolstra's "Purely Functional Software
Deployment", 2006), so a step that ran is never run twice. Data from outside are addressed by their bytes.
References (`ROOT/refs/NAME.json`) are the only mutable things: named pointers at addresses, replaced atomically, or
claimed once for all by the first who comes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel
from upath import UPath

from rerankops.errors import ArtefactDamaged, ArtefactMissing, DiskFull, RerankopsError
from rerankops.records import Record

Address = str
"""`KIND/DIGEST`, for example `judgments/5b1f0c…`; small enough for an XCom or an asset event."""

_TABLE = "data.parquet"
_DOCUMENT = "document.json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
_LEFT_OVER = 7 * 24 * 3600.0
"""Seconds after which a scratch folder belongs to nobody: its process was killed."""


@dataclass(frozen=True)
class Manifest:
    """What an artefact is, what it was made from, and the hash of every file of it."""

    address: Address
    kind: str
    step: str
    version: int
    rows: int
    files: dict[str, str]
    inputs: tuple[Address, ...]
    settings: dict[str, Any]
    counts: dict[str, float] = field(default_factory=dict)
    created_at: str = ""
    seconds: float = 0.0


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 (first 32 characters) of a JSON-able value, independent of key order."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} has no place in an address")


class Workspace:
    """One team's artefacts under one root.

    root: a local folder or any fsspec URI. Nothing is created before the first write.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = UPath(root)
        self.is_local = self.root.protocol in {"", "file", "local"}
        if self.is_local:
            self.root = UPath(Path(self.root.path).absolute())

    # -- addresses ----------------------------------------------------------------------------------------------

    def address(
        self, kind: str, *, step: str, inputs: Sequence[Address] = (), settings: Any = None, version: int = 1
    ) -> Address:
        """The address that `step` will publish under, given what it reads and the settings that matter to it."""
        parts = {"step": step, "version": version, "inputs": list(inputs), "settings": settings}
        return f"{kind}/{digest(parts)}"

    def exists(self, address: Address) -> bool:
        return bool((self._folder(address) / "manifest.json").exists())

    def manifest(self, address: Address) -> Manifest:
        """Raises ArtefactMissing when nothing was published there, ArtefactDamaged when it cannot be read."""
        path = self._folder(address) / "manifest.json"
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ArtefactMissing(
                f"no artefact {address} in workspace {self.root}; run the step that makes it"
            ) from error
        except ValueError as error:
            raise ArtefactDamaged(f"{path} is not JSON; delete its folder and run its step again") from error
        try:
            return Manifest(**{**tree, "inputs": tuple(tree["inputs"])})
        except (TypeError, KeyError) as error:
            raise ArtefactDamaged(
                f"{path} is no manifest ({error}); delete its folder and run its step again"
            ) from error

    # -- tables and documents -----------------------------------------------------------------------------------

    def publish(
        self,
        record: Record,
        table: pa.Table,
        *,
        step: str,
        inputs: Sequence[Address] = (),
        settings: Any = None,
        counts: Mapping[str, float] | None = None,
        seconds: float = 0.0,
    ) -> Address:
        """Stores a table once and returns its address. counts: small numbers to show people, such as redactions.

        With neither inputs nor settings the address comes from the rows themselves.
        Raises SchemaMismatch when the table is not the record's.
        """
        table = record.conform(table)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        data = buffer.getvalue()
        if not inputs and settings is None:
            settings = {"sha256": hashlib.sha256(data).hexdigest()}
        address = self.address(record.name, step=step, inputs=inputs, settings=settings, version=record.version)
        return self._store(
            address, {_TABLE: data}, step, record.version, table.num_rows, inputs, settings, counts, seconds
        )

    def read(self, address: Address, record: Record) -> pa.Table:
        """The table at an address, its bytes checked against the manifest.

        Columns that the record got since the table was stored are null in it. Raises ArtefactMissing, ArtefactDamaged,
        or SchemaMismatch when the address holds another record.
        """
        manifest = self.manifest(address)
        data = self._verified(manifest, _TABLE)
        try:
            table = pq.read_table(io.BytesIO(data))
            if manifest.version < record.version:
                for column in record.schema:
                    if column.nullable and column.name not in table.column_names:
                        table = table.append_column(column, pa.nulls(table.num_rows, column.type))
            return record.conform(table)
        except pa.ArrowInvalid as error:
            raise ArtefactDamaged(
                f"{address} is not Parquet: {error}; delete its folder and run its step again"
            ) from error

    def publish_document(
        self,
        kind: str,
        document: Mapping[str, Any],
        *,
        step: str,
        inputs: Sequence[Address] = (),
        settings: Any = None,
        counts: Mapping[str, float] | None = None,
        seconds: float = 0.0,
    ) -> Address:
        """Stores a JSON document (a decision, a report's numbers) under the same rules as a table."""
        data = json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode()
        if not inputs and settings is None:
            settings = {"sha256": hashlib.sha256(data).hexdigest()}
        address = self.address(kind, step=step, inputs=inputs, settings=settings)
        return self._store(address, {_DOCUMENT: data}, step, 1, 1, inputs, settings, counts, seconds)

    def read_document(self, address: Address) -> dict[str, Any]:
        document = json.loads(self._verified(self.manifest(address), _DOCUMENT))
        if not isinstance(document, dict):
            raise ArtefactDamaged(f"{address} holds {type(document).__name__}, expected an object")
        return document

    # -- folders: models, indexes, reports ----------------------------------------------------------------------

    def publish_folder(
        self,
        kind: str,
        build: Callable[[Path], Mapping[str, float] | None] | Callable[[Path], None],
        *,
        step: str,
        inputs: Sequence[Address] = (),
        settings: Any = None,
        version: int = 1,
    ) -> Address:
        """Runs `build(folder)` on an empty local folder and stores what it left there; not run when already stored.

        build returns counts for the manifest, or None. When it raises, nothing is stored. The name manifest.json at
        the top of the folder is taken: ValueError.
        """
        address = self.address(kind, step=step, inputs=inputs, settings=settings, version=version)
        if self.exists(address):
            return address
        started = datetime.now(UTC)
        with self._scratch() as folder:
            counts = build(folder)
            if (folder / "manifest.json").exists():
                raise ValueError(f"step {step} may not leave a manifest.json of its own in {kind}")
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            files = {path.relative_to(folder).as_posix(): path for path in paths}
            seconds = (datetime.now(UTC) - started).total_seconds()
            return self._store(address, files, step, version, len(files), inputs, settings, counts, seconds)

    def read_file(self, address: Address, name: str) -> bytes | None:
        """One file of a folder artefact, its bytes checked against the manifest; None when it has no such file."""
        manifest = self.manifest(address)
        return self._verified(manifest, name) if name in manifest.files else None

    @contextlib.contextmanager
    def local_folder(self, address: Address, *, verified: bool = False) -> Iterator[Path]:
        """A folder artefact as a local folder; on an object store it is fetched for the time of the block.

        verified: read all of it and compare with the manifest, as a fetched one always is. Raises ArtefactMissing,
        ArtefactDamaged.
        """
        manifest = self.manifest(address)
        if self.is_local:
            folder = Path(self._folder(address).path)
            for name in manifest.files:
                if not (folder / name).is_file():
                    raise ArtefactDamaged(f"{address}: file {name} is gone; delete its folder and run its step again")
                if verified and _sha256(folder / name) != manifest.files[name]:
                    raise ArtefactDamaged(
                        f"{folder / name} is damaged: it is not what {manifest.step} stored; delete its folder and run "
                        "its step again"
                    )
            yield folder
            return
        with self._scratch() as folder:
            for name in manifest.files:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self._verified(manifest, name))
            yield folder

    # -- references ---------------------------------------------------------------------------------------------

    def point(self, name: str, address: Address) -> None:
        """Moves the reference `name` (for example `judgments` or `batches/b1`) to an address that exists."""
        self.manifest(address)
        if self.ref(name) == address:
            return
        document = {"address": address, "moved_at": datetime.now(UTC).isoformat()}
        self._write(self.root / "refs" / f"{name}.json", json.dumps(document).encode())

    def claim(self, name: str, address: Address) -> Address:
        """Points the reference `name` at an address unless it was set before; returns what it points at now.

        Of any number of processes that claim one name, all get the address of the same one of them. On an object store
        that takes a conditional write: S3, GCS and Azure do.
        """
        self.manifest(address)
        path = self.root / "refs" / f"{name}.json"
        document = {"address": address, "moved_at": datetime.now(UTC).isoformat()}
        try:
            self._create(path, json.dumps(document).encode())
        except OSError:
            if not self.is_local:
                self.root.fs.invalidate_cache()  # it may hold a listing from before the other one's write
            if not path.exists():
                raise
        return self.require(name, "")

    def ref(self, name: str) -> Address | None:
        """The address that `name` points at, or None when it was never set. Raises ArtefactDamaged."""
        path = self.root / "refs" / f"{name}.json"
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["address"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise ArtefactDamaged(f"{path} is no reference; delete it and run the step that sets {name!r}") from error

    def require(self, name: str, hint: str) -> Address:
        """Like `ref`, but raises ArtefactMissing with `hint` (what to run first) when it was never set."""
        address = self.ref(name)
        if address is None:
            raise ArtefactMissing(f"workspace {self.root} has no {name!r} yet; {hint}")
        return address

    def refs(self, prefix: str) -> list[str]:
        """Names of the references under a prefix, sorted."""
        folder = self.root / "refs" / prefix
        if not folder.exists():
            return []
        return sorted(
            f"{prefix}/{path.name.removesuffix('.json')}" for path in folder.iterdir() if path.suffix == ".json"
        )

    # -- lineage ------------------------------------------------------------------------------------------------

    def lineage(self, address: Address) -> dict[Address, Manifest]:
        """The artefact and everything it came from, the artefact first, each once (breadth first)."""
        found: dict[Address, Manifest] = {}
        waiting = [address]
        while waiting:
            current = waiting.pop(0)
            if current not in found:
                found[current] = self.manifest(current)
                waiting.extend(found[current].inputs)
        return found

    # -- private ------------------------------------------------------------------------------------------------

    def _folder(self, address: Address) -> UPath:
        return self.root / "objects" / address

    def _store(
        self,
        address: Address,
        files: Mapping[str, bytes | Path],
        step: str,
        version: int,
        rows: int,
        inputs: Sequence[Address],
        settings: Any,
        counts: Mapping[str, float] | None,
        seconds: float,
    ) -> Address:
        if self.exists(address):
            return address
        hashes = {name: _sha256(content) for name, content in files.items()}
        manifest = Manifest(
            address=address,
            kind=address.split("/")[0],
            step=step,
            version=version,
            rows=rows,
            files=hashes,
            inputs=tuple(inputs),
            settings=json.loads(json.dumps({"value": settings}, default=_plain))["value"] or {},
            counts=dict(counts or {}),
            created_at=datetime.now(UTC).isoformat(),
            seconds=round(seconds, 3),
        )
        document = json.dumps(asdict(manifest), ensure_ascii=False, indent=1).encode()
        if self.is_local:
            self._store_by_rename(address, files, document)
        else:
            for name, content in files.items():
                self._write(self._folder(address) / name, _bytes(content))
            self._write(self._folder(address) / "manifest.json", document)
        return address

    def _store_by_rename(self, address: Address, files: Mapping[str, bytes | Path], manifest: bytes) -> None:
        final = Path(self._folder(address).path)
        with self._scratch() as folder:
            for name, content in {**files, "manifest.json": manifest}.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    content.replace(target)
                else:
                    target.write_bytes(content)
                _sync(target)
            for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
                _sync(path)
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists() and not (final / "manifest.json").exists():
                shutil.rmtree(final)
            try:
                folder.rename(final)
            except OSError:
                # Another process published the same address first; its content is the same by construction.
                if not (final / "manifest.json").exists():
                    raise
            _sync(final.parent)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """An empty folder on the same file system as the objects, gone afterwards; what killed processes left, too."""
        parent = Path(self.root.path) / "tmp" if self.is_local else Path(tempfile.gettempdir())
        folder = parent / f"{os.getpid()}-{uuid.uuid4().hex}"
        with room(f"an artefact of workspace {self.root}"):
            parent.mkdir(parents=True, exist_ok=True)
            if self.is_local:
                _sweep(parent)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _write(self, path: UPath, data: bytes) -> None:
        with room(f"a reference of workspace {self.root}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self.is_local:
                path.write_bytes(data)
                return
            temporary = Path(path.path).with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                temporary.write_bytes(data)
                _sync(temporary)
                temporary.replace(path.path)
            finally:
                temporary.unlink(missing_ok=True)

    def _create(self, path: UPath, data: bytes) -> None:
        """Like `_write`, for a file that is not there. Raises FileExistsError, or what a store says instead."""
        with room(f"a reference of workspace {self.root}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self.is_local:
                path.fs.pipe_file(path.path, data, mode="create")
                return
            temporary = Path(path.path).with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                temporary.write_bytes(data)
                _sync(temporary)
                self._link(temporary, Path(path.path))
            finally:
                temporary.unlink(missing_ok=True)

    @staticmethod
    def _link(source: Path, target: Path) -> None:
        """Gives a file a second name, which, unlike a rename, fails where somebody was faster. On a file system without
        hard links (BeeGFS between folders, some FUSE mounts) it is copied: as exclusive, but not at once."""
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with target.open("xb") as copy:
                copy.write(source.read_bytes())
                copy.flush()
                os.fsync(copy.fileno())

    def _verified(self, manifest: Manifest, name: str) -> bytes:
        path = self._folder(manifest.address) / name
        if name not in manifest.files:
            raise ArtefactDamaged(f"{manifest.address} holds {sorted(manifest.files)}, not {name}")
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise ArtefactDamaged(f"{path} is gone; delete its folder and run its step again") from error
        found = hashlib.sha256(data).hexdigest()
        if found != manifest.files[name]:
            raise ArtefactDamaged(
                f"{path} is damaged: {len(data)} bytes with SHA-256 {found[:12]}…, its manifest says "
                f"{manifest.files[name][:12]}…; delete its folder and run its step again"
            )
        return bytes(data)


@contextlib.contextmanager
def room(what: str) -> Iterator[None]:
    """Turns the ways in which Python and the libraries that write files say "disk full" into DiskFull. what: is
    written, in words."""
    try:
        yield
    except Exception as error:
        words = str(error)
        full = isinstance(error, OSError) and error.errno in _FULL
        full |= any(os.strerror(code) in words for code in _FULL)
        if not full or isinstance(error, RerankopsError):
            raise
        raise DiskFull(
            f"no room is left for {what} ({words[:200]}); nothing was stored; make room and run the step again"
        ) from error


def _bytes(content: bytes | Path) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else content


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sweep(parent: Path) -> None:
    """Removes scratch folders that nobody has touched for a week."""
    before = time.time() - _LEFT_OVER
    for folder in parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # its own process was faster
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    """Flushes a file or a folder to the disk, so that a rename never outlives its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
