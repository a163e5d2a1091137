"""Texts to vectors: one pooled vector a text for dense retrieval, and its token vectors for late interaction.

Both come from one forward pass of any sentence-transformers model. Late interaction is that of ColBERT (Khattab and
Zaharia, 2020), here on the bi-encoder's own token states, without training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rerankops.config import EncoderSettings
from rerankops.errors import ArtefactDamaged, NotFinite
from rerankops.retrieval import strict
from rerankops.retrieval.models import resolve
from rerankops.retrieval.quiet import quiet


@dataclass(frozen=True)
class EncodedTexts:
    """n texts as vectors, in the order given.

    vectors: float32 (n, d), each of length 1. tokens: float16 (sum of token counts, h), each of length 1, special
    tokens and padding left out. offsets: int64 (n + 1); text i has tokens[offsets[i]:offsets[i + 1]].
    """

    vectors: NDArray[np.float32]
    tokens: NDArray[np.float16]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.vectors)

    def tokens_of(self, index: int) -> NDArray[np.float16]:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def save(self, folder: Path) -> None:
        for name in ("vectors", "tokens", "offsets"):
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> EncodedTexts:
        """Memory-mapped. Raises ArtefactDamaged when the three files do not fit together."""
        try:
            vectors, tokens, offsets = (
                np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("vectors", "tokens", "offsets")
            )
        except (OSError, EOFError, ValueError) as error:
            raise ArtefactDamaged(f"vectors in {folder} cannot be read: {error}") from error
        if len(offsets) != len(vectors) + 1 or offsets[-1] != len(tokens):
            raise ArtefactDamaged(f"vectors in {folder} do not fit together; delete the folder and embed again")
        return cls(vectors, tokens, offsets)


class Encoder:
    """A sentence-transformers model with its prompts; weights are loaded at the first use.

    Raises SettingsError or ModelUnavailable, naming `encoder.model`, and NotFinite for a weight or vector that is none.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        self.settings = settings

    def encode_queries(self, texts: Sequence[str]) -> EncodedTexts:
        return self._encode([self.settings.query_prompt + text for text in texts])

    def encode_passages(self, titles: Sequence[str], texts: Sequence[str]) -> EncodedTexts:
        prompt = self.settings.passage_prompt
        return self._encode([prompt + joined(title, text) for title, text in zip(titles, texts, strict=True)])

    @cached_property
    def model(self) -> Any:
        """The sentence_transformers.SentenceTransformer, loaded."""
        path = resolve(self.settings.model, setting="encoder.model")
        from sentence_transformers import SentenceTransformer  # seconds; a wrong name is told before that

        quiet()
        model = strict.load(
            lambda: SentenceTransformer(path, device=self.settings.device, model_kwargs={"use_safetensors": True}),
            path,
            "encoder.model",
        )
        model.eval()
        model.tokenizer.padding_side = "right"  # the token vectors below are cut from the left
        return model

    def _encode(self, texts: Sequence[str]) -> EncodedTexts:
        import torch

        model = self.model
        tokenizer = model.tokenizer
        limit = min(self.settings.max_length, _position_limit(model))
        encoded = (
            tokenizer(list(texts), truncation=True, max_length=limit, return_special_tokens_mask=True) if texts else {}
        )
        ids: list[list[int]] = encoded["input_ids"] if texts else []
        special: list[list[int]] = encoded["special_tokens_mask"] if texts else []
        counts = np.array([len(mask) - sum(mask) for mask in special], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        order = sorted(range(len(texts)), key=lambda index: len(ids[index]), reverse=True)
        vectors: NDArray[np.float32] | None = None
        tokens: NDArray[np.float16] | None = None
        for start in range(0, len(order), self.settings.batch_size):
            batch = order[start : start + self.settings.batch_size]
            padded = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                output = model(dict(padded))
            pooled = torch.nn.functional.normalize(output["sentence_embedding"].float(), dim=-1).cpu().numpy()
            states = torch.nn.functional.normalize(output["token_embeddings"].float(), dim=-1).half().cpu().numpy()
            whole = np.isfinite(pooled).all(axis=1)
            if not whole.all():
                text = texts[batch[int(np.argmin(whole))]]
                raise NotFinite(
                    f"encoder {self.settings.model} gives a vector that is no number for the text {text[:60]!r}; its "
                    "weights are broken: fetch them again, or set encoder.model to another one"
                )
            if vectors is None or tokens is None:
                vectors = np.zeros((len(texts), pooled.shape[1]), dtype=np.float32)
                tokens = np.zeros((int(offsets[-1]), states.shape[2]), dtype=np.float16)
            vectors[batch] = pooled
            for row, index in enumerate(batch):
                kept = np.array(special[index]) == 0
                tokens[offsets[index] : offsets[index + 1]] = states[row, : len(kept)][kept]
        if vectors is None or tokens is None:
            size = int(model.get_embedding_dimension())
            vectors, tokens = np.zeros((0, size), dtype=np.float32), np.zeros((0, size), dtype=np.float16)
        return EncodedTexts(vectors, tokens, offsets)


def joined(title: str, text: str) -> str:
    """Title and text as one passage, the way every model here reads it."""
    return f"{title}\n{text}" if title else text


def _position_limit(model: Any) -> int:
    """How many tokens the model has positions for; the RoBERTa family numbers them from its padding id + 1."""
    config = model[0].auto_model.config
    positions = getattr(config, "max_position_embeddings", None)
    if not positions:
        return 1 << 20
    return int(positions) - (int(config.pad_token_id) + 1 if "roberta" in config.model_type else 0)
