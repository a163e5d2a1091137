"""Names that the wording reveals: introductions, labels, relations, titles. This is the recogniser `rules`.

A surname after one of these is a name when jieba's word list and its hidden Markov model (rjieba) do not read an
ordinary word there: 我老公高兴坏了 does not contain a Mr Gao. Names without such words around them are not found; see
docs/privacy.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

from rerankops.privacy.folding import Folded
from rerankops.privacy.kinds import NAME
from rerankops.privacy.name_tables import (
    COMPOUND,
    MAKES,
    NO_ENGLISH_NAME,
    NO_GIVEN_NAME,
    NO_NAME,
    SURNAMES,
    TRANSLITERATED,
)
from rerankops.privacy.rules import Span, suspects

_NEAR, _REPEATS = 500, 20
"""Characters around a name in which it is looked for again, and the maximum number of repeats."""
_HAN = re.compile(r"[\u4e00-\u9fff]+")
_FUNCTION = frozenset(("d", "v", "p", "c", "r", "m", "f", "a", "u", "ul", "uj", "y", "q"))
"""jieba tags that a surname read alone does not have."""
_AFTER_NAME = r"(?=$|[^\u4e00-\u9fff]|[的在要想说问让叫是有和跟与开坐买修换给用也还已不把被能可会来去今昨刚帮]|怎|如何|请|你好|您好|电话|手机|反映|反馈|先生|女士|小姐|师傅|经理|推荐|预约|答应)"
_SURNAME = f"(?:{COMPOUND}|[{SURNAMES}])"
_GIVEN = rf"(?:(?![{NO_GIVEN_NAME}])[\u4e00-\u9fff])"
_STRONG = re.compile(
    rf"(?!(?:{NO_NAME}))(?:{_SURNAME}[\u4e00-\u9fff]{{1,2}}?(?=$|[^\u4e00-\u9fff]|怎|如何|请|想|问|[你您]好|[的在要有这吗能可是开买])"
    rf"|{_SURNAME}[\u4e00-\u9fff]{{1,2}})"
)
_UNUSUAL = re.compile(
    rf"(?![不你他她它了人车救拖道代一个什啥客来过保服小高醒动出])(?!(?:{NO_NAME})(?![\u4e00-\u9fff]))[\u4e00-\u9fff]{{2,4}}(?:·[\u4e00-\u9fff]{{2,6}})?(?![\u4e00-\u9fff])"
)
_ALL_THAT_IS_SAID = re.compile(
    rf"(?!(?:{NO_NAME})(?![\u4e00-\u9fff])){_SURNAME}{_GIVEN}{{1,2}}(?=$|[^\u4e00-\u9fff]|电话|手机|加我|先生|女士|小姐)"
)
_SURNAME_AND_GIVEN = re.compile(rf"{_SURNAME}名[\u4e00-\u9fff]{{1,2}}")
_LABELLED = re.compile(r"(?![怎如能可在不没谁哪什否同变])[\u4e00-\u9fff]{2,4}(?![\u4e00-\u9fff])")
_ENGLISH_WORD = r"[A-Z][a-z'’]*[a-z](?![A-Za-z])"
_ENGLISH = re.compile(
    rf"(?!(?:{NO_ENGLISH_NAME})\b)(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof)\.? )?(?:[A-Z]\.? ?)?{_ENGLISH_WORD}(?:[ -](?!(?:{NO_ENGLISH_NAME})\b)(?:[A-Z]\. ?)?{_ENGLISH_WORD}){{0,2}}"
)
_ENGLISH_ENDS = re.compile(
    r"\s*(?:[,.!?;:)]|$|(?:and|from|with|here|speaking|calling|drives?|wants?|asks?|said|says|about|is|has|bought|who)\b)"
)
_ANY_CASE = re.compile(
    r"(?!(?:not|on|in|wrong|shown|displayed|missing|the|a|an|my|is)\b)[a-z]+(?: [a-z]+(?=\s*(?:[,.!?;]|$)))?"
)


def find(folded: Folded, crowded: set[int]) -> list[Span]:
    """Names, and their other occurrences in the same row."""
    found = [
        Span(*place, NAME)
        for pattern, read in _READERS
        for suspect in suspects(pattern, folded, crowded)
        for place in read(folded, *suspect)
    ]
    return found + list(_again(folded, found))


def _again(folded: Folded, found: list[Span]) -> Iterator[Span]:
    seen: set[tuple[int, str]] = set()
    for span in found:
        name = folded.plain[span.start : span.stop]
        begin = max(folded.plain.rfind("\n", span.start - _NEAR, span.start) + 1, span.start - _NEAR, 0)
        if len(name) < 2 or (begin, name) in seen:
            continue
        seen.add((begin, name))
        end = folded.plain.find("\n", span.stop, span.stop + _NEAR)
        end = min(span.stop + _NEAR, len(folded.plain)) if end < 0 else end
        for match in itertools.islice(re.finditer(re.escape(name), folded.plain[begin:end]), _REPEATS):
            if begin + match.start() != span.start:
                yield Span(begin + match.start(), begin + match.end(), NAME)


def _introduced(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """After 我叫 and the like: any surname, and text that is not a word as a whole."""
    text = folded.after(stop, 12)
    match = _SURNAME_AND_GIVEN.match(text) or _STRONG.match(text) or _UNUSUAL.match(text) or _ENGLISH.match(text)
    if match:
        yield stop, stop + match.end()


def _labelled(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """After 联系人 and the like; after a colon, any two to four characters are a name."""
    text = folded.after(stop, 24)
    sign = re.match(r"(?:姓名|名字)?\s*(?:[:=]|\(|是|叫|为)?\s*", text)
    begin = sign.end() if sign else 0
    rest = text[begin:]
    if ":" in text[:begin] and (match := _LABELLED.match(rest) or _ENGLISH.match(rest)):
        yield stop + begin, stop + begin + match.end()
    elif length := _clause_long(rest) or _name_length(rest, " " in text[:begin] or "是" in text[:begin]):
        yield stop + begin, stop + begin + length


def _related(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    if length := _name_length(folded.after(stop, 12), False):
        yield stop, stop + length


def _said_to_be(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """After 我是 and 本人: a name, or 小王, 老张."""
    text = folded.after(stop, 12)
    short = re.match(rf"[老小阿](?!(?:{NO_NAME}))[\u4e00-\u9fff](?=$|[^\u4e00-\u9fff]|[的啊呀呢])", text)
    if short and (text[0] == "阿" or text[1] in SURNAMES):
        yield stop, stop + short.end()
    elif length := _clause_long(text) or _name_length(text, True):
        yield stop, stop + length


def _clause_long(text: str) -> int:
    """Length of a name that fills the whole clause, even if it is made of words; 0 if there is none."""
    match = _ALL_THAT_IS_SAID.match(text)
    return match.end() if match else 0


def _name_length(text: str, said: bool) -> int:
    """Length in characters of the Chinese name at the beginning, 0 if there is none. said: a name is likely here."""
    han = _HAN.match(text)
    dotted = re.match(rf"{TRANSLITERATED}{{2,6}}·{TRANSLITERATED}{{2,8}}", text)
    if dotted:
        return dotted.end()
    if not han or not re.match(rf"{_SURNAME}{_GIVEN}", text) or re.match(rf"(?:{NO_NAME})", text):
        return 0
    import rjieba  # loading takes a second, and few texts need it

    surname = 2 if re.match(COMPOUND, text) else 1
    words = rjieba.tag(han.group()[:8], True)
    word, tag = words[0]
    if (
        len(word) > 1
        and tag not in ("nr", "nrt", "nrfg", "x")
        and word != text[:surname]
        and not (
            said
            and len(word) == 2
            and tag in ("nz", "ns", "n")
            and re.match(_AFTER_NAME, text[2:])
            and word not in MAKES
        )
    ):
        return 0
    if len(word) == 1 and tag in _FUNCTION and not (len(words) > 1 and words[1][1] == "nr"):
        return 0
    if tag == "nr" and surname + 1 <= len(word) <= surname + 2 and re.match(_AFTER_NAME, text[len(word) :]):
        return len(word)
    for length in (surname + 2, surname + 1):
        if re.fullmatch(rf"{_SURNAME}{_GIVEN}{{1,2}}", text[:length]) and re.match(_AFTER_NAME, text[length:]):
            given = [w for w in words if w[0] in text[surname:length]]
            ordinary = [t for w, t in given if len(w) == length - surname and t in ("v", "d", "ad", "r", "c")]
            if not ordinary or said:
                return length
    return len(word) if tag == "nr" and len(word) in (surname + 1, surname + 2) and said else 0


def _titled(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Before 先生 and the like: a surname and up to two more characters."""
    before = folded.before(start, 4)
    han = re.search(r"[\u4e00-\u9fff]*$", before)
    if not han:
        return
    for length in (4, 3, 2, 1):
        text = han.group()[-length:]
        if (
            len(text) == length
            and re.fullmatch(rf"{_SURNAME}{_GIVEN}{{0,2}}", text)
            and not re.match(rf"(?:{NO_NAME})", text)
        ):
            if length > 1 and _is_word(text, folded.before(start, 8)):
                continue
            yield start - length, start
            return


def _is_word(text: str, before: str) -> bool:
    """Whether jieba reads words other than a name there, or 老 comes before it."""
    import rjieba

    words = rjieba.tag(text, True)
    return before[: -len(text)].endswith("老") or any(
        len(word) > 1 and tag not in ("nr", "nrt", "x") and text.startswith(word[:1]) for word, tag in words
    )


_COMMONEST = "王李张刘陈杨赵吴周徐孙朱胡郭何林罗郑梁"
_SHORT_BEFORE = re.compile(r"(?:^|[^\u4e00-\u9fff]|[找问给和跟是的让请叫我找个被把向对店])$")
_SHORT_AFTER = re.compile(r"(?:$|[^\u4e00-\u9fff]|[的说问让帮推要想您你反在来和跟给建修换开]|可以|能不)")


def _short_title(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """刘总, 周工, 王哥: a surname and one character, unless the context makes it a word (开关总成)."""
    if _SHORT_AFTER.match(folded.after(stop, 2)) and _SHORT_BEFORE.search(folded.before(start, 1)):
        import rjieba

        word = folded.plain[start:stop]
        if not re.match(rf"(?:{NO_NAME})", word) and not rjieba.has_word(word):
            yield start, stop


def _nickname(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """老张说, 小王的, 阿强: at the beginning of a clause, or after a word such as 找 or 问."""
    word = folded.plain[start:stop]
    if not re.match(r"(?:$|[^\u4e00-\u9fff]|[的说问让帮推要想您你反在来和跟给建修]|怎)", folded.after(stop, 2)):
        return
    if not _SHORT_BEFORE.search(folded.before(start, 1)) or re.match(rf"(?:{NO_NAME})", word[1:]):
        return
    import rjieba

    ordinary = word[0] == "小" and word[1] not in _COMMONEST and rjieba.has_word(word)
    if (word[0] == "阿" or word[1] in SURNAMES) and not ordinary:
        yield start, stop


def _dotted(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    if not any(make in folded.plain[start:stop] for make in MAKES.split("|")):
        yield start, stop


def _english(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """After Mr, my wife, regards: words with capitals."""
    match = _ENGLISH.match(folded.after(stop, 60))
    if match:
        yield stop, stop + match.end()


def _english_self(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """After I am, this is: words with capitals, followed by the end of the clause or by and, from, …"""
    text = folded.after(stop, 80)
    match = _ENGLISH.match(text)
    titled = match and re.match(r"(?:Mr|Mrs|Ms|Miss|Dr|Prof)\b", text)
    if match and (titled or _ENGLISH_ENDS.match(text[match.end() :])):
        yield stop, stop + match.end()


def _english_any(folded: Folded, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """After my name is: also without capitals."""
    text = folded.after(stop, 60)
    match = re.match(rf"{_ENGLISH_WORD}(?:[- ]{_ENGLISH_WORD}){{0,2}}", text) or _ANY_CASE.match(text)
    if match:
        yield stop, stop + match.end()


_RELATIVE = (
    r"(?:我|他|她|俺|咱)(?:的)?(?:老公|老婆|妻子|丈夫|爱人|媳妇儿?|先生|太太|对象|男友|女友|男朋友|女朋友|儿子|女儿|闺女|孩子|宝宝|爸爸?|妈妈?|"
    r"父亲|母亲|爷爷|奶奶|外公|外婆|姥姥|姥爷|岳父|岳母|公公|婆婆|哥哥?|弟弟?|姐姐?|妹妹?|姐夫|妹夫|嫂子|表[哥弟姐妹]|堂[哥弟姐妹]|"
    r"外甥女?|侄[子女]|孙[子女]|叔叔?|舅舅?|姑姑?|姨妈?|伯伯|邻居|同事|朋友|同学|室友|战友|领导|老板|客户|司机|徒弟)(?:叫|是)?"
)
_ROLE = (
    r"(?:联系人|车主|收件人|收货人|寄件人|投保人|被保险人|受益人|持卡人|驾驶人|驾驶员|司机|客户|用户|姓名|名字|本人|签名|签字|落款|经办人|负责人|"
    r"代理人|法人(?:代表)?|户主|租客|房东|乘客|患者|顾问|销售(?:顾问|员|经理)?|技师|售后(?:经理|顾问)?|客服(?:专员)?|维修工|店长|主管|经理|教练|主任|队长|聯絡人|車主)"
)
_READERS: tuple[tuple[str, Callable[[Folded, int, int], Iterator[tuple[int, int]]]], ...] = (
    (r"(我叫|我姓|免贵姓|(?:我的)?名字[是叫]|名叫|全名是?|真名是?|大名)", _introduced),
    (r"(我是|本人是?|这是|这里是|我姓)", _said_to_be),
    (_RELATIVE, _related),
    (_ROLE, _labelled),
    (
        r"(先生|女士|小姐|太太|师傅|老师|经理|医生|教授|律师|警官|主任|店长|顾问|阿姨|大哥|大姐|老板|同学|處長|師傅|經理)",
        _titled,
    ),
    (rf"([{SURNAMES}][总工哥姐叔姨局董导])", _short_title),
    (rf"([老小阿][{SURNAMES}强明华军伟龙勇杰亮平辉斌珍芳玲英梅兰红霞燕])", _nickname),
    (rf"({TRANSLITERATED}{{2,6}}·{TRANSLITERATED}{{2,8}}(?:·{TRANSLITERATED}{{2,8}})?)", _dotted),
    (r"(?:^|[^A-Za-z])((?:Mr|Mrs|Ms|Miss|Dr|Prof|Professor|Madam|Sir)\.? )", _english),
    (
        r"(?i)\bmy (?:wife|husband|son|daughter|mother|mom|mum|father|dad|brother|sister|friend|colleague|neighbou?r|boss|partner|"
        r"girlfriend|boyfriend|uncle|aunt|cousin|fianc[ée]e?|grand(?:ma|pa|mother|father))(?:,| is| named| called)? ",
        _english,
    ),
    (
        r"(?i)\b(?:(?:best|kind|warm) )?(?:regards|sincerely|cheers|signed|yours(?: truly)?|thanks|sent by)\s*[,:]\s*",
        _english,
    ),
    (
        r"(?i)\b(?:owner|customer|client|contact|driver|policy ?holder|insured|beneficiary|passenger|buyer|seller|advisor|technician|"
        r"(?:full |first |last |user)?name|attn|contact person)(?: name)? ?(?::| is| =) ?",
        _english,
    ),
    (r"(?i)\b(?:contact|ask for|speak to|talk to|call) ", _english_self),
    (
        r"(?i)(?:^|[^a-z])(?:my (?:full |first |last )?name(?: is|['’]s)|my (?:\w+)'s name is|i am called|call me|named) +",
        _english_any,
    ),
    (r"(?i)(?:^|[^a-z])(?:this is|i am|i['’]?m|it['’]s) +", _english_self),
)
