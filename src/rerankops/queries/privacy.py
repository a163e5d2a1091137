"""Removing personal data from queries before anything is stored.

Replaced by a placeholder that says what stood there: e-mail addresses, identity-card numbers, vehicle identification
numbers, number plates, telephone numbers and, where the wording gives them away, personal names. Patterns run
vectorised (Rust regular expressions); what still looks like a telephone number is asked of libphonenumber.
Erring on the side of removal: a lost word costs a query, a kept number costs trust.
"""

from __future__ import annotations

from dataclasses import dataclass

import phonenumbers
import polars as pl

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
"""The hundred most frequent surnames of China."""
_SURNAME = f"(?:欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|[{_SURNAMES}])"
_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_HAN = "[\\x{4e00}-\\x{9fff}]"
_B = "(?-u:\\b)"


@dataclass(frozen=True)
class Rule:
    """One kind of personal data. `pattern` is Rust syntax; `replacement` may keep groups of it."""

    kind: str
    pattern: str
    replacement: str


_BIRTH_DATE = r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_VIN_SIGN = "[A-HJ-NPR-Z0-9]"
_INTRODUCTION = "我叫|我的名字是|名字叫|姓名[:是 ]?|联系人[:是 ]?|车主[:是 ]?|我是|本人"
_CAPITALISED = "(?-i:[A-Z][a-z]+)"

RULES: tuple[Rule, ...] = (
    Rule("email", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", "[EMAIL]"),
    Rule("identity_card", rf"{_B}[1-9]\d{{5}}{_BIRTH_DATE}\d{{3}}[\dXx]{_B}", "[ID]"),
    Rule("vin", rf"(?i){_B}{_VIN_SIGN}{{17}}{_B}", "[VIN]"),
    Rule(
        "plate",
        rf"(?i)[{_PROVINCES}][A-HJ-Z][ ·•・.\-]?(?:[A-HJ-NP-Z0-9]{{5,6}}{_B}|[A-HJ-NP-Z0-9]{{4}}[学警挂港澳])",
        "[PLATE]",
    ),
    Rule("mobile", rf"{_B}(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{{4}}[- ]?\d{{4}}{_B}", "[PHONE]"),
    Rule("landline", rf"{_B}(?:0\d{{2,3}}[- ]?[2-8]\d{{6,7}}|400[- ]?\d{{3}}[- ]?\d{{4}}){_B}", "[PHONE]"),
    Rule("name", rf"({_INTRODUCTION}){_SURNAME}{_HAN}{{1,2}}([,，。!！?？;；、\s]|$)", "${1}[NAME]${2}"),
    Rule("name", rf"{_SURNAME}{_HAN}{{0,2}}(先生|女士|小姐|师傅|太太|老师)", "[NAME]${1}"),
    Rule(
        "name",
        rf"(?i)(my name is|this is|i am|i'm) ((?:mr|mrs|ms|dr)\.? )?{_CAPITALISED}(?: {_CAPITALISED})?",
        "${1} [NAME]",
    ),
)
PLACEHOLDER = r"\[(?:EMAIL|ID|VIN|PLATE|PHONE|NAME)\]"
_SUSPICIOUS = r"\d[\d\- ()]{6,}\d"


def redact(texts: pl.Series, *, region: str) -> pl.DataFrame:
    """Columns text (NFKC, personal data replaced) and redactions (how many replacements), in the order given.

    region: where telephone numbers without a country code belong, as in ISO 3166 (`CN`).
    """
    frame = pl.DataFrame({"text": texts}).with_columns(
        pl.col("text").str.normalize("NFKC"), redactions=pl.lit(0, pl.Int32)
    )
    for rule in RULES:
        frame = _apply(frame, rule)
    return _telephones(frame, region)


def _apply(frame: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    return frame.with_columns(
        pl.col("text").str.replace_all(rule.pattern, rule.replacement),
        (pl.col("redactions") + pl.col("text").str.count_matches(rule.pattern).cast(pl.Int32)).alias("redactions"),
    )


def _telephones(frame: pl.DataFrame, region: str) -> pl.DataFrame:
    suspicious = frame.with_row_index().filter(pl.col("text").str.contains(_SUSPICIOUS))
    if suspicious.is_empty():
        return frame
    texts, counts = frame["text"].to_list(), frame["redactions"].to_list()
    for row, text in suspicious.select("index", "text").iter_rows():
        matches = list(phonenumbers.PhoneNumberMatcher(text, region))
        for match in reversed(matches):
            texts[row] = texts[row][: match.start] + "[PHONE]" + texts[row][match.end :]
        counts[row] += len(matches)
    return pl.DataFrame({"text": texts, "redactions": pl.Series(counts, dtype=pl.Int32)})
