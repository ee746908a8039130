"""How long the storage's controllers wait before they try again what failed."""

from sandbox.kubernetes.controllers.work import Key

FIRST = 1.0
"""Simulated seconds, as the external controllers' `--retry-interval-start`; it doubles with each failure."""
LONGEST = 300.0
"""Simulated seconds, as their `--retry-interval-max`."""


class Again(Exception):
    """What was tried did not work or is not over; the text is for a person who reads a log."""


class Retries:
    """Counts failures by object, as a rate limited work queue does."""

    def __init__(self) -> None:
        self._failures: dict[Key, int] = {}

    def after(self, key: Key) -> float:
        """One more failure: the simulated seconds to wait now."""
        failures = self._failures[key] = self._failures.get(key, -1) + 1
        return min(LONGEST, FIRST * 2.0**failures) if failures < 16 else LONGEST

    def forget(self, key: Key) -> None:
        """It worked, or there is nothing to do any more."""
        self._failures.pop(key, None)
