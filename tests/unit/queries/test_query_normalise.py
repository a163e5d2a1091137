"""One spelling, usable or not, strata."""

from __future__ import annotations

import random
import re

import polars as pl
import pytest

from rerankops.config import QuerySettings, StratumSettings
from rerankops.errors import SettingsError
from rerankops.queries.normalise import identify, normalised, query_id, stratum_of


def normal(*texts: str) -> list[str]:
    return pl.DataFrame({"text": texts}).select(normalised(pl.col("text")))["text"].to_list()


# -- one spelling


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  胎压  多少？？ ", "胎压多少"),
        ("胎压多少。", "胎压多少"),
        ("ＥＳＰ怎么关", "esp怎么关"),
        ("机油 0W-20 加多少", "机油0w-20加多少"),
        ("轮胎 235/55 R18", "轮胎235/55 r18"),
        ("how do I  open the hood?", "how do i open the hood"),
        ("后备箱容积4.5L！", "后备箱容积4.5l"),
        ("温度37℃", "温度37°c"),
        ("电量低于 20% 怎么办", "电量低于20%怎么办"),
        ("在-10度能启动吗", "在-10度能启动吗"),
        ("...胎压...", "胎压"),
        ("胎压，机油", "胎压机油"),
        ("C++", "c"),
        ("我叫[NAME]，胎压多少", "我叫胎压多少"),
        ("电话[PHONE]", "电话"),
        ("🚗胎压🚗", "胎压"),
        ("a.\n\tb", "a b"),
        ("？！", ""),
        ("", ""),
    ],
)
def test_spellings_of_one_question_become_one(text: str, expected: str) -> None:
    assert normal(text) == [expected]


def test_normalising_twice_changes_nothing() -> None:
    rng = random.Random(3)
    texts = ["".join(rng.choices("胎压油车 aB9.5-/+%°[]？!\t℃", k=rng.randint(0, 14))) for _ in range(3000)]
    once = normal(*texts)
    assert normal(*once) == once
    assert not any(re.search(r"^ | $|  |[\t？!\[\]]|[胎压油车] | [胎压油车]", text) for text in once)


# -- usable or not


def test_only_usable_texts_get_an_identity(query_settings: QuerySettings) -> None:
    settings = query_settings.model_copy(update={"min_characters": 2, "max_characters": 10})
    texts = ["胎压多少", "胎", "13 5", "", None, "胎" * 11, "胎" * 10, "胎压 多少？", "[NAME]", "a1"]
    table = identify(pl.Series(texts, dtype=pl.String), settings)
    usable = [value is not None for value in table["query_id"]]
    assert usable == [True, False, False, False, False, False, True, True, False, True]
    assert table["query_id"][0] == table["query_id"][7] == query_id("胎压多少")
    assert table["normal"][0] == "胎压多少"


def test_identities_keep_the_order_given(query_settings: QuerySettings) -> None:
    texts = [f"问题{i % 7}号胎压" for i in range(50)]
    table = identify(pl.Series(texts), query_settings)
    assert table["normal"].to_list() == texts
    assert table["query_id"].to_list() == [query_id(text) for text in texts]


def test_no_texts_have_no_identities(query_settings: QuerySettings) -> None:
    assert identify(pl.Series([], dtype=pl.String), query_settings).shape == (0, 2)


# -- strata


def strata_of(texts: list[str], strata: tuple[StratumSettings, ...]) -> list[str]:
    return pl.DataFrame({"text": texts}).select(stratum=stratum_of(pl.col("text"), strata))["stratum"].to_list()


def test_the_default_strata_tell_numbers_procedures_and_the_rest(query_settings: QuerySettings) -> None:
    texts = [
        "后备箱容积",
        "胎压多少",
        "如何开启esp",
        "这车有什么亮点",
        "How many seats",
        "how do i open it",
    ]
    expected = ["numeric", "numeric", "procedure", "summary", "numeric", "procedure"]
    assert strata_of(texts, query_settings.strata) == expected


def test_what_matches_nothing_goes_to_the_last_stratum_and_the_first_match_wins() -> None:
    strata = tuple(
        StratumSettings(name=name, share=0.5, patterns=patterns)
        for name, patterns in [("none", ()), ("a", ("x", "y")), ("b", ("y",)), ("c", ("z",))]
    )
    assert strata_of(["Y", "q", "x", "z"], strata) == ["a", "c", "a", "c"]


@pytest.mark.parametrize("pattern", ["(", "[a", "(?=x)", "*"])
def test_a_pattern_that_is_no_regular_expression_is_named_with_its_stratum(pattern: str) -> None:
    strata = (StratumSettings(name="numeric", share=1, patterns=("多少", pattern)),)
    with pytest.raises(SettingsError, match=f"pattern {re.escape(repr(pattern))} of 'numeric' is no regular") as error:
        strata_of(["胎压"], strata)
    assert "\n" not in str(error.value)
