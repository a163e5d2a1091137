"""Names that a model of token classification finds. The model is a real one, small and taught here within seconds."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from rerankops import config
from rerankops.config.settings import QuerySettings
from rerankops.errors import SettingsError
from rerankops.privacy import Redactor

CHARACTERS = "我和阿黛去看车胎压多少请问小米"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("names")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32)
    torch.manual_seed(0)
    labels = {0: "O", 1: "B-PER", 2: "I-PER"}
    small = BertForTokenClassification(
        BertConfig(
            vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=32, id2label=labels, hidden_dropout_prob=0,
            label2id={label: number for number, label in labels.items()},
        )
    )  # fmt: skip
    texts = ["我和阿黛去看车", "阿黛请问胎压多少", "小米车胎压多少", "请问去看小米车", "和阿黛看胎压"]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    wanted = torch.zeros_like(batch["input_ids"])
    wanted[batch["input_ids"] == vocabulary.index("阿")] = 1
    wanted[batch["input_ids"] == vocabulary.index("黛")] = 2
    optimizer = torch.optim.Adam(small.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        small(**batch, labels=wanted).loss.backward()
        optimizer.step()
    small.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def settings(model: str, **names: object) -> QuerySettings:
    chosen = {"recogniser": "model", "model": model, "device": "cpu", **names}
    return config.load(environ={}, overrides={"queries": {"names": chosen}}).queries


def test_what_the_model_finds_goes_beside_what_the_rules_find(model: str) -> None:
    texts = pl.Series(["我和阿黛去看车", "小米胎压多少", "我叫王小明，电话13812345678"])
    found = Redactor(settings(model)).redact(texts)
    assert found["text"].to_list() == ["我和[NAME]去看车", "小米胎压多少", "我叫[NAME]，电话[PHONE]"]


def test_a_long_text_is_read_to_its_end(model: str) -> None:
    found = Redactor(settings(model)).redact(pl.Series(["胎压多少" * 40 + "阿黛"]))
    assert found["text"][0] == "胎压多少" * 40 + "[NAME]"


def test_the_model_and_its_settings_are_part_of_the_address(model: str) -> None:
    assert Redactor(settings(model)).identity != Redactor(settings(model, min_score=0.5)).identity
    rules = config.load(environ={}).queries
    assert Redactor(rules).identity["names"] == {"recogniser": "rules"}


def test_labels_that_the_model_does_not_have_are_refused(model: str) -> None:
    given = settings(model)
    other = given.model_copy(update={"names": given.names.model_copy(update={"labels": {"HUMAN": "NAME"}})})
    with pytest.raises(SettingsError, match=r"queries\.names\.labels has none of the labels of .*: O, PER"):
        Redactor(other).redact(pl.Series(["阿黛"]))


def test_a_model_that_is_not_there_is_refused_by_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"setting queries\.names\.model is"):
        Redactor(settings(str(tmp_path / "none"))).redact(pl.Series(["阿黛"]))


def test_a_model_must_be_named() -> None:
    with pytest.raises(SettingsError, match=r"queries\.names\.model must name one"):
        config.load(environ={}, overrides={"queries": {"names": {"recogniser": "model"}}})
