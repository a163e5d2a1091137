"""Detects whether the words around a place take back what it says: it is negated, only asked about, or said to be
unknown.

A negation reaches at most to the end of its clause. It does not reach across 的, a contrast or a second verb, and it
reaches a number only when nothing but a light verb stands between them (不是4.5L, not in 1875). Two negations cancel.
"""

from __future__ import annotations

import re

from rerankops.evaluation.normalise.segments import tagged, words

_HAN = re.compile("[\u3400-\u9fff]")
_CLAUSE = re.compile(r"[,;:!?。、\n()\[\]「」《》]|(?<!\d)\.|\.(?!\d)|--")
_SENTENCE = re.compile(r"[!?。;\n]|\.(?=\s|$)")


def objection(text: str, start: int, end: int, *, value: bool, negative: bool = False) -> str:
    """The reason why text[start:end] is not asserted; "" when it is. value: it is a quantity or a date. negative: the
    question asks what is not the case, so that a negation takes nothing back."""
    if _asked(text, start, end):
        return "asked: it stands in a question"
    if word := _unknown(text, start, end):
        return f'hedged: by "{word}"'
    if not negative and (word := _negated(text, start, value) or _excepted(text, start, end) or _denied(text, end)):
        return f'negated: by "{word}"'
    return ""


# -- negation ---------------------------------------------------------------------------------------------------------

_NEGATORS = frozenset(
    """
    不 没 没有 未 无 非 别 并非 并不 绝不 决不 绝非 从不 从未 尚未 未能 无法 未曾 不是 不会 不能 不可 不可以 不要
    不得 不宜 不应 不该 不应该 不用 不必 不需 不需要 不许 不准 禁止 避免 防止 杜绝 拒绝 不再 不让 不一定 未必
    不见得 缺乏 缺少 而非 既非 不在 不含 不带 不属 不属于 不等于 并没有 并未 毫无 均无 都不 也不 又不 还不 还没
    还没有 既不 不算 不为 不像 不给 不由 不想 不至于 不存在 不适合 不适用 不适于 谢绝 取消 不如""".split()  # noqa: SIM905 - a list of words
)
_GAP_STOPS = frozenset(
    """
    的 但 但是 而 而是 却 就 才 则 便 时 后 前 之后 之前 因为 所以 请 且 并且 若 如 如果 只 就是 即 即可 以免 才能
    只能""".split()  # noqa: SIM905 - a list of words
)
_LIGHT = frozenset(
    """
    是 为 需要 需 要 用 使用 有 会 能 能够 可以 可 支持 属于 在 于 到 得 让 被 把 由 以 出 生于 出生 出生于 发生
    发生在 配备 提供 采用 等于 达到 仅 只 超过 应 应该 该 应当 必须 允许 包含 包括 装有 设有 带有 具备 具有 适用
    适用于 适合 随便 直接 擅自 自行""".split()  # noqa: SIM905 - a list of words
)
_EN_NEGATORS = frozenset(
    """
    not never no without neither nor lacks lack lacking unable fails fail failed except excluding none rarely
    hardly refuses refused denied denies forbidden prohibited instead rather""".split()  # noqa: SIM905 - a list of words
)
_EN_NOT_NEGATING = re.compile(
    r"\b(?:no doubt|no matter|no wonder|not only|not just|not merely|not simply|not solely|not to mention|none other than"
    r"|nothing but|not until|not before|no\.? (?=\d)|no one but|not least|rather (?!than)|instead (?!of)|never before)",
    re.IGNORECASE,
)
_NO_OF_A_NAME = re.compile(r"(?<=\w )No\b")
"""The word "No" in a name: Court No 5, Faith No More."""
_EN_STOPS = frozenset(
    """
    but until unless because since although though that which who whom whose when while where if only just merely
    simply so then as after before and""".split()  # noqa: SIM905 - a list of words
)
_EN_LIGHT = frozenset(
    """
    is was are were be been being in at on to of about the a an for from by with have has had need needs take
    takes took use uses used do does did exactly born equal equals than can will""".split()  # noqa: SIM905 - a list of words
)


def _negated(text: str, start: int, value: bool) -> str:
    """The negation that governs the place; "" when there is none, or when two cancel."""
    clause = text[_clause_start(text, start) : start]
    if not clause.strip():
        return ""
    chinese = _HAN.search(clause) is not None
    found = _chinese_negations(clause, text[start : start + 8], value) if chinese else _english_negations(clause, value)
    return found[0] if len(found) % 2 else ""


def _chinese_negations(clause: str, ahead: str, value: bool) -> list[str]:
    before = [word for word in words(clause + ahead) if word.strip()]
    # segmented with what follows, so that 不同 is not split; then only what precedes the place is kept
    room, kept = len(clause.replace(" ", "").replace("\n", "")), []
    for word in before:
        if room <= 0:
            break
        kept.append(word[:room])
        room -= len(word.replace(" ", ""))
    found: list[str] = []
    gap: list[str] = []
    for place in range(len(kept) - 1, -1, -1):
        word = kept[place]
        if _is_negator(word, kept[place - 1] if place else "", kept[place + 1] if place + 1 < len(kept) else ""):
            found.append(word)
            gap = []
            continue
        gap.insert(0, word)
        if word in _GAP_STOPS or len(gap) > (2 if found else 5) or len("".join(gap)) > 10:
            break
        if value and word not in _LIGHT and not _is_verb(word):
            break
        if _verbs(gap) > 1:
            break
    return found


def _is_negator(word: str, before: str, after: str) -> bool:
    if word in ("不", "没") and before and after and before[-1] == after[0]:
        return False  # 能不能, 是不是: a question
    if word == "没有" and before == "有":
        return False
    return word in _NEGATORS


def _verbs(gap: list[str]) -> int:
    """The number of verbs that govern something of their own."""
    return sum(tag.startswith("v") and tag != "vn" and word not in _LIGHT for word, tag in tagged("".join(gap)))


def _is_verb(word: str) -> bool:
    return all(tag.startswith("v") for _, tag in tagged(word))


def _english_negations(clause: str, value: bool) -> list[str]:
    clause = _NO_OF_A_NAME.sub(" Nr", _EN_NOT_NEGATING.sub(" ", clause))
    found: list[str] = []
    gap = 0
    for word in reversed(re.findall(r"[A-Za-z0-9]+", clause.lower())):
        if word == "no" and gap > 2:
            break
        if word == "nor":
            return [*found, word]  # it belongs to a preceding "neither"
        if word in _EN_NEGATORS:
            found.append(word)
            gap = 0
            continue
        gap += word not in ("a", "an", "the")
        if word in _EN_STOPS or gap > (1 if found else 4) or (value and word not in _EN_LIGHT):
            break
    return found


_NEGATIVE = re.compile(
    r"不(?!同|仅|但|锈)|没有|无法|未(?!来)|禁止|避免|防止|拒绝|除了?[^。?]*外|\b(?:not|never|no|without|except|avoid|prohibited|forbidden|unable)\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"(.)[不没]\1|有没有|是否|要不要|可不可以|能不能")
"""Yes-or-no questions such as 能不能, in which 不 does not negate."""


def negative(question: str) -> bool:
    """Whether a question (rewritten as `tokens.read` rewrites texts) asks what is not the case: 哪些车型不支持…"""
    return _NEGATIVE.search(_AGAIN.sub("", question)) is not None


_EXCEPT = re.compile(r"除了?$")
_EXCEPT_END = re.compile(r"(?:[以之]?外),? ?[^。;\n]{0,12}?[均都皆全各]")


def _excepted(text: str, start: int, end: int) -> str:
    """The word that excludes the place, "" when none does: 除X外均支持 excludes X; 除X外, Y也支持 does not."""
    return "除" if _EXCEPT.search(text[max(0, start - 2) : start]) and _EXCEPT_END.match(text, end) else ""


_DENIED = re.compile(
    r"(?:的说法|的车型)?(?:都|均|也|则|就)?"
    r"(?:不是|并非|并不|不对|不正确|不准确|不行|不适用|不支持|是错误?的|有误|不可以(?:用|使用|加|添加|混用)?(?=[,。;!.\n]|$))"
    r"| (?:is|are|was|were) (?:\w+ly )?not (?:the|a|an|correct|right|true|it|available|supported|allowed|permitted|recommended"
    r"|used|suitable|valid|possible|in|on|what|where|who|one|included|required|needed)\b"
    r"| (?:is|are|was|were) (?:wrong|incorrect|false|forbidden|prohibited)\b",
    re.IGNORECASE,
)


def _denied(text: str, end: int) -> str:
    match = _DENIED.match(text, end)
    return match[0].strip() if match else ""


# -- questions and what is not known ----------------------------------------------------------------------------------


_ASKS = re.compile(r"(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|may|must)\b", re.IGNORECASE)


def _asked(text: str, start: int, end: int) -> bool:
    """Whether the place stands in the last clause of a yes-or-no question."""
    match = _SENTENCE.search(text, end)
    stop = match.start() if match else len(text)
    if "," in text[end:stop] or not ((match and match[0] == "?") or text[:stop].endswith("吗")):
        return False
    if _HAN.search(text[max(0, start - 8) : stop]):
        return True
    return _ASKS.match(text[_sentence(text, start, end)[0] : start + 5].lstrip()) is not None


_NOT_KNOWN = (
    r"(?:不能|不可以|未能|无法|没法|难以)从?[^,。;\n]{0,8}?(?:得知|看出|判断|确定|确认|知道)|"
    r"(?:不能|不可以|没有?|未能?|无法|不|难以|并未|尚未|没法|无从)(?:够|曾)?(?:明确|具体|清楚地?|直接)?"
    r"(?:说明|提到|提及|写明|注明|标明|确定|确认|知道|清楚|得知|判断|给出|规定|找到|透露|记载|查到|指出|指明|说清|谈到|涉及|告知|断定|肯定)"
    r"|(?:can|could|do|does|did|is|are|was|were|am)? ?(?:not|unable to|never) (?:\w+ly )?(?:be )?"
    r"(?:say|says|said|state|stated|mention|mentioned|specify|specified|know|known|tell|told|sure|certain|confirm|confirmed"
    r"|determine|determined|clear|indicate|indicated|find|found|give|given|guarantee|verify|answer|certain)\b"
    r"|\b(?:unclear|unknown|uncertain|unsure)\b"
)
_KNOWN_BEFORE = re.compile(rf"(?:{_NOT_KNOWN})(?P<gap>[^。!?;\n]*)$", re.IGNORECASE)
_WHETHER = re.compile(
    r"是否|是不是|到底|究竟|会不会|有没有|能不能|\bwhether\b|\bif\b|\bthat\b|\bhow\b|\bwhat\b", re.IGNORECASE
)
_KNOWN_AFTER = re.compile(
    r"不得而知|待确认|有待|说法不一|说法不同|各不相同|不一致|没有统一|尚无定论|无从得知|不好说|难说|说不准|不确定"
    r"|(?:无法|不可以|不能|未能?|尚未|难以|没有)(?:最终)?(?:确定|确认|判断|证实|核实|得知)|不太?清楚|我?不知道|拿不准|没有把握|仅供参考"
    r"|\b(?:not (?:quite |entirely |completely |too )?(?:sure|certain|clear|known|confirmed)|unclear|uncertain|unsure|disagree|disagrees|conflicting"
    r"|contradict\w*|inconsistent|can not (?:be )?(?:say|tell|confirm|determine|determined|confirmed|verify|verified)|do not know|no idea"
    r"|just a guess|only a guess)\b",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"但|不过|然而|可是|却|实际上|\bbut\b|\bhowever\b|\bthough\b|\bactually\b|\bexcept\b|\byet\b", re.IGNORECASE
)
_CONDITION = re.compile(
    r"如果|如若|如(?=[不无未])|若|假如|万一|当|一旦|\bif\b|\bwhen\b|\bin case\b|\bunless\b|时[, ]|的话", re.IGNORECASE
)


def _unknown(text: str, start: int, end: int) -> str:
    """The words in the sentence which say that this is not known; "" when there are none."""
    first, last = _sentence(text, start, end)
    before, after = text[first:start], text[end:last]
    if match := _KNOWN_BEFORE.search(before):
        gap = match["gap"]
        governs = _WHETHER.search(gap) is not None or (len(gap) <= 6 and not _CLAUSE.search(gap))
        clause = before[_clause_start(before, match.start()) : match.start()]
        if governs and not _CONTRAST.search(gap) and not _CONDITION.search(clause):
            return match[0][: len(match[0]) - len(gap)].strip()
    if match := _KNOWN_AFTER.search(after):
        gap = after[: match.start()]
        rest = after[match.end() : match.end() + 6]
        if (
            len(gap) <= 60
            and not _CONTRAST.search(gap[:-12])  # "…, but I do not know" takes back what it follows
            and not _CONDITION.search(gap[-12:])
            and not rest.startswith(("时", "的"))
        ):
            return match[0].strip()
    return ""


def _clause_start(text: str, place: int) -> int:
    """The position where the clause of a place begins."""
    begin = max(0, place - 120)
    found = [match.end() for match in _CLAUSE.finditer(text, begin, place) if match[0] != "、"]
    return found[-1] if found else begin


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    begin = max(0, start - 200)
    before = [match.end() for match in _SENTENCE.finditer(text, begin, start)]
    after = _SENTENCE.search(text, end)
    return (before[-1] if before else begin), (after.start() if after else len(text))
