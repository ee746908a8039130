"""The check that shows whether a cluster has its API configuration: how it is run, and what came of it."""

from dataclasses import dataclass
from datetime import timedelta

from lifecycle.model import Component


@dataclass(frozen=True)
class Check:
    """A command in a ready pod of the component, which passes with exit code 0 and output that ``expects`` is found in.

    ``expects`` is a regular expression; ``container`` empty means the component's own. One try may take ``timeout``;
    it is repeated until it passes, or ``within`` is over.
    """

    component: Component
    command: tuple[str, ...]
    expects: str
    container: str = ""
    timeout: timedelta = timedelta(seconds=30)
    within: timedelta = timedelta(minutes=2)


@dataclass(frozen=True)
class Checked:
    """Whether the API configuration was SEEN; ``detail`` never holds anything of what the command wrote."""

    SEEN = "configuration seen: the check passed"
    NO_CHECK = "no check is configured"
    NOT_AS_EXPECTED = "the check does not find what it expects"
    FAILED = "the check fails"
    UNHEARD = "the check does not come to an end"
    NOT_RUN = "the check could not be run"
    FORBIDDEN = "there is no right to run the check"

    verdict: str
    detail: str = ""

    @property
    def is_seen(self) -> bool:
        return self.verdict == self.SEEN
