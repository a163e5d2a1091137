"""A cross-encoder out of an encoder that was never trained to rank: late interaction that learns to read jointly.

score = scale · mean over query tokens of the largest cosine to a passage token + v·h[CLS] + bias, over the states of
one encoder that holds query and passage at once. Attention across the two sides is dampened by a learned gate, added
to the attention logits, that begins at GATE: the encoder at first reads each side almost by itself, as it was trained
to, and since v begins at zero the untrained model ranks like late interaction (Khattab and Zaharia, "ColBERT", 2020).
Fine-tuning opens the gate as far as it helps. Without the gate the untrained order is far worse: measured on
80 questions of cmrc2018 with m3e-small, first ten candidates: R@1 .63 without (.74 with every token type 0), .90
gated, .91 late interaction.

As a sentence-transformers module it is saved and loaded with the model: `modules.json` names it by its import path.
`sentence_transformers.CrossEncoder(folder, trust_remote_code=True)` loads such a folder where rerankops is
installed (the flag is what 6.x asks for any module outside its own package; no code is read from the folder);
`rerankops.scoring.cross_encoder.load` needs no flag, because it admits this one class only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Transformer
from sentence_transformers.util import load_file_path
from torch import Tensor, nn

SCALE = 12.0
"""Initial; turns mean cosines, a few hundredths apart between candidates, into logits about one apart."""
GATE = -4.0
"""Initial; a token of the other side weighs e^-4 of what it would."""
GATE_UNIT = 100.0
"""The gate is stored divided by this, so that a learning rate of 1e-4 moves it by 0.01 a step."""
PADDED = -1e4
"""Added to the attention logits of padding; large enough in float32 and in half precision."""
WEIGHTS = "maxsim.safetensors"
SUPPORTED = ("bert", "roberta", "xlm-roberta")
"""Architectures whose attention takes an additive (b, 1, t, t) mask as it is."""


class MaxSimHead(nn.Module):  # type: ignore[misc]
    """states (b, t, h), which tokens are query and which are passage (b, t) -> scores (b, 1)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.tensor(GATE / GATE_UNIT))
        self.scale = nn.Parameter(torch.tensor(SCALE))
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: Tensor, query: Tensor, passage: Tensor) -> Tensor:
        unit = nn.functional.normalize(states.float(), dim=-1)
        # The query comes first: cutting the product at its longest one saves most of it.
        width = int(torch.where(query.any(dim=0))[0].max()) + 1 if bool(query.any()) else 1
        best = (unit[:, :width] @ unit.transpose(1, 2)).masked_fill(~passage[:, None, :], -1.0).amax(dim=-1)
        counted = (query[:, :width] & passage.any(dim=1, keepdim=True)).float()
        late = (best * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1.0)
        return self.scale * late[:, None] + self.linear(states[:, 0].to(self.linear.weight.dtype))


class MaxSimTransformer(Transformer):  # type: ignore[misc]
    """Encoder, gate and head in one module: input_ids and attention_mask -> scores (b, 1).

    Sides come from the separator token, not from token types, which RoBERTa's family has none of and bi-encoders
    never saw but 0: the first separator ends the query.
    """

    def __init__(self, model_name_or_path: str, **kwargs: Any) -> None:
        super().__init__(model_name_or_path, **kwargs)
        self.head = MaxSimHead(self.model.config.hidden_size)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        ids, mask = features["input_ids"], features["attention_mask"].bool()
        separator = (ids == self.tokenizer.sep_token_id).long()
        other = separator.cumsum(dim=1) - separator > 0
        words = mask & ~torch.isin(ids, torch.tensor(self.tokenizer.all_special_ids, device=ids.device))
        crossing = (other[:, :, None] != other[:, None, :]).to(self.model.dtype)
        attention = crossing * (self.head.gate * GATE_UNIT).to(self.model.dtype)
        attention = attention.masked_fill(~mask[:, None, :], PADDED)[:, None]
        states = self.model(input_ids=ids, attention_mask=attention).last_hidden_state
        features["scores"] = self.head(states, words & ~other, words & other)
        return features

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        super().save(output_path, *args, **kwargs)
        weights = {name: value.contiguous() for name, value in self.head.state_dict().items()}
        save_file(weights, Path(output_path) / WEIGHTS, {"format": "pt"})

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> MaxSimTransformer:
        module: MaxSimTransformer = super().load(model_name_or_path, subfolder=subfolder, **kwargs)
        hub = {key: kwargs[key] for key in ("token", "cache_folder", "revision", "local_files_only") if key in kwargs}
        weights = load_file_path(model_name_or_path, WEIGHTS, subfolder=subfolder, **hub)
        if weights is None:
            raise OSError(f"{model_name_or_path} lacks {WEIGHTS}")
        module.head.load_state_dict(load_file(weights))
        return module


def module(path: str, *, max_length: int, fresh: bool) -> MaxSimTransformer:
    """The one module to make a CrossEncoder of. fresh: a new head for a bare encoder; else the head saved with it."""
    options: dict[str, Any] = {
        "model_kwargs": {"use_safetensors": True},
        "processor_kwargs": {"model_max_length": max_length},
        "config_kwargs": {"num_labels": 1},
    }
    if fresh:
        return MaxSimTransformer(path, transformer_task="feature-extraction", **options)
    return MaxSimTransformer.load(path, **options)
