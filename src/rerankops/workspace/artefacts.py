"""A workspace: steps publish, read and point at artefacts in it. See rerankops.workspace."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from rerankops.errors import ArtefactDamaged, ArtefactMissing, FormatTooNew
from rerankops.records import Record
from rerankops.workspace import references
from rerankops.workspace.hashing import sha256
from rerankops.workspace.manifest import AGAIN, Address, Manifest, digest, plain
from rerankops.workspace.stores import MANIFEST, OBJECTS, Folder, ObjectStore, Store

_TABLE = "data.parquet"
_DOCUMENT = "document.json"


class Workspace:
    """One team's artefacts under one root.

    root: a local folder or any fsspec URI. Nothing is created before the first write.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = UPath(root)
        self.is_local = self.root.protocol in {"", "file", "local"}
        self._store: Store
        if self.is_local:
            self.root = UPath(Path(self.root.path).absolute())
            self._store = Folder(Path(self.root.path))
        else:
            self.root = UPath(root, use_listings_cache=False)  # a listing from before another's write would be wrong
            self._store = ObjectStore(self.root)

    # -- addresses ----------------------------------------------------------------------------------------------

    def address(
        self, kind: str, *, step: str, inputs: Sequence[Address] = (), settings: Any = None, version: int = 1
    ) -> Address:
        """The address under which `step` will publish, given its inputs and the settings that matter to it."""
        parts = {"step": step, "version": version, "inputs": list(inputs), "settings": settings}
        return f"{kind}/{digest(parts)}"

    def exists(self, address: Address) -> bool:
        return bool((self._folder(address) / MANIFEST).exists())

    def manifest(self, address: Address) -> Manifest:
        """The manifest of an artefact. Raises ArtefactMissing when nothing was published there, ArtefactDamaged when it
        is not what was stored, FormatTooNew when a later version of rerankops stored it."""
        path = self._folder(address) / MANIFEST
        try:
            data = self._store.read(f"{OBJECTS}/{address}/{MANIFEST}")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ArtefactMissing(
                f"no artefact {address} in workspace {self.root}; run the step that makes it"
            ) from error
        return Manifest.from_json(data, address, path)

    def place(self, address: Address, name: str = "") -> str:
        """The location of an artefact, or of a file in it, for people. Raises the same errors as `manifest`."""
        inside = [part for part in (self.manifest(address).place, name) if part]
        return "/".join([str(self._folder(address)), *inside])

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

        Without inputs and settings, the address comes from the rows themselves. Raises SchemaMismatch when the table
        does not fit the record.
        """
        table = record.conform(table)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        data = buffer.getvalue()
        if not inputs and settings is None:
            settings = {"sha256": hashlib.sha256(data).hexdigest()}
        address = self.address(record.name, step=step, inputs=inputs, settings=settings, version=record.version)
        return self._publish(
            address, {_TABLE: data}, step, record.version, table.num_rows, inputs, settings, counts, seconds
        )

    def read(self, address: Address, record: Record) -> pa.Table:
        """The table at an address, its bytes checked against the manifest.

        Columns that were added to the record after the table was stored are null. Raises ArtefactMissing,
        ArtefactDamaged, FormatTooNew, or SchemaMismatch when the address holds another record.
        """
        manifest = self.manifest(address)
        if manifest.kind == record.name and manifest.version > record.version:
            raise FormatTooNew(
                f"{address} is a table of version {manifest.version} of {record.name}, this version of rerankops reads "
                f"up to {record.version}: update rerankops"
            )
        data = self._verified(manifest, _TABLE)
        try:
            table = pq.read_table(io.BytesIO(data))
            if manifest.version < record.version:
                for column in record.schema:
                    if column.nullable and column.name not in table.column_names:
                        table = table.append_column(column, pa.nulls(table.num_rows, column.type))
            return record.conform(table)
        except (pa.ArrowException, OSError) as error:
            raise ArtefactDamaged(f"{self.place(address, _TABLE)} is not Parquet: {error}; {AGAIN}") from error

    def rewrite(self, address: Address, record: Record, table: pa.Table) -> None:
        """For erasure only: replaces an artefact's table by fewer rows, under the same address and lineage.

        The new file is written beside the old one, then the manifest names it, then all other tables are deleted. A
        reader sees either all rows or the fewer ones, even if the process is killed; the next call deletes what the
        killed one left.
        """
        before = self.manifest(address)
        buffer = io.BytesIO()
        pq.write_table(record.conform(table), buffer, compression="zstd")
        data = buffer.getvalue()
        hashes = {_TABLE: sha256(data)}
        place = f"kept-{digest(hashes)[:16]}"
        forgotten = before.counts.get("forgotten", 0) + before.rows - table.num_rows
        manifest = replace(
            before, rows=table.num_rows, files=hashes, place=place, counts={**before.counts, "forgotten": forgotten}
        )
        folder = f"{OBJECTS}/{address}"
        self._store.replace(f"{folder}/{place}/{_TABLE}", data)
        self._store.replace(f"{folder}/{MANIFEST}", manifest.to_json())
        for path in self._folder(address).rglob(_TABLE):
            if path != self._folder(address) / place / _TABLE:
                path.unlink()

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
        return self._publish(address, {_DOCUMENT: data}, step, 1, 1, inputs, settings, counts, seconds)

    def read_document(self, address: Address) -> dict[str, Any]:
        """The document at an address, its bytes checked against the manifest. Raises ArtefactMissing, ArtefactDamaged,
        FormatTooNew."""
        data = self._verified(self.manifest(address), _DOCUMENT)
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ArtefactDamaged(f"{self.place(address, _DOCUMENT)} is not JSON: {error}; {AGAIN}") from error
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
        """Runs `build(folder)` on an empty local folder and stores the files that it left there; does not run it when
        they are already stored.

        build returns counts for the manifest, or None. When it raises, nothing is stored. Raises ValueError when build
        writes manifest.json at the top of the folder.
        """
        address = self.address(kind, step=step, inputs=inputs, settings=settings, version=version)
        if self.exists(address):
            return address
        started = datetime.now(UTC)
        with self._store.scratch() as folder:
            counts = build(folder)
            if (folder / MANIFEST).exists():
                raise ValueError(f"step {step} may not leave a {MANIFEST} of its own in {kind}")
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            files = {path.relative_to(folder).as_posix(): path for path in paths}
            seconds = (datetime.now(UTC) - started).total_seconds()
            return self._publish(address, files, step, version, len(files), inputs, settings, counts, seconds)

    def read_file(self, address: Address, name: str) -> bytes | None:
        """One file of a folder artefact, its bytes checked against the manifest; None when it has no such file."""
        manifest = self.manifest(address)
        return self._verified(manifest, name) if name in manifest.files else None

    @contextlib.contextmanager
    def local_folder(self, address: Address) -> Iterator[Path]:
        """A folder artefact as a local folder; from an object store it is fetched for the duration of the block.

        Each of its files is first compared with the manifest. Raises ArtefactMissing, ArtefactDamaged, FormatTooNew.
        """
        with self._store.folder(self.manifest(address)) as folder:
            yield folder

    # -- references ---------------------------------------------------------------------------------------------

    def point(self, name: str, address: Address) -> None:
        """Moves the reference `name` (for example `judgments` or `batches/b1`) to an address that exists."""
        self.manifest(address)
        if self.ref(name) == address:
            return
        self._store.replace(f"refs/{name}.json", references.to_json(address))

    def claim(self, name: str, address: Address) -> Address:
        """Points the reference `name` at an address unless it was set before; returns its current address.

        When several processes claim one name, all get the address of the same winner. On an object store this needs a
        conditional write: S3, GCS and Azure have one.
        """
        self.manifest(address)
        with contextlib.suppress(FileExistsError):
            self._store.create(f"refs/{name}.json", references.to_json(address))
        return self.require(name, "")

    def ref(self, name: str) -> Address | None:
        """The address of the reference `name`, or None when it was never set. Raises ArtefactDamaged."""
        try:
            return references.from_json(self._store.read(f"refs/{name}.json"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            path = self.root / "refs" / f"{name}.json"
            raise ArtefactDamaged(
                f"{path} is no reference: {error}; delete it and run the step that sets {name!r}"
            ) from error

    def require(self, name: str, hint: str) -> Address:
        """Like `ref`, but raises ArtefactMissing with `hint` (what to run first) when it was never set."""
        address = self.ref(name)
        if address is None:
            raise ArtefactMissing(f"workspace {self.root} has no {name!r} yet; {hint}")
        return address

    def record(self, name: str, *, without: str) -> dict[str, Any]:
        """The document of a reference that no step could make again: what happened, or what a person decided.

        without: the consequence of going on without it, for the message. Raises ArtefactDamaged, FormatTooNew.
        """
        path = self.root / "refs" / f"{name}.json"
        folder: object = "its folder"
        try:
            address = self.require(name, "")
            folder = self._folder(address)
            return self.read_document(address)
        except (ArtefactDamaged, ArtefactMissing) as error:
            said = str(error).rpartition("; ")[0]
            raise ArtefactDamaged(
                f"record {name!r} cannot be read: {said}; no step makes it again: restore {path} and {folder} from a "
                f"backup, or delete both, and {without}"
            ) from error

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

    def read_through(self, address: Address) -> None:
        """Compares every file of an artefact, and of everything it came from that still exists, with its manifest.

        Raises ArtefactMissing, ArtefactDamaged, FormatTooNew.
        """
        found, waiting = {address}, [self.manifest(address)]
        while waiting:
            manifest = waiting.pop()
            with self._store.folder(manifest):
                pass
            new = [one for one in dict.fromkeys(manifest.inputs) if one not in found and self.exists(one)]
            found.update(new)
            waiting += map(self.manifest, new)

    # -- private ------------------------------------------------------------------------------------------------

    def _folder(self, address: Address) -> UPath:
        return self.root / OBJECTS / address

    def _publish(
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
        hashes = {name: sha256(content) for name, content in files.items()}
        manifest = Manifest(
            address=address,
            kind=address.split("/")[0],
            step=step,
            version=version,
            rows=rows,
            files=hashes,
            inputs=tuple(inputs),
            settings=plain(settings),
            counts=dict(counts or {}),
            created_at=datetime.now(UTC).isoformat(),
            seconds=round(seconds, 3),
            place=self._store.place(hashes),
        )
        self._store.publish(manifest, files)
        return address

    def _verified(self, manifest: Manifest, name: str) -> bytes:
        if name not in manifest.files:
            raise ArtefactDamaged(f"{manifest.address} holds {sorted(manifest.files)}, not {name}")
        inside = f"{manifest.place}/{name}" if manifest.place else name
        path = self._folder(manifest.address) / inside
        try:
            data = self._store.read(f"{OBJECTS}/{manifest.address}/{inside}")
        except FileNotFoundError as error:
            raise ArtefactDamaged(f"{path} is gone; {AGAIN}") from error
        found = sha256(data)
        if found != manifest.files[name]:
            raise ArtefactDamaged(
                f"{path} is damaged: {len(data)} bytes with SHA-256 {found[:12]}…, its manifest says "
                f"{manifest.files[name][:12]}…; {AGAIN}"
            )
        return data
