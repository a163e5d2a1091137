"""Versioned passage indexes: created with an explicit mapping, loaded so that a break costs nothing, served by alias.

An index is named ALIAS-VERSION and says of itself, in its mapping's `_meta`, what it holds and whether that is all of
it. Only a complete one can be served. A load that broke off goes on where it stopped: passages that are there already
are not sent again, and none can be there twice, because a passage's id is its document's id.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.config import ElasticsearchSettings, RetrievalSettings
from rerankops.elastic import RETRIED, Cluster, reason_of
from rerankops.errors import InputError, ServerRefused, ServerUnavailable

VECTOR, TITLE, TEXT, METADATA = "vector", "title", "text", "metadata"
_LONGEST_ID = 512
"""Bytes; Elasticsearch's own limit of a document id."""
_ROWS = 256
"""Passages turned into Python objects at a time."""
_IS_THERE = 409
"""Status of a passage that an earlier try has left, whose answer was lost."""
_PATIENCE = 3600.0
"""Seconds that a merge may take."""


@dataclass(frozen=True)
class Prepared:
    """What a load came to. sent: passages sent now; found: those that an earlier, broken load had left."""

    sent: int
    found: int
    bytes: int


class VersionedIndex:
    """One version of the passages on a cluster.

    version: part of the index's name; the same version must mean the same passages, vectors and mapping.
    """

    def __init__(
        self, cluster: Cluster, settings: ElasticsearchSettings, retrieval: RetrievalSettings, version: str
    ) -> None:
        self.cluster, self.settings, self.retrieval = cluster, settings, retrieval
        self.alias, self.name = settings.alias, f"{settings.alias}-{version}"

    # -- what is there ----------------------------------------------------------------------------------------------

    def meta(self) -> dict[str, Any] | None:
        """What the index says of itself; None when it is not there. Raises ServerRefused when it is not one of ours."""
        mappings = self._mappings()
        return None if mappings is None else dict(mappings["_meta"]["rerankops"])

    def _mappings(self) -> Mapping[str, Any] | None:
        client = self.cluster.client
        found = self.cluster.ask(
            f"look at index {self.name}",
            lambda: client.indices.get_mapping(index=self.name, allow_no_indices=True, ignore_unavailable=True),
        )
        if self.name not in found:
            return None
        mappings: Mapping[str, Any] = found[self.name]["mappings"]
        if "rerankops" not in mappings.get("_meta", {}):
            raise ServerRefused(
                f"index {self.name} was not made by rerankops; delete it, or choose another elasticsearch.alias"
            )
        return mappings

    def count(self) -> int:
        """Passages that a search sees."""
        return int(self.cluster.ask(f"count {self.name}", lambda: self.cluster.client.count(index=self.name))["count"])

    # -- making it --------------------------------------------------------------------------------------------------

    def prepare(self, passages: pa.Table, vectors: NDArray[np.float32]) -> Prepared:
        """Creates the index if need be and loads what is missing, then merges, checks and marks it complete.

        passages: records.Passage, n rows. vectors: (n, d) float32, each of length 1; a memory map is read bit by bit.
        Raises InputError for a passage or vector that Elasticsearch cannot hold, ServerRefused when the server is too
        old or lacks the analyzer, or the index exists with another mapping, ServerUnavailable when the cluster stays
        away too long: run again then, and the load goes on.
        """
        if len(vectors) != passages.num_rows:
            raise InputError(f"{passages.num_rows} passages and {len(vectors)} vectors do not belong together")
        _ = self.cluster.version  # a server that is too old is told before anything is made
        wanted, there = self._body(vectors.shape[1], passages.num_rows), self._mappings()
        if there is None:
            self._create(wanted)
        else:
            self._refuse_another_mapping(there["properties"], wanted)
            if there["_meta"]["rerankops"]["complete"] and self.count() == passages.num_rows:
                return Prepared(0, passages.num_rows, 0)
            self._mark(complete=False)
        prepared = self._load(passages, vectors, resumed=there is not None)
        self._finish(passages.num_rows)
        return prepared

    def _body(self, dimensions: int, passages: int) -> dict[str, Any]:
        retrieval = self.retrieval
        text = {"type": "text", "analyzer": retrieval.analyzer}
        options: dict[str, Any] = {
            "type": retrieval.vector_index,
            "m": retrieval.hnsw_m,
            "ef_construction": retrieval.hnsw_ef_construction,
        }
        return {
            "settings": {
                "index": {
                    "number_of_shards": self.settings.shards,
                    "number_of_replicas": 0,  # copied once, when it is complete
                    "refresh_interval": "-1",
                    "similarity": {"default": {"type": "BM25", "k1": retrieval.bm25_k1, "b": retrieval.bm25_b}},
                }
            },
            "mappings": {
                "dynamic": "strict",
                "_meta": {
                    "rerankops": {
                        "alias": self.alias,
                        "passages": passages,
                        "dimensions": dimensions,
                        "complete": False,
                        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    }
                },
                "properties": {
                    "passage_id": {"type": "keyword"},
                    TITLE: text,
                    TEXT: text,
                    METADATA: {"type": "flattened"},
                    VECTOR: {
                        "type": "dense_vector",
                        "dims": dimensions,
                        "index": True,
                        "similarity": "cosine",
                        "index_options": options,
                    },
                },
            },
        }

    def _create(self, body: Mapping[str, Any]) -> None:
        client = self.cluster.client
        try:
            self.cluster.ask(
                f"create index {self.name}",
                lambda: client.indices.create(index=self.name, settings=body["settings"], mappings=body["mappings"]),
            )
        except ServerRefused as refused:
            told = str(getattr(refused.__cause__, "body", ""))
            if "resource_already_exists_exception" in told:  # an earlier try's answer was lost on its way
                return
            if "analyzer [" in told and "has not been configured" in told:
                raise ServerRefused(
                    f"the server has no analyzer {self.retrieval.analyzer!r} (setting retrieval.analyzer); built in "
                    "are standard, cjk, english and others, smartcn and ik_max_word come with their plugins"
                ) from refused
            raise

    def _refuse_another_mapping(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        for field, asked in wanted["mappings"]["properties"].items():
            there = found.get(field, {})
            for key, value in asked.items():
                # Elasticsearch leaves what equals its own default out, and adds defaults to index_options.
                same = (
                    all(there.get(key, {}).get(option) == of for option, of in value.items())
                    if isinstance(value, dict)
                    else there.get(key, value) == value
                )
                if not same:
                    raise ServerRefused(
                        f"index {self.name} exists with another mapping: {field}.{key} is {there.get(key)!r}, wanted "
                        f"is {value!r}; delete the index, or choose another elasticsearch.alias"
                    )

    # -- loading ----------------------------------------------------------------------------------------------------

    def _load(self, passages: pa.Table, vectors: NDArray[np.float32], *, resumed: bool) -> Prepared:
        """Sends what is missing, a few requests in flight and never more: memory does not grow with the corpus."""
        sent = found = size = 0
        flying: deque[Future[tuple[int, int, int]]] = deque()
        with ThreadPoolExecutor(self.settings.bulk_concurrency, thread_name_prefix="bulk") as pool:
            try:
                for chunk in self._chunks(passages, vectors):
                    flying.append(pool.submit(self._send, chunk, resumed))
                    while len(flying) > self.settings.bulk_concurrency:
                        one = flying.popleft().result()
                        sent, found, size = sent + one[0], found + one[1], size + one[2]
                while flying:
                    one = flying.popleft().result()
                    sent, found, size = sent + one[0], found + one[1], size + one[2]
            except BaseException:
                for future in flying:
                    future.cancel()
                raise
        return Prepared(sent, found, size)

    def _chunks(self, passages: pa.Table, vectors: NDArray[np.float32]) -> Iterator[list[tuple[str, bytes]]]:
        """(document id, its two lines) in requests of at most bulk_megabytes, or one document when that is larger."""
        limit = int(self.settings.bulk_megabytes * 1024 * 1024)
        chunk: list[tuple[str, bytes]] = []
        size = 0
        for one in self._documents(passages, vectors):
            if chunk and size + len(one[1]) > limit:
                yield chunk
                chunk, size = [], 0
            chunk.append(one)
            size += len(one[1])
        if chunk:
            yield chunk

    def _documents(self, passages: pa.Table, vectors: NDArray[np.float32]) -> Iterator[tuple[str, bytes]]:
        start = 0
        for batch in passages.select(["passage_id", TITLE, TEXT, METADATA]).to_batches(max_chunksize=_ROWS):
            block = np.asarray(vectors[start : start + batch.num_rows], dtype=np.float32)
            norms = np.linalg.norm(block, axis=1)
            if not np.isfinite(norms).all() or (norms == 0).any():
                row = int(np.argmin(np.isfinite(norms) & (norms > 0)))
                raise InputError(f"passage {batch['passage_id'][row].as_py()!r} has a vector of no direction")
            for row, vector in zip(batch.to_pylist(), block, strict=True):
                key = row["passage_id"]
                if len(key.encode()) > _LONGEST_ID:
                    raise InputError(
                        f"passage_id {key[:60]!r}… is longer than {_LONGEST_ID} bytes, a document id's limit"
                    )
                document = {
                    "passage_id": key,
                    TITLE: row[TITLE],
                    TEXT: row[TEXT],
                    METADATA: dict(row[METADATA] or ()),
                    VECTOR: self.cluster.vector(vector),
                }
                # One that is there is refused, not replaced: what is replaced still counts in BM25's frequencies.
                head = json.dumps({"create": {"_id": key}}, ensure_ascii=False)
                yield key, f"{head}\n{json.dumps(document, ensure_ascii=False)}\n".encode()
            start += batch.num_rows

    def _send(self, chunk: Sequence[tuple[str, bytes]], resumed: bool) -> tuple[int, int, int]:
        """(sent, found there, bytes) of one request and the tries it took."""
        client, found = self.cluster.client, 0
        if resumed:
            there = self._there([key for key, _ in chunk])
            found = len(there)
            chunk = [one for one in chunk if one[0] not in there]
        pending, size = list(chunk), sum(len(lines) for _, lines in chunk)
        for attempt in itertools.count():
            if not pending:
                break
            body = b"".join(lines for _, lines in pending)
            answer = self.cluster.ask(
                f"load index {self.name}",
                lambda body=body: client.perform_request(  # type: ignore[misc]
                    "POST",
                    f"/{self.name}/_bulk?filter_path=errors,items.*.status,items.*.error",
                    headers={"content-type": "application/x-ndjson", "accept": "application/json"},
                    body=body,
                ),
                missing="it was deleted while it was loaded; run again",
            ).body
            if not answer.get("errors"):
                break
            again = []
            for (key, lines), item in zip(pending, answer["items"], strict=True):
                outcome = item["create"]
                if outcome["status"] < 300 or outcome["status"] == _IS_THERE:
                    continue
                if outcome["status"] not in RETRIED:
                    raise InputError(f"passage {key!r} was refused by index {self.name}: {reason_of(outcome)}")
                again.append((key, lines))
                reason = reason_of(outcome)
            if again and attempt == self.settings.retries:
                raise ServerUnavailable(f"index {self.name}: {len(again)} passages were not taken: {reason}; run again")
            if again:
                self.cluster.pause(attempt)
            pending = again
        return len(chunk), found, size

    def _there(self, keys: Sequence[str]) -> set[str]:
        client = self.cluster.client
        answer = self.cluster.ask(
            f"look into index {self.name}",
            lambda: client.mget(index=self.name, ids=list(keys), source=False, filter_path="docs._id,docs.found"),
        )
        return {one["_id"] for one in answer["docs"] if one.get("found")}

    def _finish(self, passages: int) -> None:
        client = self.cluster.client
        patient = client.options(request_timeout=_PATIENCE)
        self.cluster.ask(f"refresh index {self.name}", lambda: client.indices.refresh(index=self.name))
        self.cluster.ask(
            f"merge index {self.name}", lambda: patient.indices.forcemerge(index=self.name, max_num_segments=1)
        )
        self.cluster.ask(f"refresh index {self.name}", lambda: client.indices.refresh(index=self.name))
        there = self.count()
        if there != passages:
            raise ServerRefused(
                f"index {self.name} holds {there} passages after loading {passages}; delete it and load again"
            )
        settings = {"index": {"refresh_interval": None, "number_of_replicas": self.settings.replicas}}
        self.cluster.ask(
            f"finish index {self.name}", lambda: client.indices.put_settings(index=self.name, settings=settings)
        )
        self._mark(complete=True)

    def _mark(self, *, complete: bool) -> None:
        meta = {**(self.meta() or {}), "complete": complete}
        client = self.cluster.client
        self.cluster.ask(
            f"mark index {self.name}",
            lambda: client.indices.put_mapping(index=self.name, meta={"rerankops": meta}),
        )

    # -- serving ----------------------------------------------------------------------------------------------------

    def served(self) -> list[str]:
        """The indexes that the alias points at: none or one, unless somebody else moved it."""
        client = self.cluster.client
        found = self.cluster.ask(
            f"look at alias {self.alias}",
            lambda: client.options(ignore_status=404).indices.get_alias(name=self.alias),
        )
        return [name for name, one in found.body.items() if isinstance(one, dict) and "aliases" in one]

    def serve(self) -> list[str]:
        """Moves the alias here in one atomic step, then prunes; returns the names that were deleted.

        Kept are the served index, the newest keep_indexes - 1 other complete ones and every index that any alias
        points at; incomplete ones older than the served index are what broken loads left, and go.
        Raises ServerRefused when this index is not complete.
        """
        meta = self.meta()
        if meta is None or not meta["complete"]:
            raise ServerRefused(
                f"index {self.name} is {'not there' if meta is None else 'not complete'}; load it first"
            )
        client = self.cluster.client
        before = self.served()
        actions = [{"remove": {"index": name, "alias": self.alias}} for name in before if name != self.name]
        if before != [self.name]:
            actions.append({"add": {"index": self.name, "alias": self.alias}})
            try:
                self.cluster.ask(f"move alias {self.alias}", lambda: client.indices.update_aliases(actions=actions))
            except ServerRefused as refused:
                if "invalid_alias_name_exception" in str(getattr(refused.__cause__, "body", "")):
                    raise ServerRefused(
                        f"there is an index named {self.alias!r}, so no alias can have that name; delete it, or choose "
                        "another elasticsearch.alias"
                    ) from refused
                raise
        return self._prune(meta["created"])

    def _prune(self, served_created: str) -> list[str]:
        client = self.cluster.client
        found = self.cluster.ask(
            f"list indexes of {self.alias}",
            lambda: client.indices.get(index=f"{self.alias}-*", features="mappings,aliases"),
        )
        ours = {  # the pattern alone would also catch those of an alias that is called ALIAS-something
            name: meta
            for name, one in found.items()
            if (meta := one["mappings"].get("_meta", {}).get("rerankops", {})).get("alias") == self.alias
            and not one.get("aliases")
        }
        complete = sorted((meta["created"], name) for name, meta in ours.items() if meta["complete"])
        stay = {name for _, name in complete[max(0, len(complete) - (self.settings.keep_indexes - 1)) :]}
        broken = {name for name, meta in ours.items() if not meta["complete"] and meta["created"] < served_created}
        gone = sorted(({name for _, name in complete} - stay) | broken)
        for name in gone:
            self.cluster.ask(
                f"delete index {name}",
                lambda name=name: client.indices.delete(index=name, ignore_unavailable=True),  # type: ignore[misc]
            )
        return gone
