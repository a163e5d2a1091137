"""Gives words with several spellings one of them (挡 and 档, colour and color), and each kind of negation one form.

无需, 不必 and 不用 become 不需要; 禁止, 请勿 and 不能 become 不可以; unsupported becomes not supported. So an accepted
"无需更换" is found in "不用更换", and a negation is always a token of its own.
"""

from __future__ import annotations

import re

_CHARACTERS = {"至": "到", "挡": "档", "煞": "刹", "帐": "账"}
_OUR = re.compile(
    r"^(col|hon|fav|neighb|harb|behavi|lab|flav|hum|rum|vap|arm|od|vig|sav|end|parl|rig|splend|tum|val)our", re.I
)
_ISE = re.compile(r"(?<=[a-z]{3})is(e[ds]?|ing|ations?|ers?)$")
_YSE = re.compile(r"(?<=[a-z]{3})ys(e[ds]?|ing|ers?)$")
_TRE = re.compile(r"^(cen|kilome|centime|millime|me|li|millili|thea|fib|meag|spec|sab)tre(s?|d)$")
_DOUBLED = re.compile(r"(?<=[aeiou])ll(ed|ing|er|ers)$")
_SPELLINGS = {
    "grey": "gray", "greys": "grays", "tyre": "tire", "tyres": "tires", "aluminium": "aluminum", "programme": "program",
    "programmes": "programs", "defence": "defense", "licence": "license", "offence": "offense", "catalogue": "catalog",
    "dialogue": "dialog", "analogue": "analog", "jewellery": "jewelry", "plough": "plow", "kerb": "curb",
    "mould": "mold", "sceptical": "skeptical", "cheque": "check", "storey": "story", "draught": "draft",
    "pyjamas": "pajamas", "grey-green": "gray-green", "moustache": "mustache", "fibre": "fiber", "fibres": "fibers",
    "disc": "disk", "discs": "disks", "okay": "ok", "first": "1st", "second": "2nd", "%": "percent",
}  # fmt: skip
_NOT_ISE = frozenset(
    """
    noise raise raised promise promised exercise surprise surprised advise precise otherwise""".split()  # noqa: SIM905 - a list of words
)


def spelled(word: str) -> str:
    """The lower-case spelling under which a word or a Chinese character is compared."""
    if not word.isascii():
        return _CHARACTERS.get(word) or word.lower()
    word = word.lower()
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    if len(word) < 5:
        return word
    if "our" in word:
        word = _OUR.sub(r"\1or", word)
    if word.endswith(("tre", "tres", "tred")):
        word = _TRE.sub(r"\1ter\2", word)
    if "is" in word and word not in _NOT_ISE:
        word = _ISE.sub(r"iz\1", word)
    if "ys" in word:
        word = _YSE.sub(r"yz\1", word)
    return _DOUBLED.sub(r"l\1", word) if "ll" in word else word


_MUST = re.compile("不得不|不能不|不可不(?!能)|必需(?=[^品]|$)")
_NEED_NOT = re.compile("无需要?|无须|毋须|毋需|不必要?(?![^的])|不必|不用|不需(?!要)|不须|用不着|没有?必要|无必要")
_MUST_NOT = re.compile(
    "(?:严令)?禁止|严禁|不许|不准(?!确)|请不要|请勿|切勿|切忌|勿(?=[^忘])|(?<!要)不要(?![紧求命])"
    "|(?<![舍巴恨怪由了])不得(?![不了已意])|不可以|不能够?(?!不)|不可(?![不能逆或思避多少靠缺知])|不宜|不应该?|不允许|不应当"
)
_HAVE_NOT = re.compile(
    "没有|没(?=[带配装])|未配备?|不配备|不带(?=[^来动])|不具备|不具有|并无|(?<=[车型款版配])无(?=[^线钥法论级人极])"
)
_HAVE = re.compile("配有|设有|带有|具有|拥有|备有|装有|配备有?|具备")
_UN = re.compile(r"(?<![A-Za-z-])un(?=(?:[a-z]{3,}(?:able|ible)|[a-z]{3,}ed)\b)(?!united|unit|until|under|uniq)", re.I)
_NON = re.compile(r"(?<![A-Za-z])non[- ](?=[a-z]{4,})", re.I)


_WEEKDAY = re.compile("(?:星期|礼拜|周)([一二三四五六])")
_SUNDAY = re.compile("(?:星期|礼拜|周)[日天](?![津气窗])")


def polarity(text: str) -> str:
    """The text with each kind of negation, each modal verb and each day of the week in one form."""
    if not text.isascii():
        text = _SUNDAY.sub("周日", _WEEKDAY.sub(r"周\1", text)) if re.search("星期|礼拜|周", text) else text
        if "不" in text or "必" in text:
            text = _MUST.sub("必须", text)
        text = _NEED_NOT.sub("不需要", text)
        text = _MUST_NOT.sub("不可以", text)
        text = _HAVE_NOT.sub("没有", text)
        text = _HAVE.sub("有", text)
    return _NON.sub("not ", _UN.sub("not ", text))


_SAME: tuple[tuple[str, ...], ...] = (
    ("可以", "能", "可", "能够", "允许", "行"),
    ("需要", "需", "须", "必须", "要"),
    ("没有", "无", "没"),
    ("是", "是的", "对", "正确"),
    ("yes", "yeah", "yep"),
    ("no", "nope"),
)
_SAME_AS = {one: several for several in _SAME for one in several}
POLAR = frozenset({*_SAME_AS, "不可以", "不需要", "不是", "不支持", "支持", "有", "不", "会", "不会", "否", "available", "supported",
    "not available", "not supported", "allowed", "not allowed", "可用", "不可用", "适用", "不适用", "true", "false", "possible"})  # fmt: skip
"""Answers that only affirm or deny; another part of an answer that says the opposite takes them back."""


def synonyms(polar: str) -> tuple[str, ...]:
    """An accepted answer, followed by words with the same meaning if it is a modal verb, a yes or a no."""
    return tuple(dict.fromkeys((polar, *_SAME_AS.get(polar, ()))))


_SEPARATOR = re.compile(r"[、;\n]|, |(?<=[\u3400-\u9fff]{2})[和与及](?=[\u3400-\u9fff]{2})| and | & ", re.IGNORECASE)


def listed(text: str) -> tuple[str, ...]:
    """The items of an accepted list (苹果、香蕉和梨); empty when the text is not a list, or is a whole sentence."""
    if len(text) > 80 or re.search("[。!?]", text):
        return ()
    items = tuple(item.strip() for item in _SEPARATOR.split(text))
    return items if len(items) > 1 and all(len(item) > 1 or item.isalnum() for item in items) else ()
