"""Removing personal data from queries before anything is stored.

Replaced by a placeholder that says what stood there: e-mail addresses, identity-card numbers, vehicle identification
numbers, number plates, telephone numbers, messenger accounts and, where the wording gives them away, personal names.
A rule first finds its suspects vectorised (Rust regular expressions), then decides on those few with Python's, which
can look around; what still looks like a telephone number is asked of libphonenumber.
Erring on the side of removal: a lost word costs a query, a kept number costs trust.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import phonenumbers
import polars as pl

from rerankops.errors import SettingsError

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
    "傅萧倪俞鲁葛伍毕聂焦柳邢骆岳祁涂耿詹凌靳翁隋裴霍鲍阮柯甄屈"
)
"""The hundred most frequent surnames of China and some thirty more that are seldom ordinary words."""
_SURNAME = f"(?:欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|[{_SURNAMES}])"
_HAN = "[一-鿿]"
_WORD_END = f"(?!{_HAN})"
_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_BIRTH_DATE = r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_GAP = r"[-‐-―−. ]{0,3}"
"""What people put between the groups of a telephone number."""
_SEVEN_DIGITS = r"\d(?:[-‐-―−. ()]{0,3}\d){6}"

_NO_NAME = (
    "马自达|马六|江淮|江铃|金杯|金龙|金牛|雷诺|雷凌|雷克萨斯|高尔夫|林肯|夏利|夏朗|陆风|陆放|万得|方程豹|黄海|"
    "江苏|江西|苏州|徐州|郑州|武汉|沈阳|黄山|石家庄|高中生|高德|马上|万一|方便|白领|金融|任何人"
)
"""Makes, models, places and words that begin like a name; only as a whole word are they none."""
_NO_GIVEN_NAME = "色版配款型车主级户系的了么很太是时便速"
_NO_ENGLISH_NAME = (
    "Ready|Sorry|Happy|Glad|Sure|Fine|Lost|Stuck|Done|Using|Driving|Trying|Looking|Hybrid|Sport|Comfort|Normal|Eco|"
    "Chinese|German|English|American|New|The|My|Your|Our|Not|Urgent|Great|Good|Bad|Wrong|Apple|Android|Tesla|Toyota|"
    "Honda|Ford|Owner|Here|How|What|Why|When|Where"
)
_ENGLISH = r"(?-i:[A-Z][a-z]+(?![A-Za-z]))"
_ENGLISH_END = r"(?=\s*(?:[,.!?;:]|$|(?:and|from|with|here|speaking|calling)\b))"


@dataclass(frozen=True)
class Rule:
    """One way to write one kind of personal data.

    suspects: Rust syntax; a text without it is passed over. pattern: Python syntax; what is replaced.
    replacement: may keep groups of the pattern.
    """

    kind: str
    suspects: str
    pattern: str
    replacement: str


RULES: tuple[Rule, ...] = (
    Rule(
        "email",
        "@",
        r"(?i)[a-z0-9._%+-]{1,64} ?@ ?(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}",
        "[EMAIL]",
    ),
    Rule(
        "identity_card",
        r"\d{6}[ -]?\d{8}[ -]?\d{3}",
        rf"(?<!\d)[1-9]\d{{5}}[ -]?{_BIRTH_DATE}[ -]?\d{{3}}[\dXx](?!\d)",
        "[ID]",
    ),
    Rule(
        "vin",
        "(?i)[A-HJ-NPR-Z0-9]{17}",
        r"(?i)(?:(?<![A-Z0-9])|(?<=VIN))(?=[A-Z]*\d)[A-HJ-NPR-Z0-9]{17}(?![A-Z0-9])",
        "[VIN]",
    ),
    Rule(
        "plate",
        f"(?i)[{_PROVINCES}][A-HJ-Z]",
        rf"(?i)(?![新黑](?:BMW|GL[ABCES]|CL[AS]|[CHX]RV|MPV|SUV))[{_PROVINCES}][A-HJ-Z][ ·•・.\-]?"
        r"(?:[A-HJK][A-HJ-NP-Z0-9]\d{4}|\d{5}[A-HJK]|(?!(?:\d*[A-Z]){3})[A-HJ-NP-Z0-9]{5}"
        r"|[A-HJ-NP-Z0-9]{4}[学警挂港澳领试超])(?![A-Z0-9])",
        "[PLATE]",
    ),
    Rule(
        "mobile",
        _SEVEN_DIGITS,
        rf"(?:\(?(?:\+|(?<!\d)00|(?<!\d))86\)?{_GAP}|(?<!\d))1[3-9]\d{_GAP}\d{{4}}{_GAP}\d{{4}}(?!\d)",
        "[PHONE]",
    ),
    Rule(
        "landline",
        _SEVEN_DIGITS,
        rf"(?<!\d)(?:\(0\d{{2,3}}\)|0\d{{2,3}}){_GAP}[2-9]\d{{2,3}}[- ]?\d{{4}}(?:[-转]\d{{1,5}})?(?!\d)",
        "[PHONE]",
    ),
    Rule(
        "service_number",
        _SEVEN_DIGITS,
        r"(?<!\d)[48]00[- ]?(?:\d{3}[- ]?\d{4}|\d{4}[- ]?\d{3})(?!\d)",
        "[PHONE]",
    ),
    Rule(
        "local_number",
        "(?i)电话|座机|tel|phone",
        r"(?i)((?:电话|座机|tel|phone)[^\d\[]{0,4})[2-8]\d{2,3}-?\d{4}(?!\d)",
        r"\1[PHONE]",
    ),
    Rule(
        "account",
        "(?i)微信|wechat|vx|qq",
        r"(?i)(?<![a-z])((?:微信|wechat|vx|qq)(?:号码?|id)?[\s:是为]{0,3})"
        r"(?=[a-z_-]*\d)[a-z0-9_-]{5,20}(?![a-z0-9_.-])",
        r"\1[ACCOUNT]",
    ),
    Rule(
        "name",
        "我叫|我姓|贵姓|名字",
        rf"(我叫|(?:我的)?名字[是叫]|我姓|免贵姓)(?!(?:{_NO_NAME}))"
        rf"(?:{_SURNAME}{_HAN}{{1,2}}?(?={_WORD_END}|怎|如何|请|想|问|[你您]好|[的在要有这吗能可是开买])|{_SURNAME}{_HAN}{{1,2}})",
        r"\1[NAME]",
    ),
    Rule(
        "name",
        "我叫",
        rf"(我叫)(?![不你他她它了人车救拖道代一个什啥客来过保服小高])(?!(?:{_NO_NAME}){_WORD_END}){_HAN}{{2,3}}{_WORD_END}",
        r"\1[NAME]",
    ),
    Rule(
        "name",
        "姓名|联系人|车主|收件人|名字",
        r"((?:姓名|联系人|车主|收件人|名字)\s*:\s*)(?![怎如能可在不没谁哪什否同变])" + rf"{_HAN}{{2,4}}{_WORD_END}",
        r"\1[NAME]",
    ),
    Rule(
        "name",
        "我是|本人|姓名|联系人|车主",
        rf"(我是|本人|(?:姓名|联系人|车主)[是 ]?)(?!(?:{_NO_NAME}){_WORD_END}){_SURNAME}"
        rf"(?:(?![{_NO_GIVEN_NAME}]){_HAN}){{1,2}}(?={_WORD_END}|电话|手机|加我)",
        r"\1[NAME]",
    ),
    Rule(
        "name",
        "先生|女士|小姐|师傅|太太|老师|经理",
        rf"{_SURNAME}(?:(?![{_NO_GIVEN_NAME}]){_HAN}){{0,2}}(先生|女士|小姐|师傅|太太|老师|经理)",
        r"[NAME]\1",
    ),
    Rule(
        "name",
        "(?i)my name|call me|called",
        r"(?i)(?<![a-z])(my name(?: is|['’]s)|i am called|call me)\s+(?!(?:not|on|in|wrong|shown|displayed|missing)\b)"
        r"(?:(?-i:[A-Z][a-z]+)(?:[- ](?-i:[A-Z][a-z]+)){0,2}|[a-z]+(?: [a-z]+(?=\s*(?:[,.!?;]|$)))?)",
        r"\1 [NAME]",
    ),
    Rule(
        "name",
        "(?i)this is|i am|i['’]m",
        rf"(?i)(?<![a-z])(this is|i am|i['’]m)\s+(?:(?:mr|mrs|ms|miss|dr)\b\.?\s*{_ENGLISH}(?: {_ENGLISH})?"
        rf"|(?!(?-i:{_NO_ENGLISH_NAME})\b){_ENGLISH}(?: {_ENGLISH})?{_ENGLISH_END})",
        r"\1 [NAME]",
    ),
)
PLACEHOLDER = r"\[(?:EMAIL|ID|VIN|PLATE|PHONE|ACCOUNT|NAME)\]"
_RANGE = re.compile(r"[1-9]\d*00 ?- ?[1-9]\d*00")
"""`15000-200000` kilometres would be a valid mobile number."""


def redact(texts: pl.Series, *, region: str) -> pl.DataFrame:
    """Columns text (NFKC, without invisible characters and personal data) and redactions (how many), order kept.

    region: where telephone numbers without a country code belong, as in ISO 3166 (`CN`). Raises SettingsError when
    there is no such region.
    """
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise SettingsError(f"setting queries.phone_region is {region!r}, expected a region of ISO 3166 such as CN")
    clean = texts.cast(pl.String).str.normalize("NFKC").str.replace_all(r"\p{Cf}", "").alias("text")
    counts = [0] * len(clean)
    for rule in RULES:
        pattern = re.compile(rule.pattern)
        for row in clean.str.contains(rule.suspects).arg_true().to_list():
            text, found = pattern.subn(rule.replacement, clean[row])
            if found:
                clean[row] = text
                counts[row] += found
    for row in clean.str.contains(_SEVEN_DIGITS).arg_true().to_list():
        text, found = _telephones(clean[row], region)
        if found:
            clean[row] = text
            counts[row] += found
    return pl.DataFrame({"text": clean, "redactions": pl.Series(counts, dtype=pl.Int32)})


def _telephones(text: str, region: str) -> tuple[str, int]:
    matches = [m for m in phonenumbers.PhoneNumberMatcher(text, region) if _is_telephone(m, region)]
    for match in reversed(matches):
        text = text[: match.start] + "[PHONE]" + text[match.end :]
    return text, len(matches)


def _is_telephone(match: phonenumbers.PhoneNumberMatch, region: str) -> bool:
    """A landline without its trunk prefix cannot be told from a range of kilometres, so it has to have one."""
    raw = match.raw_string
    if raw[0] in "+(" or raw.startswith("00"):
        return True
    trunk = phonenumbers.ndd_prefix_for_region(region, True)
    landline = phonenumbers.number_type(match.number) == phonenumbers.PhoneNumberType.FIXED_LINE
    return not _RANGE.fullmatch(raw) and (not landline or not trunk or raw.startswith(trunk))
