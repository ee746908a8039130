"""Who is let in to the desk: not more at once than can be answered, and nobody while the bot ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from lifecycle.errors import Refused

log = structlog.get_logger(__name__)

AT_ONCE = 100
"""Commands and clicks that are worked on at the same time; each may hold a picture of a cluster."""


class Restarting(Refused):
    """The process ends; the next one answers."""

    code = "restarting"

    def __init__(self) -> None:
        super().__init__("The bot is restarting. Type it again, or press it again, in a minute.")


class TooMany(Refused):
    """More is asked than can be answered: who is turned away at once can ask again, who waits for ever cannot."""

    code = "too-many"

    def __init__(self) -> None:
        super().__init__("The bot is asked too much at once. Type it again, or press it again, in a moment.")


class Reception:
    """Counts who is inside."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._room = at_once
        self._turned_away = 0
        self._closed = False

    def close(self) -> None:
        """From here on nobody is let in; who is inside is answered."""
        self._closed = True

    @contextmanager
    def let_in(self) -> Iterator[None]:
        """Raises Restarting and TooMany."""
        if self._closed:
            raise Restarting
        if self._room <= 0:
            self._turned_away += 1
            raise TooMany
        self._room -= 1
        try:
            yield
        finally:
            self._room += 1
            self._tell()

    def _tell(self) -> None:
        """Once for all that were turned away since: a line for each would be work at the wrong moment."""
        if self._turned_away:
            log.warning("asked too much at once", turned_away=self._turned_away)
            self._turned_away = 0
