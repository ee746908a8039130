"""What can be asked for, and nothing about the words for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lifecycle.model import Component
from lifecycle.snapshots import Temperature


@dataclass(frozen=True)
class Help:
    """Show what can be typed."""


@dataclass(frozen=True)
class List:
    """Show the clusters."""


@dataclass(frozen=True)
class Status:
    """Look at one cluster."""

    cluster: str


@dataclass(frozen=True)
class Stop:
    """Take a cluster down, its volumes kept; ``removes``: its objects go, too.

    ``snapshot``, and ``keeps_services`` of one that removes: None is as the cluster's configuration says.
    """

    cluster: str
    reason: str = ""
    snapshot: bool | None = None
    removes: bool = False
    keeps_services: bool | None = None


@dataclass(frozen=True)
class Start:
    """``counts`` are the replicas that were typed; 0 leaves a component down.

    ``overwrites``: what is otherwise than it was when it was removed becomes so again.
    """

    cluster: str
    reason: str = ""
    counts: Mapping[Component, int] = field(default_factory=dict)
    overwrites: bool = False


@dataclass(frozen=True)
class Restart:
    """``component`` None: all of them."""

    cluster: str
    component: Component | None = None
    downtime: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Delete:
    """Take a cluster away, its data kept; ``keeps_services`` None: as the cluster's configuration says."""

    cluster: str
    keeps_services: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class Restore:
    """Bring back what the last delete took away, or go back to a set; ``of`` is the set's id, empty: kept volumes."""

    cluster: str
    of: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Snapshot:
    """Cut a snapshot set; ``temperature`` None: asked for where it makes a difference."""

    cluster: str
    temperature: Temperature | None = None
    reason: str = ""


@dataclass(frozen=True)
class Verify:
    """Test that a snapshot set can be restored; ``set`` None: the newest."""

    cluster: str
    set: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Purge:
    """Let go for good what is kept and nobody needs."""

    cluster: str
    reason: str = ""


Change = Stop | Start | Restart | Delete | Restore | Snapshot | Verify | Purge


@dataclass(frozen=True)
class PlanOf:
    """Show what the command would do, and change nothing; a reason typed along is dropped."""

    change: Change

    @property
    def cluster(self) -> str:
        return self.change.cluster


@dataclass(frozen=True)
class Approve:
    """``name`` is the cluster's, typed once more by whoever approves."""

    approval: str
    name: str


@dataclass(frozen=True)
class Deny:
    """The no of one who may approve."""

    approval: str
    reason: str = ""


@dataclass(frozen=True)
class Withdraw:
    """The requester's own no."""

    approval: str


@dataclass(frozen=True)
class Approvals:
    """Show what waits for a second person."""


@dataclass(frozen=True)
class Cancel:
    """End what runs where it is: the operation of this id, or the one that runs on the cluster."""

    operation: str | None = None
    cluster: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Hold:
    """Let nothing begin on the cluster."""

    cluster: str
    reason: str


@dataclass(frozen=True)
class Release:
    """Let go of it."""

    cluster: str


@dataclass(frozen=True)
class History:
    """``cluster`` None: of all clusters."""

    cluster: str | None = None


@dataclass(frozen=True)
class Snapshots:
    """Show the cluster's snapshot sets."""

    cluster: str


@dataclass(frozen=True)
class Whoami:
    """Show who Slack says one is, and what one may do."""


Command = (
    Help
    | List
    | Status
    | PlanOf
    | Change
    | Cancel
    | Hold
    | Release
    | Approve
    | Deny
    | Withdraw
    | Approvals
    | History
    | Snapshots
    | Whoami
)
