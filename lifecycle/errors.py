"""Refusals are answers, errors are errors."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lifecycle.model import Target
    from lifecycle.operation import Operation
    from lifecycle.volumes import Claim


class Refused(Exception):
    """Turned down before anything changed. The text goes to the person word for word and says what to do."""

    code = "refused"
    aftermath = "Nothing was changed."


class AlreadyThere(Refused):
    """The cluster is where it is asked to go; ``last`` is the operation that brought it there, if it is known."""

    def __init__(self, message: str, last: "Operation | None" = None) -> None:
        super().__init__(message)
        self.last = last


class AlreadyStopped(AlreadyThere):
    """Nothing of the cluster is up."""

    code = "already-stopped"


class AlreadyRunning(AlreadyThere):
    """Everything that was asked for is up and ready."""

    code = "already-running"


class ClusterBusy(Refused):
    """Another operation on the cluster has not ended."""

    code = "cluster-busy"

    def __init__(self, cluster: str, operation: str | None = None) -> None:
        doing = f"{operation} is still running" if operation else "another operation is still running"
        super().__init__(f"{cluster} is busy: {doing}. Wait for it, or look with `/tml status {cluster}`.")
        self.cluster = cluster
        self.operation = operation


class NotCancellable(Refused):
    """What was to be cancelled has ended, or has to come to its end."""

    code = "not-cancellable"


class NothingFound(Refused):
    """The namespace holds no TML workload, or none that can be read; ``claims`` are those that were one's."""

    code = "nothing-found"

    def __init__(self, message: str, claims: "Sequence[Claim]" = ()) -> None:
        super().__init__(message)
        self.claims = tuple(claims)


class NoNamespace(Refused):
    """The cluster's namespace, or the one that its captures are copied to, is not there; the bot never makes one."""

    code = "no-namespace"

    def __init__(self, target: "Target", *, is_going: bool) -> None:
        where = f"kubectl --context {target.context}" if target.context else "kubectl"
        lead = f"There is no namespace {target.namespace}"
        if is_going:
            lead = f"Namespace {target.namespace} is being deleted; wait until it is gone"
        super().__init__(
            f"{lead}. The bot never makes one. Make it: `{where} create namespace {target.namespace}`, with what in it "
            "is yours (image pull secrets, service accounts, the bot's own roles: deploy/rbac), then ask again."
        )


class CountsUnknown(Refused):
    """Nobody remembers how many replicas a component had."""

    code = "counts-unknown"


class Deleted(Refused):
    """The bot deleted the cluster; ``removal`` is the operation that did, and that a restore undoes."""

    code = "deleted"

    def __init__(self, removal: "Operation") -> None:
        super().__init__(
            f"{removal.cluster} was deleted by {removal.id}. `/tml restore {removal.cluster}` brings it back."
        )
        self.removal = removal


class HalfDeleted(Refused):
    """A delete removed a part of the cluster, and no restore brought it back yet."""

    code = "half-deleted"

    def __init__(self, removal: "Operation") -> None:
        super().__init__(
            f"{removal.cluster} is half deleted: {removal.id} removed a part of it. "
            f"`/tml restore {removal.cluster}` brings all of it back, as it was; after that, ask again."
        )
        self.removal = removal


class HalfRestored(Refused):
    """A restore in place took claims away and did not make all of them again."""

    code = "half-restored"

    def __init__(self, restore: "Operation") -> None:
        super().__init__(
            f"{restore.cluster} is half restored: {restore.id} took claims away and did not make all of the set "
            f"{restore.goal.chosen}; what starts now would begin with empty ones. "
            f"`/tml restore {restore.cluster} {restore.goal.chosen}` goes on with it."
        )
        self.restore = restore


class Removed(Refused):
    """A stop with --remove took the cluster away; ``removal`` is the operation that did, and that a start undoes."""

    code = "removed"

    def __init__(self, removal: "Operation") -> None:
        super().__init__(
            f"{removal.cluster} was stopped and removed by {removal.id}. `/tml start {removal.cluster}` brings it back."
        )
        self.removal = removal


class HalfRemoved(Refused):
    """A part of what a stop with --remove took away is not back yet."""

    code = "half-removed"

    def __init__(self, removal: "Operation") -> None:
        super().__init__(
            f"{removal.cluster} is half removed: {removal.id} removed a part of it. "
            f"`/tml start {removal.cluster}` brings all of it back, as it was; after that, ask again."
        )
        self.removal = removal


class OtherKubernetes(Refused):
    """The context is another Kubernetes cluster than the one in which ``operation`` kept what this needs."""

    code = "other-kubernetes"

    def __init__(self, operation: "Operation") -> None:
        super().__init__(
            f"{operation.target} is another Kubernetes cluster than the one in which {operation.id} kept what this "
            "needs. Point the context at that one again, then ask again."
        )
        self.operation = operation


class NothingToRestore(Refused):
    """No delete of this bot removed anything of the cluster."""

    code = "nothing-to-restore"


class NothingToVerify(Refused):
    """The bot knows no such snapshot set of the cluster."""

    code = "nothing-to-verify"


class NothingToPurge(Refused):
    """Nothing that is kept may go, and why."""

    code = "nothing-to-purge"


class PurgeVoid(Refused):
    """What was to go is needed again, or gone, since it was looked at."""

    code = "purge-void"


class Unsafe(Refused):
    """What was asked for would lose data or fight another owner."""

    code = "unsafe"


class MissingRights(Refused):
    """Kubernetes would answer 403 to a step of the plan."""

    code = "missing-rights"


class NotAllowed(Refused):
    """This person may not do this to this cluster."""

    code = "not-allowed"


class NotUnderstood(Refused):
    """The words typed are no command."""

    code = "not-understood"


class ClusterError(Exception):
    """What the cluster port raises; Kubernetes' own errors never pass its door."""


class Retryable(ClusterError):
    """Throttled, unavailable or unreachable: the same call may work later.

    ``after`` is the number of seconds the server asked for, if it did.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Conflict(ClusterError):
    """The object is not as it was read: look again, then decide again."""


class Forbidden(ClusterError):
    """Kubernetes does not grant the right."""


class Invalid(ClusterError):
    """Kubernetes does not accept the request as it is."""


class Gone(ClusterError):
    """The object does not exist."""


class LeaseHeld(ClusterError):
    """Somebody else holds the namespace's Lease and keeps renewing it."""

    def __init__(self, namespace: str, holder: str) -> None:
        super().__init__(f"the Lease tml-bot in {namespace} is held by {holder}")
        self.holder = holder


class LeaseLost(ClusterError):
    """The Lease was not renewed in time; nothing may be written until it is held again."""


class Cancelled(Exception):
    """The operation was cancelled meanwhile: no new step of it is written down, so none is done."""


class Fenced(Exception):
    """The operation was taken by another executor; this one must not write any more."""
