"""One spelling, usable or not, near-duplicates, strata; the fast similarity join against the obvious one."""

from __future__ import annotations

import itertools
import random
import re

import polars as pl
import pytest

from rerankops.config import QuerySettings, StratumSettings
from rerankops.errors import SettingsError
from rerankops.queries.normalise import clusters, identify, near_to, normalised, query_id, similar_pairs, stratum_of


def normal(*texts: str) -> list[str]:
    return pl.DataFrame({"text": texts}).select(normalised(pl.col("text")))["text"].to_list()


def frame(*texts: str, prefix: str = "") -> pl.DataFrame:
    ids = [f"{prefix}{i:03}" for i in range(len(texts))]
    return pl.DataFrame({"id": ids, "normal": texts}, schema={"id": pl.String, "normal": pl.String})


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


# -- near-duplicates


def grams(text: str) -> set[str]:
    text = text.replace(" ", "")
    return {text[i : i + 2] for i in range(max(1, len(text) - 1))} if text else set()


def words(text: str) -> list[str]:
    return sorted(re.findall(r"[a-z0-9.]+", text))


def by_brute_force(left: pl.DataFrame, right: pl.DataFrame, threshold: float) -> dict[tuple[str, str], float]:
    found = {}
    for (a, x), (b, y) in itertools.product(left.iter_rows(), right.iter_rows()):
        shared, union = len(grams(x) & grams(y)), len(grams(x) | grams(y))
        if union and words(x) == words(y) and shared / union >= threshold:
            found[a, b] = shared / union
    return found


def random_texts(rng: random.Random, count: int) -> list[str]:
    """Families of edited copies, so that similarities of every size occur."""
    texts = []
    while len(texts) < count:
        text = "".join(rng.choices("胎压油车怎么开关", k=rng.randint(0, 24)))
        for _ in range(rng.randint(1, 5)):
            texts.append(text + rng.choice(["", "", " x5", "4.5l"]))
            cut = rng.randint(0, len(text))
            text = text[:cut] + rng.choice(["", "胎", "机油"]) + text[cut + rng.randint(0, 1) :]
    return texts[:count]


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.55, 0.6, 0.7, 0.8, 0.85, 0.9, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_similar_pairs_are_exactly_those_of_brute_force(threshold: float, seed: int) -> None:
    rng = random.Random(seed)
    left, right = frame(*random_texts(rng, 120), prefix="l"), frame(*random_texts(rng, 90), prefix="r")
    for one, other in ((left, right), (left, left)):
        found = similar_pairs(one, other, threshold=threshold)
        expected = by_brute_force(one, other, threshold)
        pairs = {(a, b): jaccard for a, b, jaccard in found.iter_rows()}
        assert pairs.keys() == expected.keys()
        assert pairs == pytest.approx(expected)
        assert found.rows() == sorted(found.rows())


AT_THE_EDGE = [
    (percent / 100, size, percent * size // 100)
    for percent in range(5, 100)
    for size in range(2, 61)
    if percent * size % 100 == 0 and percent / 100 * size > percent * size // 100
]
"""Thresholds whose product with a size is an integer, but for binary fractions a little more: 0.28 of 25, say."""


@pytest.mark.parametrize(("threshold", "size", "shared"), AT_THE_EDGE)
def test_a_pair_exactly_at_the_threshold_is_similar_whatever_the_rounding(
    threshold: float, size: int, shared: int
) -> None:
    letters = "".join(chr(0x4E00 + i) for i in range(size + 1))
    assert similar_pairs(frame(letters), frame(letters[: shared + 1]), threshold=threshold).height == 1


def test_texts_whose_latin_words_differ_are_not_similar() -> None:
    texts = frame("x5的胎压应该打到多少", "x7的胎压应该打到多少", "的胎压应该打到多少", "x5的胎压应该打到多少呢")
    pairs = similar_pairs(texts, texts, threshold=0.5).filter(pl.col("left_id") < pl.col("right_id"))
    assert pairs.select("left_id", "right_id").rows() == [("000", "003")]


def test_the_order_of_latin_words_does_not_matter() -> None:
    texts = frame("x5和x7哪个好", "x7和x5哪个好")
    assert similar_pairs(texts, texts, threshold=0.5).height == 4


def test_no_texts_have_no_pairs() -> None:
    none = frame()
    assert similar_pairs(none, none, threshold=0.8).height == 0
    assert similar_pairs(frame("胎压"), none, threshold=0.8).height == 0
    assert similar_pairs(frame("", ""), frame(""), threshold=0.8).height == 0


def test_a_single_character_is_similar_to_itself_only() -> None:
    assert similar_pairs(frame("胎", "压"), frame("胎"), threshold=0.5).rows() == [("000", "000", 1.0)]


# -- near to gold


def test_a_query_equal_or_nearly_equal_to_gold_is_found() -> None:
    gold = frame("后备箱的容积到底是多少升", "如何开启esp", prefix="g")
    queries = frame(
        "后备箱的容积到底是多少升", "后备箱的容积到底是多少升呢", "如何关闭esp", "前备箱容积", "如何开启eps", prefix="q"
    )
    assert near_to(queries, gold, threshold=0.8) == {"q000", "q001"}
    assert near_to(queries, frame(), threshold=0.8) == set()
    assert near_to(frame(), gold, threshold=0.8) == set()


# -- clusters


def pairs_of(*pairs: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"left_id": pl.String, "right_id": pl.String}, orient="row")


def test_what_is_similar_through_others_is_one_cluster() -> None:
    labels = clusters(list("abcdef"), pairs_of(("a", "b"), ("b", "c"), ("e", "d"), ("f", "f")))
    assert labels["a"] == labels["b"] == labels["c"]
    assert labels["d"] == labels["e"]
    assert len({labels["a"], labels["d"], labels["f"]}) == 3
    assert list(labels) == list("abcdef")


def test_clusters_of_nothing_are_nothing() -> None:
    assert clusters([], pairs_of()) == {}
    assert len(set(clusters(["a", "b"], pairs_of()).values())) == 2


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
