"""Steps of refresh_corpus_index, first half: the corpus, the gold questions, and the vectors of every passage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rerankops.pipeline.context import Context, step
from rerankops.queries.sources import read_corpus, read_gold
from rerankops.records import GoldQuestion, Passage
from rerankops.workspace import Address, Workspace, digest

if TYPE_CHECKING:
    from rerankops.retrieval.vectors import Known

CORPUS, INDEX, GOLD = "corpus", "index", "gold"
"""References: the passages, the index that is served, the frozen gold questions."""


@step
def load_corpus(context: Context) -> Address:
    """Reads sources.corpus into the workspace and points `corpus` at it. The same passages give the same address."""
    passages = read_corpus(context.settings.sources.corpus or "")
    address = context.workspace.publish(Passage, passages, step="load_corpus", counts={"passages": passages.num_rows})
    context.workspace.point(CORPUS, address)
    return address


@step
def load_gold(context: Context) -> Address:
    """Freezes sources.gold and points `gold` at it. The same questions give the same address."""
    questions = read_gold(context.settings.sources.gold or "")
    address = context.workspace.publish(
        GoldQuestion, questions, step="load_gold", counts={"gold_questions": questions.num_rows}
    )
    context.workspace.point(GOLD, address)
    return address


@step
def plan_embedding(context: Context, corpus: Address) -> dict[str, Any]:
    """What of the corpus must be embedded: passages whose title or text no vectors of this encoder cover yet.

    Returns the plan's address and the numbers of its shards, none when nothing is missing.
    """
    from rerankops.retrieval import vectors
    from rerankops.retrieval.models import resolve

    workspace, encoder = context.workspace, context.settings.encoder
    resolve(encoder.model, setting="encoder.model")  # a wrong name is told before anything is stored
    before = workspace.ref(_newest_vectors(context))
    if before is not None and not workspace.exists(before):  # deleted, as is advised for damaged ones
        before = None
    done = workspace.exists(_vectors_of(context, corpus))

    def build(folder: Path) -> Mapping[str, float]:
        passages = workspace.read(corpus, Passage)
        contents = vectors.contents(passages)
        with _opened(workspace, before) as earlier:
            missing = vectors.missing(contents, earlier)
        np.save(folder / "missing.npy", missing)
        (folder / "plan.json").write_text(json.dumps({"earlier": before}))
        return {"passages": len(contents), "to_embed": len(missing)}

    plan = workspace.publish_folder(
        "embedding_plans",
        build,
        step="plan_embedding",
        inputs=[corpus, *([before] if before else [])],
        settings={**encoder.identity(), "shard_passages": encoder.shard_passages},
    )
    shards = math.ceil(workspace.manifest(plan).counts["to_embed"] / encoder.shard_passages)
    return {"plan": plan, "shards": [] if done else list(range(shards))}


@step
def embed_shard(context: Context, plan: Address, shard: int) -> Address:
    """Vectors of one shard of a plan, pooled and token by token."""
    workspace, encoder = context.workspace, context.settings.encoder
    size = int(workspace.manifest(plan).settings["shard_passages"])  # as planned, whatever is configured by now

    def build(folder: Path) -> Mapping[str, float]:
        from rerankops.retrieval.encoder import Encoder

        with workspace.local_folder(plan) as stored:
            rows = np.load(stored / "missing.npy")[shard * size : (shard + 1) * size]
        passages = workspace.read(workspace.manifest(plan).inputs[0], Passage).take(rows)
        encoded = Encoder(encoder).encode_passages(passages["title"].to_pylist(), passages["text"].to_pylist())
        encoded.save(folder)
        return {"embedded": len(encoded)}

    settings = {"shard": shard, "passages": size}
    return workspace.publish_folder("vector_shards", build, step="embed_shard", inputs=[plan], settings=settings)


@step
def join_vectors(context: Context, plan: Address, shards: Sequence[Address]) -> Address:
    """Vectors of every passage of the corpus, in its order (a folder: EncodedTexts, passage_ids.json, contents.npy):
    those of the shards, and of earlier vectors what has not changed. The address does not tell which were which."""
    from rerankops.retrieval import vectors
    from rerankops.retrieval.encoder import EncodedTexts

    workspace = context.workspace
    corpus = workspace.manifest(plan).inputs[0]

    def build(folder: Path) -> Mapping[str, float]:
        passages = workspace.read(corpus, Passage)
        with ExitStack() as folders:
            planned = folders.enter_context(workspace.local_folder(plan))
            missing = np.load(planned / "missing.npy")
            before = json.loads((planned / "plan.json").read_text())["earlier"]
            earlier = folders.enter_context(_opened(workspace, before))
            parts = [EncodedTexts.load(folders.enter_context(workspace.local_folder(shard))) for shard in shards]
            tokens = vectors.join(folder, vectors.contents(passages), missing, parts, earlier)
        (folder / "passage_ids.json").write_text(json.dumps(passages["passage_id"].to_pylist(), ensure_ascii=False))
        return {"passages": passages.num_rows, "embedded": len(missing), "tokens": tokens}

    address = workspace.publish_folder(
        "vectors", build, step="embed_corpus", inputs=[corpus], settings=context.settings.encoder.identity()
    )
    workspace.point(_newest_vectors(context), address)
    return address


def embed_corpus(corpus: Address, *, context: Context) -> Address:
    """Plan, shards and join, one after the other."""
    planned = plan_embedding(corpus, context=context)
    shards = [embed_shard(planned["plan"], shard, context=context) for shard in planned["shards"]]
    return join_vectors(planned["plan"], shards, context=context)


def _vectors_of(context: Context, corpus: Address) -> Address:
    return context.workspace.address(
        "vectors", step="embed_corpus", inputs=[corpus], settings=context.settings.encoder.identity()
    )


def _newest_vectors(context: Context) -> str:
    """Reference: the vectors that were last made with this encoder."""
    return f"vectors/{digest(context.settings.encoder.identity())[:16]}"


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
