"""A corpus and its vectors as artefacts, without an encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rerankops.config import EncoderSettings
from rerankops.records import Passage
from rerankops.retrieval.encoder import EncodedTexts
from rerankops.workspace import Address, Workspace


def corpus_and_vectors(
    workspace: Workspace, passages: pa.Table, vectors: NDArray[np.float32], encoder: EncoderSettings | None = None
) -> tuple[Address, Address]:
    """encoder: the one that the vectors pass for; None: they are not searched with texts."""
    corpus = workspace.publish(Passage, passages, step="load_corpus")
    said = encoder.identity() if encoder else None

    def build(folder: Path) -> None:
        EncodedTexts(vectors, np.zeros((0, 2), np.float16), np.zeros(len(vectors) + 1, np.int64)).save(folder)
        (folder / "passage_ids.json").write_text(json.dumps(passages["passage_id"].to_pylist()))

    return corpus, workspace.publish_folder("vectors", build, step="embed_corpus", inputs=[corpus], settings=said)
