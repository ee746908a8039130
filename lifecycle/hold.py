"""A hold: nothing begins on a cluster until somebody lets go, whoever asks and whichever clock says so."""

from dataclasses import dataclass
from datetime import datetime

from lifecycle.errors import Refused
from lifecycle.model import Person, Place


@dataclass(frozen=True)
class Hold:
    """Who holds a cluster, since when and why; one that was let go says by whom and when."""

    id: str
    cluster: str
    person: Person
    place: Place
    reason: str
    since: datetime
    released_at: datetime | None = None
    released_by: Person | None = None


class ClusterHeld(Refused):
    """Somebody holds the cluster: what runs goes on, and nothing else begins."""

    code = "held"

    def __init__(self, hold: Hold) -> None:
        super().__init__(
            f"{hold.cluster} is held ({hold.id}): {hold.reason.rstrip('.')}. Nothing begins on it until somebody lets "
            f"go: `/tml release {hold.cluster}`."
        )
        self.hold = hold


class NotHeld(Refused):
    """There is nothing to let go."""

    code = "not-held"

    def __init__(self, cluster: str) -> None:
        super().__init__(f"{cluster} is not held: there is nothing to let go.")
