"""A ranking head for encoders that were never trained to rank: late interaction inside one joint pass.

score = scale · mean over query tokens of the largest cosine to a passage token + v·h[CLS] + bias, over the states of
one encoder that read query and passage together. It begins as late interaction (Khattab and Zaharia, "ColBERT",
2020) because v is zero, so fine-tuning starts from a useful order instead of from a random linear layer on CLS.

As a sentence-transformers module it is saved and loaded with the model: `modules.json` names it by its import path.
`sentence_transformers.CrossEncoder(folder, trust_remote_code=True)` loads such a folder where rerankops is
installed (the flag is what 6.x asks for any module outside its own package; no code is read from the folder);
`rerankops.scoring.cross_encoder.load` needs no flag, because it admits this one class only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from sentence_transformers.base.modules import Module, Transformer
from torch import Tensor, nn

INITIAL_SCALE = 12.0
"""Turns mean cosines, a few hundredths apart between candidates, into logits about one apart."""


class MaxSimHead(Module):  # type: ignore[misc]
    """token_embeddings (b, t, h), input_ids, attention_mask -> scores (b, 1).

    special_ids: tokens that are neither query nor passage (CLS, SEP, padding). separator_id: the token between them;
    the first one ends the query. Segments come from it, not from token types, which RoBERTa's family has none of.
    """

    config_keys = ["hidden_size", "separator_id", "special_ids"]  # noqa: RUF012

    def __init__(self, hidden_size: int, separator_id: int, special_ids: list[int]) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.separator_id = separator_id
        self.special_ids = sorted(special_ids)
        self.scale = nn.Parameter(torch.tensor(INITIAL_SCALE))
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        states: Tensor = features["token_embeddings"].float()
        ids, mask = features["input_ids"], features["attention_mask"].bool()
        words = mask & ~torch.isin(ids, torch.tensor(self.special_ids, device=ids.device))
        separators = (ids == self.separator_id).cumsum(dim=1)
        query, passage = words & (separators == 0), words & (separators > 0)
        unit = nn.functional.normalize(states, dim=-1)
        # Only the leading positions can be query tokens: cutting them here halves the work of the product below.
        width = max(1, int(query.any(dim=0).nonzero().max()) + 1) if bool(query.any()) else 1
        cosines = unit[:, :width] @ unit.transpose(1, 2)
        best = cosines.masked_fill(~passage[:, None, :], -1.0).amax(dim=-1)
        counted = (query[:, :width] & passage.any(dim=1, keepdim=True)).float()
        late = (best * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1.0)
        features["scores"] = (self.scale * late)[:, None] + self.linear(states[:, 0])
        return features

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        self.save_config(output_path)
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(weights, Path(output_path) / "model.safetensors", {"format": "pt"})

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> MaxSimHead:
        hub = {key: kwargs[key] for key in ("token", "cache_folder", "revision", "local_files_only") if key in kwargs}
        head = cls(**cls.load_config(model_name_or_path, subfolder=subfolder, **hub))
        cls.load_torch_weights(model_name_or_path, subfolder=subfolder, model=head, **hub)
        return head


def modules(path: str, *, max_length: int, head: MaxSimHead | None = None) -> list[nn.Module]:
    """[encoder, head] to make a CrossEncoder of; a fresh head when none is given."""
    encoder = Transformer(
        path,
        transformer_task="feature-extraction",
        model_kwargs={"use_safetensors": True},
        processor_kwargs={"model_max_length": max_length},
        config_kwargs={"num_labels": 1},
    )
    if head is None:
        tokenizer = encoder.tokenizer
        head = MaxSimHead(encoder.get_embedding_dimension(), tokenizer.sep_token_id, tokenizer.all_special_ids)
    return [encoder, head]
