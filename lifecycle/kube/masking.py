"""Logs and events as they may be shown: without what looks like a secret, and short."""

import re

LONGEST_LINE = 200
MASK = "***"

_NAME = (
    r"[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key)[\w.-]*"
)
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,;&]+)"""
_PATTERNS = (
    (re.compile(rf"""(?i)(["']?{_NAME}["']?\s*(?::=|=>|[:=])\s*){_VALUE}"""), rf"\1{MASK}"),
    (re.compile(rf"(?i)(--{_NAME}\s+){_VALUE}"), rf"\1{MASK}"),
    (re.compile(rf"(?i)(\bidentified\s+by\s+){_VALUE}"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}"), rf"\1{MASK}"),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+(@)"), rf"\1{MASK}\2"),
)


def masked(text: str) -> str:
    """With every value that is assigned to something called like a password replaced."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def shown(line: str, longest: int = LONGEST_LINE) -> str:
    """Masked first, then cut: half a password is not recognised any more."""
    whole = masked(line.rstrip())
    return whole if len(whole) <= longest else f"{whole[: longest - 1]}…"
