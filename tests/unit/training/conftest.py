"""A tiny random BERT, and groups a tiny model can learn: real files, real training, seconds."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rerankops.config import TrainingSettings, load
from rerankops.records import TrainingGroup
from rerankops.training.process import TrainingJob

COLOURS = ["red", "blue", "green", "black", "white", "grey", "gold", "pink"]
WORDS = ["what", "is", "the", "colour", "of", "car", "it", "painted", "and", "fast", "title", *COLOURS]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random two-layer BERT encoder and a word-level tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(97, 123)] + [f"##{chr(c)}" for c in range(97, 123)]
    (folder / "vocab.txt").write_text("\n".join([*special, *WORDS, *letters]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(special) + len(WORDS) + len(letters),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\nA tiny model.\n")
    return str(folder)


@pytest.fixture
def groups() -> pa.Table:
    """Which passage names the colour that the query asks for?"""

    def passage(colour: str, number: int, grade: int | None) -> dict[str, object]:
        text = f"it is painted {colour}" + " and fast" * (number % 5)
        return {"passage_id": f"{colour}{number}", "title": "title", "text": text, "grade": grade, "weight": 0.9}

    return TrainingGroup.table(
        {
            "query_id": f"q{i}",
            "query_text": f"what is {COLOURS[i % 8]}",
            "stratum": "numeric",
            "split": "dev" if i % 3 == 0 else "train",
            "positives": [passage(COLOURS[i % 8], i, 3)],
            "negatives": [passage(COLOURS[(i + 1 + j) % 8], i, None if j else 0) for j in range(2)],
        }
        for i in range(36)
    )


@pytest.fixture
def settings() -> TrainingSettings:
    changes = {"max_length": 32, "epochs": 1, "learning_rate": 1e-3, "evaluation_steps": 5, "device": "cpu"}
    return load().training.model_copy(update=changes)


@pytest.fixture
def job(tiny_bert: str, groups: pa.Table, settings: TrainingSettings, tmp_path: Path) -> TrainingJob:
    path = tmp_path / "groups.parquet"
    pq.write_table(groups, path)
    return TrainingJob(str(path), tiny_bert, settings, ("training_groups/abc123",), "tiny-bert")
