"""A line as it was typed, as words from left to right: without what phones and word processors made of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_ECHO = 40
"""Characters of what was typed that one part of an answer repeats; no answer has more than two such parts."""
BECAUSE = frozenset({"because", "because:", "-", "--"})
"""Words after which everything is the reason; a lone dash is how people separate one."""


def unescaped(text: str) -> str:
    """What was typed, from what Slack delivers: it escapes these three and nothing else."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def escaped(text: str) -> str:
    """What Slack would deliver of a line with this in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def normalised(text: str) -> str:
    """The words as they are compared: without what copy and paste, phones and word processors made of them."""
    return " ".join(word.text for word in _words(text))


@dataclass(frozen=True)
class _Word:
    """``start`` is its place in the text as typed, where a reason may begin."""

    text: str
    start: int


_ZERO_WIDTH = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
QUOTES = "\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u00b4\uff02\uff07\uff40"
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in _DASHES + QUOTES}
_AS_TYPED_BY_HAND = {**_FULL_WIDTH, **dict.fromkeys(map(ord, _ZERO_WIDTH))}
_LEADING_DASHES = re.compile(rf"-*[{_DASHES}][-{_DASHES}]*")
_ONE_DASH = re.compile(rf"[{_DASHES}]")


def _words(text: str) -> list[_Word]:
    found = (_Word(_plain(match[0]), match.start()) for match in re.finditer(r"\S+", text))
    return [word for word in found if word.text]


def _plain(word: str) -> str:
    word = word.translate(_AS_TYPED_BY_HAND).strip(QUOTES)
    word = _LEADING_DASHES.sub("--", word, count=1) if _LEADING_DASHES.match(word) else word
    return _ONE_DASH.sub("-", word).lower()


class Line:
    """The words from left to right, and in ``said`` what was understood so far."""

    def __init__(self, text: str, clusters: Sequence[str]) -> None:
        self._text = text
        self._words = _words(text)
        self._at = 0
        self.clusters = {name.lower(): name for name in clusters}
        self.said: list[str] = []

    @property
    def ended(self) -> bool:
        return self._at >= len(self._words)

    @property
    def next(self) -> str:
        """The next word, empty at the end."""
        return "" if self.ended else self._words[self._at].text

    @property
    def reason_begins(self) -> bool:
        """Whether no argument is left."""
        return self.ended or self.next in BECAUSE

    @property
    def verb(self) -> str:
        """The command whose arguments are being read, also within a plan."""
        return self.said[1] if self.said[0] == "plan" else self.said[0]

    def skip(self) -> None:
        self._at += 1

    def take(self, understood: str) -> None:
        """The next word was understood as this."""
        self.said.append(understood)
        self.skip()

    def rest(self) -> str:
        """All that is left, as it was typed."""
        return "" if self.ended else self._text[self._words[self._at].start :].strip().strip(_ZERO_WIDTH).strip()

    def after_next(self) -> list[str]:
        return [word.text for word in self._words[self._at + 1 :]]


def echo(text: str) -> str:
    """A little of what was typed, on one line, to say which part is meant."""
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).replace("`", "'").split())
    return text if len(text) <= LONGEST_ECHO else f"{text[: LONGEST_ECHO - 1]}…"
