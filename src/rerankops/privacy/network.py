"""Addresses of machines, and the numbers that devices carry."""

from __future__ import annotations

import re

from rerankops.privacy.checks import is_internet_address
from rerankops.privacy.folding import Folded
from rerankops.privacy.kinds import IP, MAC
from rerankops.privacy.rules import Rule

_ADDRESS_BEFORE = re.compile(
    r"(?i)(?:\bip\w*|地址|服务器|主机|网关|公网|内网|局域网|ping|host|server|address|dns)\W{0,4}(?:是|为|is)?\s*$"
)
_VERSION_BEFORE = re.compile(
    r"(?i)(?:版本号?|软件|固件|系统|车机|\bota|\bv|version|\bver|firmware|\bsw|build|release)[ .:号是为]{0,3}$"
)
_VERSION_AFTER = re.compile(r"(?i)\s*(?:版|升级|更新|固件|系统|release|firmware|version)")


def _is_ipv4(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """Four numbers up to 255 may be a software version: the words beside them decide, otherwise their size does."""
    parts = [int(p) for p in re.findall(r"\d+", folded.plain[start:stop])]
    around = folded.before(start, 2)[-1:] + folded.after(stop, 2)
    if max(parts) > 255 or re.match(r"\.?\d", folded.after(stop, 2)) or re.match(r"[.\d]", around):
        return None
    before = folded.before(start, 14)
    if _ADDRESS_BEFORE.search(before):
        return start, stop
    if _VERSION_BEFORE.search(before) or _VERSION_AFTER.match(folded.after(stop, 8)):
        return None
    return (start, stop) if max(parts) >= 100 or parts[0] in (10, 127) or parts[0] > 30 else None


def _is_ipv6(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    text = folded.plain[start:stop]
    if re.match(r"(?i)[0-9a-f:]", folded.after(stop, 1)):
        return None
    groups = [g for g in text.split(":") if g]
    return (start, stop) if len(groups) >= 2 and len(text) >= 7 and is_internet_address(text) else None


RULES: tuple[Rule, ...] = (
    Rule(MAC, r"(?i)\b([0-9a-f]{2}(?:[:-][0-9a-f]{2}){5})(?:$|[^0-9a-z:-])"),
    Rule(MAC, r"(?i)\b([0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4})\b"),
    Rule(MAC, r"(?i)(?:\bmac|物理地址|蓝牙地址)(?:地址|address|[ :是为]){0,4}([0-9a-f]{2}(?:[ :.-]?[0-9a-f]{2}){5})"),
    Rule(IP, r"(?i)(?:^|[^0-9a-z:.])((?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4})", _is_ipv6),
    Rule(IP, r"([0-9]{1,3}(?:(?:\[\.\]|\(\.\)|\.)[0-9]{1,3}){3})", _is_ipv4),
)
