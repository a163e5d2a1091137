"""Steps of refresh_corpus_index, first half: the corpus, the gold questions, and the vectors of every passage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rerankops.config import EncoderSettings
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.gold_sets import FROZEN, asked, find
from rerankops.pipeline.set_aside import reading_of
from rerankops.queries.sources import read_corpus, read_gold
from rerankops.records import GoldQuestion, Passage
from rerankops.workspace import Address, Workspace, digest

if TYPE_CHECKING:
    from rerankops.retrieval.vectors import Known

CORPUS, INDEX, GOLD = "corpus", "index", "gold"
"""References: the passages, the index that is served, the frozen gold questions."""
_ENCODER = "encoder.json"
"""In a folder of vectors: retrieval.identity.record of the encoder that made them."""


@step
def load_corpus(context: Context) -> Address:
    """Reads sources.corpus into the workspace and points `corpus` at it. The same passages give the same address.

    With reading.skip_bad, rows that are no passages are set aside.
    """
    with reading_of(context, CORPUS) as aside:
        passages = read_corpus(context.settings.sources.corpus or "", context.settings.reading, aside=aside)
    counts = {"passages": passages.num_rows, **(aside.counts() if aside else {})}
    address = context.workspace.publish(Passage, passages, step="load_corpus", counts=counts)
    context.workspace.point(CORPUS, address)
    return address


@step
def load_gold(context: Context) -> Address:
    """Freezes sources.gold, a file or a frozen set (`frozen:NAME`, `frozen:NAME@2`), and points `gold` at it.

    The same questions of a file, the same version of a set, give the same address.
    """
    workspace, source = context.workspace, context.settings.sources.gold or ""
    if source.startswith(FROZEN):
        _, _, frozen = find(workspace, source.removeprefix(FROZEN))
        address = context.table(GoldQuestion, lambda: asked(workspace, frozen), step="load_gold", inputs=[frozen])
    else:
        with reading_of(context, GOLD) as aside:
            questions = read_gold(source, context.settings.reading, aside=aside)
        address = workspace.publish(
            GoldQuestion, questions, step="load_gold", counts={"gold_questions": questions.num_rows}
        )
    workspace.point(GOLD, address)
    return address


@step
def plan_embedding(context: Context, corpus: Address) -> list[dict[str, Any]]:
    """The shards to embed: passages whose title or text no vectors of this encoder cover; none when none is missing.

    Each shard is the arguments of `embed_shard`, so that an Airflow task can be mapped over them.
    """
    from rerankops.retrieval.models import resolve

    workspace, encoder = context.workspace, context.settings.encoder
    resolve(encoder.model, setting="encoder.model")  # a wrong name is told before anything is stored
    if workspace.exists(_vectors_of(context, corpus)):
        return []
    earlier, size = _earlier(context), encoder.shard_passages
    count = math.ceil(len(_missing(context, corpus, earlier)) / size)
    return [{"corpus": corpus, "earlier": earlier, "size": size, "shard": shard} for shard in range(count)]


@step
def embed_shard(context: Context, corpus: Address, earlier: Address | None, size: int, shard: int) -> Address:
    """Vectors, pooled and token by token, of the shard-th `size` passages that `earlier` vectors do not cover."""
    workspace, encoder = context.workspace, context.settings.encoder

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.retrieval.encoder import Encoder

        rows = _missing(context, corpus, earlier)[shard * size : (shard + 1) * size]
        passages = workspace.read(corpus, Passage).take(rows)
        encoded = Encoder(encoder).encode_passages(passages["title"].to_pylist(), passages["text"].to_pylist())
        encoded.save(folder)
        return {"embedded": len(encoded)}

    return workspace.publish_folder(
        "vector_shards",
        build,
        step="embed_shard",
        inputs=[corpus, *([earlier] if earlier else [])],
        settings={"encoder": encoder.identity(), "shard": shard, "size": size},
    )


@step
def join_vectors(context: Context, corpus: Address, shards: Sequence[Address]) -> Address:
    """Vectors of every passage of the corpus, in its order (a folder: EncodedTexts, passage_ids.json, contents.npy):
    those of the shards, and of earlier vectors what has not changed. The address does not tell which were which."""
    from rerankops.retrieval import identity, vectors
    from rerankops.retrieval.encoder import EncodedTexts

    workspace = context.workspace

    def build(folder: Path) -> Mapping[str, float]:
        before = next(iter(workspace.manifest(shards[0]).inputs[1:]), None) if shards else _earlier(context)
        passages = workspace.read(corpus, Passage)
        missing = _missing(context, corpus, before)
        with ExitStack() as folders:
            known = folders.enter_context(_opened(workspace, before))
            parts = [EncodedTexts.load(folders.enter_context(workspace.local_folder(shard))) for shard in shards]
            tokens = vectors.join(folder, vectors.contents(passages), missing, parts, known)
        (folder / "passage_ids.json").write_text(json.dumps(passages["passage_id"].to_pylist(), ensure_ascii=False))
        (folder / _ENCODER).write_text(json.dumps(identity.record(context.settings.encoder), ensure_ascii=False))
        return {"passages": passages.num_rows, "embedded": len(missing), "tokens": tokens}

    address = workspace.publish_folder(
        "vectors", build, step="embed_corpus", inputs=[corpus], settings=context.settings.encoder.identity()
    )
    workspace.point(_newest_of(context.settings.encoder), address)
    return address


def embed_corpus(corpus: Address, *, context: Context) -> Address:
    """Plan, shards and join, one after the other."""
    shards = [embed_shard(**shard, context=context) for shard in plan_embedding(corpus, context=context)]
    return join_vectors(corpus, shards, context=context)


def _missing(context: Context, corpus: Address, earlier: Address | None) -> NDArray[np.int64]:
    """Rows of the corpus that earlier vectors do not cover."""
    from rerankops.retrieval import vectors

    contents = vectors.contents(context.workspace.read(corpus, Passage))
    with _opened(context.workspace, earlier) as known:
        return vectors.missing(contents, known)


@contextmanager
def newest_vectors(context: Context, encoder: EncoderSettings) -> Iterator[Known | None]:
    """The newest vectors of any encoder, with the contents they belong to; None when there are none."""
    with _opened(context.workspace, _newest(context.workspace, encoder)) as known:
        yield known


def encoder_of(workspace: Workspace, vectors: Address) -> dict[str, Any]:
    """retrieval.identity.record of the encoder that made vectors; without `weights` when that was not kept yet."""
    about = workspace.read_file(vectors, _ENCODER)
    return json.loads(about) if about else dict(workspace.manifest(vectors).settings)


def _earlier(context: Context) -> Address | None:
    return _newest(context.workspace, context.settings.encoder)


def _newest(workspace: Workspace, encoder: EncoderSettings) -> Address | None:
    """The newest vectors of an encoder; None also when they were deleted, as is advised for damaged ones, and when its
    name stands for other files since."""
    from rerankops.retrieval import identity

    newest = workspace.ref(_newest_of(encoder))
    if newest is None or not workspace.exists(newest):
        return None
    return newest if identity.same(encoder_of(workspace, newest), encoder) else None


def _vectors_of(context: Context, corpus: Address) -> Address:
    return context.workspace.address(
        "vectors", step="embed_corpus", inputs=[corpus], settings=context.settings.encoder.identity()
    )


def _newest_of(encoder: EncoderSettings) -> str:
    """Reference: the vectors that were last made with this encoder."""
    return f"vectors/{digest(encoder.identity())[:16]}"


@contextmanager
def _opened(workspace: Workspace, vectors: Address | None) -> Iterator[Known | None]:
    """Stored vectors with the contents they belong to."""
    if vectors is None:
        yield None
        return
    from rerankops.retrieval.encoder import EncodedTexts
    from rerankops.retrieval.vectors import Known

    with workspace.local_folder(vectors) as folder:
        yield Known(np.load(folder / "contents.npy"), EncodedTexts.load(folder))
