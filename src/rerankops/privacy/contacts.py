"""E-mail addresses, including disguised ones, and messenger accounts."""

from __future__ import annotations

import re

from rerankops.privacy.folding import Folded
from rerankops.privacy.kinds import ACCOUNT, EMAIL
from rerankops.privacy.rules import Rule

_LABEL = r"(?:[A-Za-z0-9][A-Za-z0-9-]*|\p{Han}{1,10})"
_ENDING = r"(?:[A-Za-z]{2,24}|中国|公司|网络|网址|网站|集团|在线|中文网|商城|香港|台湾)"
_COMMON_ENDING = r"(?:com|cn|net|org|edu|gov|io|co|me|info|hk|tw|jp|kr|uk|de|fr|ru|example)\b"
_PROVIDER = (
    r"(?:gmail|googlemail|hotmail|outlook|live|msn|yahoo|ymail|icloud|aol|proton(?:mail)?|qq|foxmail|163|126|yeah|"
    r"sina|sohu|139|189|aliyun|tom|vip\.qq|vip\.163|naver|gmx|web|yandex|mail|example)"
)
_LOCAL = r"[\p{L}\p{N}][\p{L}\p{N}._%+'-]*"
_DOT = r"(?: ?\. ?| ?[(\[{<] ?(?:\.|dot|点) ?[)\]}>] ?| dot |点| 点 )"
_AT = r"(?: ?@ ?| ?[(\[{<] ?(?:at|a|@|艾特|圈a?) ?[)\]}>] ?| ?艾特 ?| ?圈a ?)"
_BEFORE_LOCAL = re.compile(
    r"^.*(?:邮箱|邮件|信箱|邮址|地址|发到|发给|发送|发往|发我|回复|联系|寄到|账号|帐号|绑定|e-?mail|[发给是到为我叫])(?=.)",
    re.IGNORECASE,
)
_AT_SIGN = re.compile(r"(?i) ?(?:[@#]|[(\[{<] ?(?:at|a|@|艾特|圈a?) ?[)\]}>]|艾特|圈a| at )")
_ASCII_TAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+'-]*$")


def _local_part(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """Chinese has no spaces: words that introduce the address stay, a Chinese name in the address goes."""
    text = folded.plain[start:stop]
    head = _AT_SIGN.split(text, maxsplit=1)[0]
    lead = _BEFORE_LOCAL.match(head)
    cut = lead.end() if lead else 0
    rest = head[cut:]
    tail = _ASCII_TAIL.search(rest)
    if tail and tail.start() > 6:
        cut += tail.start()
    return start + cut, stop


_NETWORKS = (
    r"微信|薇信|威信|徽信|围信|v信|卫星号|weixin|wechat|\bwx|\bvx|(?:加|\+)[vV]|\b[vV](?:信|号)?[:：]|加微|加个微|微[:：]|"
    r"抖音|快手|小红书|微博|支付宝|闲鱼|陌陌|钉钉|skype|\bline|telegram|\btg|whats ?app|twitter|instagram|facebook|snapchat|"
    r"discord|kakao(?:talk)?"
)
_NUMBERED = r"\bq ?q|扣扣|企鹅|球球|\bq号|q号|加q|\bicq"
_BETWEEN = r"(?:号码?|id|账号|帐号|同号|群号?|[ :=是为@(\"'-]| is ){0,6}"
_MAY_BE_A_WORD = 2.5
"""Zipf frequency (occurrences in a billion words, log10) from which letters alone count as a word."""


def _is_account(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """WeChat accounts begin with a letter. Letters alone count only after a sign that introduces an account, and only
    if they are not a word."""
    text = folded.plain[start:stop].rstrip("._-")
    stop = start + len(text)
    if len(text) < 5:
        return None
    digits = sum(c.isdigit() for c in text)
    if text[0].isdigit():
        return (start, stop) if digits == len(text) and digits >= 6 else None
    if digits or "_" in text:
        return start, stop
    from wordfreq import zipf_frequency  # loading takes a second, and few texts need it

    told = re.search(
        r"(?i)(?:号码?|id|账号|帐号|[:=是为@(\"'])\s*(?:is )?$|(?:^|[^a-z])[vw]x\s+$", folded.before(start, 12)
    )
    return (start, stop) if told and zipf_frequency(text, "en") < _MAY_BE_A_WORD else None


RULES: tuple[Rule, ...] = (
    Rule(EMAIL, rf"(\"[^\"\n]+\" ?@ ?{_LABEL}(?:\.{_LABEL})*\.{_ENDING})"),
    Rule(EMAIL, rf"(?i)({_LOCAL}{_AT}(?:{_LABEL}{_DOT})+{_ENDING})", _local_part),
    Rule(EMAIL, rf"(?i)({_LOCAL}{_AT}{_PROVIDER} ?[,·] ?{_COMMON_ENDING})", _local_part),
    Rule(EMAIL, rf"(?i)({_LOCAL} ?# ?{_PROVIDER}{_DOT}{_COMMON_ENDING})", _local_part),
    Rule(EMAIL, rf"(?i)({_LOCAL} at (?:{_LABEL}(?: dot |\.))*{_PROVIDER}(?: dot |\.){_COMMON_ENDING})", _local_part),
    Rule(EMAIL, rf"(?i)({_LOCAL} at (?:{_LABEL} dot )+[a-z]{{2,24}})\b", _local_part),
    Rule(EMAIL, r"\b([a-z0-9._]+AT[a-z0-9-]+DOT[a-z]{2,10})"),
    Rule(
        ACCOUNT,
        rf"(?i)(?:{_NUMBERED}){_BETWEEN}([1-9][0-9]{{4,11}}|[1-9](?: [0-9]){{5,11}})(?:$|[^0-9a-z])",
    ),
    Rule(ACCOUNT, rf"(?i)(?:{_NUMBERED}){_BETWEEN}([a-z][a-z0-9_.-]{{4,29}})", _is_account),
    Rule(ACCOUNT, rf"(?i)(?:{_NETWORKS}){_BETWEEN}([a-z0-9_][a-z0-9_.-]{{4,39}})", _is_account),
)
