"""The copy of a text that is searched, and the way back to the original.

People write 138 1234 5678 with full-width or circled digits, with invisible characters or accents in between, with
Cyrillic letters that look Latin. The copy has the plain character for each of these, and maps each of its characters to
the original. All rows of a batch form one text with a line feed between rows, so that each expression runs over the
batch once.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import re2

from rerankops.privacy.kinds import PLACEHOLDER

ROW_END = "\n"
TAKEN = "\x01"
"""Stands for what is removed, now or before the text came: no expression matches it."""

_NUMERALS = {
    c: digit
    for digit, characters in enumerate(
        ("零〇", "一壹弌幺", "二贰貳弍", "三叁參叄", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖")
    )
    for c in characters
}
_LOOK_ALIKES = dict(
    zip(
        "АВЕКМНОРСТУХІЈЅавекмнорстухіјѕԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοιν",
        "ABEKMHOPCTYXIJSabekmhopctyxijsdqwABEZHIKMNOPTYXoiv",
        strict=True,
    )
)
_SAME_SIGN = {
    c: sign
    for sign, characters in {
        ".": "。｡․",
        "·": "•‧∙⋅●・･",
        "-": "−─━ーｰ",
        "~": "〜∼",
        "/": "⁄∕╱",
        ",": "、",
        ":": "∶",
        "(": "【〔「『《〈〖",
        ")": "】〕」』》〉〗",
        "'": "‘’ʼ",
        '"': "“”„",
    }.items()
    for c in characters
}
_INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0\u2800\u034f"
"""Fillers that Unicode classifies as letters or signs."""
_PLACEHOLDER = re2.compile(PLACEHOLDER)
_SIZE = 0x110000
_GAP_SIGN = ord("*")
_IDEOGRAPHS = 0x2E80


class _Table:
    """What each character becomes, computed when the character is first met."""

    def __init__(self) -> None:
        self.known = np.zeros(_SIZE, dtype=bool)
        self.length = np.zeros(_SIZE, dtype=np.uint8)  # number of characters it becomes
        self.start = np.zeros(_SIZE, dtype=np.int32)  # where they are in `pool`
        self.kind = np.zeros(_SIZE, dtype=np.uint8)  # for a character of the copy: what it is among digits
        self.pool: list[int] = []

    def learn(self, codes: np.ndarray) -> None:
        new = np.unique(codes[~self.known[codes]]).tolist()
        for code in new:
            became = _folded(chr(code))
            self.length[code], self.start[code] = len(became), len(self.pool)
            self.pool.extend(map(ord, became))
            for character in became:
                self.kind[ord(character)] = _among_digits(character)
            self.known[code] = True


_TABLE = _Table()


@dataclass
class Folded:
    """A batch of texts in its searchable form.

    plain: the copy. encoded: the copy in UTF-8. digits: one byte for each character of the copy: its digit, `a` for a
    letter, an ASCII sign for itself and `*` for other signs. origin: the position of each character in the joined
    original, and one more for the end. at: the index of the character for each byte of `encoded`.
    """

    codes: np.ndarray
    digits: bytearray
    origin: np.ndarray
    plain: str
    encoded: bytes
    at: np.ndarray

    def take(self, spans: list[tuple[int, int]]) -> None:
        """Hides these spans from later expressions."""
        if not spans:
            return
        for start, stop in spans:
            self.codes[start:stop] = ord(TAKEN)
            self.digits[start:stop] = b"a" * (stop - start)
        self.refresh()

    def refresh(self) -> None:
        self.plain = self.codes.tobytes().decode("utf-32-le")
        self.encoded = self.plain.encode()
        heads = (np.frombuffer(self.encoded, dtype=np.uint8) & 0xC0) != 0x80
        self.at = np.append(np.cumsum(heads, dtype=np.int32) - 1, len(self.codes))

    def before(self, start: int, length: int) -> str:
        """The text before a position in its row, at most `length` characters."""
        return self.plain[max(0, start - length) : start].rpartition(ROW_END)[2]

    def after(self, stop: int, length: int) -> str:
        return self.plain[stop : stop + length].partition(ROW_END)[0]

    def row(self, place: int) -> tuple[int, int]:
        """The row around a position, without its line feed."""
        stop = self.plain.find(ROW_END, place)
        return self.plain.rfind(ROW_END, 0, place) + 1, len(self.plain) if stop < 0 else stop

    def original(self, start: int, stop: int) -> tuple[int, int]:
        """The span of the joined original for a span of the copy, including invisible characters after it."""
        return int(self.origin[start]), max(int(self.origin[stop]), int(self.origin[stop - 1]) + 1)


def fold(joined: str, ends: np.ndarray) -> Folded:
    """The searchable form of a batch. joined: the texts with a line feed after each; ends: positions of those line
    feeds."""
    source = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32)
    _TABLE.learn(source)
    lengths = _TABLE.length[source]
    lengths[ends] = 1
    pool = np.array(_TABLE.pool, dtype=np.uint32)
    if (lengths == 1).all():
        origin = np.arange(len(source))
        codes, first_of = pool[np.minimum(_TABLE.start[source], len(pool) - 1)], ends
    else:
        wide = lengths.astype(np.int64)
        first = np.cumsum(wide) - wide
        origin = np.repeat(np.arange(len(source)), wide)
        within = np.arange(len(origin)) - first[origin]
        codes, first_of = pool[np.minimum(_TABLE.start[source[origin]] + within, len(pool) - 1)], first[ends]
    codes[first_of] = ord(ROW_END)
    kinds = _TABLE.kind[codes]
    kinds[first_of] = ord(ROW_END)
    _look_alike_digits(codes, kinds)
    digits = bytearray(kinds.tobytes())
    folded = Folded(codes, digits, np.append(origin, len(source)), "", b"", np.empty(0, dtype=np.int32))
    folded.refresh()
    if "[" in joined:
        found = _PLACEHOLDER.finditer(folded.encoded)
        folded.take([(int(folded.at[m.start()]), int(folded.at[m.end()])) for m in found])
    return folded


def _folded(character: str) -> str:
    """The characters that replace one in the search; empty when it is invisible."""
    if character in _SAME_SIGN:
        return _SAME_SIGN[character]
    if character in _LOOK_ALIKES:
        return _LOOK_ALIKES[character]
    category = unicodedata.category(character)
    if character.isspace() or category in ("Zs", "Zl", "Zp"):
        return " "
    if category in ("Cf", "Mn", "Me", "Cc", "Cn") or character in _INVISIBLE_LETTERS:
        return ""
    if category == "Pd":
        return "-"
    value = unicodedata.digit(character, None)
    if value is not None:
        return str(value)
    if category in ("So", "Sk", "Co", "Cs") and unicodedata.normalize("NFKD", character) == character:
        return "*"
    if "\uac00" <= character <= "\ud7a3":  # decomposition would turn a Korean syllable into three letters
        return character
    compatible = "".join(
        c for c in unicodedata.normalize("NFKD", character) if unicodedata.category(c) not in ("Mn", "Me", "Cf")
    )
    return "".join(_SAME_SIGN.get(c, " " if c.isspace() else c) for c in compatible)


def _among_digits(character: str) -> int:
    if character in _NUMERALS:
        return ord(str(_NUMERALS[character]))
    if character.isalpha() or character == TAKEN:
        return ord("a")
    return ord(character) if character.isascii() else _GAP_SIGN


def _look_alike_digits(codes: np.ndarray, kinds: np.ndarray) -> None:
    """Among digits, O, I and l are 0 and 1: where a run of such letters has a digit on one side and no other letter."""
    zero = (codes == ord("O")) | (codes == ord("o"))
    either = zero | (codes == ord("I")) | (codes == ord("l"))
    places = np.flatnonzero(either)
    if not len(places):
        return
    run_starts = places[np.append(True, np.diff(places) > 1)]
    run_stops = places[np.append(np.diff(places) > 1, True)] + 1
    left, right = np.maximum(run_starts - 1, 0), np.minimum(run_stops, len(codes) - 1)

    def is_digit(at: np.ndarray) -> np.ndarray:
        return np.asarray((kinds[at] >= ord("0")) & (kinds[at] <= ord("9")))

    def is_letter(at: np.ndarray) -> np.ndarray:
        return np.asarray((kinds[at] == ord("a")) & (codes[at] < _IDEOGRAPHS) & ~either[at])

    fits = (is_digit(left) | is_digit(right)) & ~is_letter(left) & ~is_letter(right) & (run_stops - run_starts <= 4)
    inside = np.zeros(len(codes) + 1, dtype=np.int8)
    inside[run_starts[fits]] += 1
    inside[run_stops[fits]] -= 1
    chosen = np.cumsum(inside[:-1], dtype=np.int8).astype(bool)
    kinds[chosen & zero] = ord("0")
    kinds[chosen & ~zero] = ord("1")
