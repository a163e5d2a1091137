"""Passwords, tokens, keys and the secrets in URLs."""

from __future__ import annotations

import itertools
import re

from rerankops.privacy.folding import Folded
from rerankops.privacy.kinds import SECRET
from rerankops.privacy.rules import Rule

_PARAMETERS = (
    "token|key|sig|signature|auth|authorization|passw?o?r?d?|passwd|pwd|secret|session|sessionid|jsessionid|sid|code|"
    "jwt|otp|pin|ticket|phone|mobile|tel|e?mail|user|username|uid|userid|openid|unionid|name|idcard|vin|plate|cookie"
)
_WHAT = (
    "passwords?|passwd|pwd|passcode|pass ?phrase|secret|(?:access|refresh|api|auth|id|bearer|session)?[ _-]?token|"
    "api[ _-]?key|(?:access|private|secret|license|licence|product|windows|activation|serial)[ _-]?key|"
    "session[ _-]?id|jsessionid|phpsessid|cookie|otp|pin|cvv|cvc|"
    "密码|口令|秘钥|密钥|密匙|令牌|验证码|校验码|动态码|短信码|激活码|注册码|授权码|兑换码|取件码|邀请码|PIN ?码"
)
_PRINTABLE = r"[!#-&*-+./0-9:<-Z^-z~-]"
_YEAR_OR_COUNT = re.compile(r"\s*(?:年|款|位|个|次|版|天|分钟|公里|元)")


def _is_secret(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """A word alone (`password reset`) and a year or a count (密码2024款) are not secrets."""
    text = folded.plain[start:stop].rstrip(".:!")
    stop = start + len(text)
    number = any(c.isdigit() for c in text)
    told = folded.before(start, 1) in (":", "=") or folded.before(start, 2)[:1] in (":", "=")
    mixed = any(c.isupper() for c in text[1:]) and any(c.islower() for c in text)
    if (
        len(text) < 4
        or not (number or (told and mixed))
        or (text.isdigit() and _YEAR_OR_COUNT.match(folded.after(stop, 6)))
    ):
        return None
    return start, stop


def _is_random(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """Upper case, lower case and digits in no order: words and part numbers of that length do not look like this."""
    text = folded.plain[start:stop]
    kinds = ["0" if c.isdigit() else "a" if c.islower() else "A" for c in text if c.isalnum()]
    changes = sum(a != b for a, b in itertools.pairwise(kinds))
    return (start, stop) if set(kinds) == {"0", "a", "A"} and changes >= 8 else None


def _is_key(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """Groups as on licences: at least two of them mix letters and digits."""
    groups = folded.plain[start:stop].split("-")
    mixed = sum(any(c.isdigit() for c in g) and any(c.isalpha() for c in g) for g in groups)
    return (start, stop) if mixed >= 2 and len({len(g) for g in groups}) == 1 else None


RULES: tuple[Rule, ...] = (
    Rule(SECRET, r"-----BEGIN [A-Z ]{0,30}(?:KEY|CERTIFICATE)-----[^\n]*"),
    Rule(SECRET, r"\bssh-(?:rsa|ed25519|dss) +([A-Za-z0-9+/=]{16,})"),
    Rule(SECRET, r"://([^/\s:@\p{Han}]+:[^/\s@\p{Han}]+)@"),
    Rule(SECRET, rf"(?i)[?&#;](?:[a-z0-9]+[_.-])?(?:{_PARAMETERS})(?:[_.-][a-z0-9]+)?=([^&#\s\p{{Han}}\x01]+)"),
    Rule(SECRET, r"\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]{2,}){1,4}"),
    Rule(
        SECRET,
        r"(?:\b|_)(?:gh[oprsu]_|github_pat_|glpat-|gldt-|(?:sk|pk|rk)[-_](?:[a-z]+[-_])*|xox[a-z]-|ya29\.|hf_|npm_|pypi-|"
        r"dop_v1_|SG\.|AIza|AKIA|ASIA|LTAI|AKID|tvly-|r8_|sq0[a-z]{3}-|shp[a-z]{2}_|whsec_|EAAC)[A-Za-z0-9._-]{10,}",
    ),
    Rule(SECRET, r"(?i)\b(?:bearer|basic|digest)\s+([A-Za-z0-9+/_.~-]{12,}=*)"),
    Rule(SECRET, r"(?i)\b[0-9a-f]{32,}\b"),
    Rule(SECRET, r"\b[A-Z0-9]{4,6}(?:-[A-Z0-9]{4,6}){2,7}\b", _is_key),
    Rule(SECRET, r"\b[A-Za-z0-9_-]{22,}\b", _is_random),
    Rule(
        SECRET,
        rf"(?i)(?:{_WHAT})(?: ?(?:is|was|are|code|number|no\.?|号|是|为|:|=|\"|'|\(|->)){{0,3}} ?({_PRINTABLE}{{4,}})",
        _is_secret,
    ),
)
