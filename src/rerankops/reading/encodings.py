"""Lines of text whose encoding is not stated: UTF-8 with or without a byte order mark, UTF-16, GB18030.

The first line that is not plain ASCII decides, together with the lines after it. A line that is not in the encoding of
most lines is unusable; the others are read.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import Any

from charset_normalizer import from_bytes

from rerankops.reading.places import Refused, Unfit

UTF_8, GB = "utf-8", "gb18030"
_BOMS = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""UTF-32 comes before UTF-16: its little-endian mark begins with that of UTF-16."""
_BLOCK = 2**16
_COMMON = 0.9
"""Share of characters in GB 2312 from which text counts as Chinese: other encodings read as GB18030 give rare
characters."""
_ALTERNATIVES = [GB, "big5", "shift_jis", "euc_kr", "cp1252", "cp1251"]

Line = tuple[int, "str | Unfit", str]
"""Line number, the text (or why there is none), and what messages may show of it."""


class LineReader:
    """Lines of a stream, numbered from 1, with their line ends, one in memory at a time.

    encoding: `auto`, or a codec's name. longest: the longest line, in characters (in bytes before decoding); a longer
    line is unusable. Raises Refused when the encoding is unknown or the stream ends early.
    """

    def __init__(self, stream: io.BufferedReader[Any], encoding: str, longest: int) -> None:
        self._stream, self._longest = stream, longest
        self.encoding: str | None = None
        """None: only ASCII so far."""
        if encoding != "auto":
            try:
                self.encoding = codecs.lookup(encoding).name
            except LookupError:
                raise Refused("unknown encoding", f"reading.encoding is {encoding!r}, which is no codec") from None
        head = stream.peek(_BLOCK)[:_BLOCK]
        mark = next(((mark, name) for mark, name in _BOMS if head.startswith(mark)), None)
        if mark is not None:
            stream.read(len(mark[0]))
            self.encoding = mark[1]
        elif encoding == "auto":
            self.encoding = _without_mark(head)
        self._old_ends = b"\r" in head and b"\n" not in head  # as on the first Macintosh

    def __iter__(self) -> Iterator[Line]:
        if self.encoding and self.encoding.startswith(("utf-16", "utf-32")):
            yield from self._wide()
            return
        number = 0
        for data in self._pieces():
            number += 1
            if data is None:
                words = (
                    f"the line is longer than {self._longest:,} bytes; split it, or raise reading.max_line_characters"
                )
                yield number, Unfit("an over-long line", words), ""
                continue
            yield (number, *self._decoded(data))

    def _pieces(self) -> Iterator[bytes | None]:
        """The lines; None for a line that is too long, which is skipped."""
        while data := self._stream.readline(self._longest + 1):
            if len(data) <= self._longest or data.endswith(b"\n"):
                if self._old_ends and b"\r" in data:
                    yield from (part for part in data.splitlines(keepends=True))
                else:
                    yield data
                continue
            while data and not data.endswith(b"\n"):
                data = self._stream.readline(_BLOCK)
            yield None

    def _decoded(self, data: bytes) -> tuple[str | Unfit, str]:
        if self.encoding is None and not data.isascii():
            self.encoding = _encoding_of(data + self._stream.peek(_BLOCK)[:_BLOCK])
        try:
            text = data.decode(self.encoding or UTF_8)
        except UnicodeDecodeError as error:
            shown = data.decode(self.encoding or UTF_8, errors="backslashreplace")
            return _undecodable(data, self.encoding or UTF_8, error), shown
        if "\0" in text:
            return Unfit("a null byte", "holds a null byte, which is no text; was the file cut or overwritten?"), text
        return text, text

    def _wide(self) -> Iterator[Line]:
        """Lines of UTF-16 and UTF-32, whose line ends are several bytes long."""
        decoder = codecs.getincrementaldecoder(str(self.encoding))("surrogatepass")
        number, rest, over = 1, "", False
        while True:
            data = self._stream.read(_BLOCK)
            try:
                rest += decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise Refused("damaged text", f"is no {self.encoding} ({error.reason}); is it complete?") from error
            *lines, rest = rest.split("\n")
            for line in [f"{line}\n" for line in lines] + ([rest] if not data and rest else []):
                yield (number, *self._checked(line, over))
                number, over = number + 1, False
            if not data:
                return
            if len(rest) > self._longest:
                rest, over = "", True

    def _checked(self, line: str, over: bool) -> tuple[str | Unfit, str]:
        if over or len(line) > self._longest:
            return Unfit("an over-long line", "the line is too long; raise reading.max_line_characters"), ""
        try:
            line.encode()
        except UnicodeEncodeError:
            words = f"holds half of a surrogate pair, which is no text in {self.encoding}"
            return Unfit("a damaged character", words), line
        return line, line


def decoded(data: bytes, encoding: str) -> str:
    """The text of a document that is read at once. Raises Refused when it is not text in the encoding (`auto`: the
    detected one)."""
    reader = LineReader(io.BufferedReader(io.BytesIO(data)), encoding, len(data) + 1)
    parts = []
    for number, text, _ in reader:
        if isinstance(text, Unfit):
            raise Refused(text.kind, f"line {number} {text}")
        parts.append(text)
    return "".join(parts)


def _without_mark(head: bytes) -> str | None:
    """UTF-16 without a mark, recognised by the null bytes of its ASCII characters; None if there is no sign of it."""
    sample = head[: len(head) // 2 * 2]
    pairs = len(sample) // 2
    if pairs < 2 or b"\0" not in sample:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > pairs / 4 and not even:
        return "utf-16-le"
    return "utf-16-be" if even > pairs / 4 and not odd else None


def _encoding_of(block: bytes) -> str:
    """UTF-8 or GB18030: the encoding of most of the lines that are not plain ASCII. UTF-8 when they are in neither."""
    lines = [line for line in block.split(b"\n")[: _lines(block)] if not line.isascii()] or [block]
    if 2 * sum(_reads(line, UTF_8) for line in lines) >= len(lines):
        return UTF_8
    chinese = b"\n".join(line for line in lines if _reads(line, GB))
    return GB if 2 * chinese.count(b"\n") + 2 > len(lines) and chinese and is_chinese(chinese) else UTF_8


def is_chinese(data: bytes) -> bool:
    """Whether bytes that GB18030 can decode are Chinese, and not text in another encoding."""
    foreign = [letter for letter in data.decode(GB) if ord(letter) >= 0x80]
    common = sum(_reads_as_gb2312(letter) for letter in foreign)
    if common >= _COMMON * len(foreign):
        return True
    return _looks_like(data) == GB


def _lines(block: bytes) -> int | None:
    """How many pieces of a block are whole lines: all but the last, which may be cut."""
    return None if block.endswith(b"\n") or len(block) < _BLOCK else -1


def _reads(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _reads_as_gb2312(letter: str) -> bool:
    try:
        letter.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def _looks_like(data: bytes) -> str | None:
    best = from_bytes(data, cp_isolation=_ALTERNATIVES).best()
    return None if best is None else best.encoding


def _undecodable(data: bytes, encoding: str, error: UnicodeDecodeError) -> Unfit:
    guess = _looks_like(data)
    maybe = f"; it may be {guess}" if guess and guess != encoding else ""
    wanted = "UTF-8 nor GB18030" if encoding == UTF_8 else encoding
    neither = "neither " if encoding == UTF_8 else "not "
    return Unfit(
        f"not {encoding}",
        f"byte 0x{data[error.start]:02x} at {error.start} is {neither}{wanted}{maybe}; save the file as UTF-8, or set "
        "reading.encoding",
    )
