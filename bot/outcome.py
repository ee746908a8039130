"""What was asked for, and what came of it."""

from dataclasses import dataclass

from lifecycle.approval import Approval
from lifecycle.errors import ClusterError, Refused
from lifecycle.model import Person, Place, Verb
from lifecycle.operation import Operation
from lifecycle.plan import Plan
from storage.proposals import Proposal


@dataclass(frozen=True)
class Request:
    """What somebody typed, and where."""

    person: Person
    place: Place
    text: str


@dataclass(frozen=True)
class Begun:
    """The operation is recorded and runs."""

    operation: Operation


@dataclass(frozen=True)
class Asked:
    """Nothing happened yet: a card with this plan waits for the person's yes."""

    proposal: Proposal
    plan: Plan
    changed: bool = False
    """The cluster is no longer as it was when the person was asked first."""


@dataclass(frozen=True)
class Requested:
    """Nothing happened yet: somebody else has to say yes."""

    approval: Approval


@dataclass(frozen=True)
class Approved:
    """A yes is recorded; more are needed."""

    approval: Approval


@dataclass(frozen=True)
class Renewed:
    """The cluster changed since it was asked for: what was said counts no more, and it was asked for anew."""

    before: Approval
    fresh: Approval
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """Nothing happened yet: a set can be taken hot or cold, and each has a card's yes of its own.

    ``downtime`` is how many seconds traffic is down for a cold one, from earlier runs.
    """

    hot: Asked
    cold: Asked
    downtime: int | None


@dataclass(frozen=True)
class Opposed:
    """Nothing happened yet: what runs takes the cluster the other way, and may be cancelled for what was asked."""

    running: Operation
    proposal: Proposal


@dataclass(frozen=True)
class Interrupted:
    """No new step of the operation is taken."""

    operation: Operation


Outcome = Begun | Asked | Requested | Approved | Renewed | Choice | Opposed | Interrupted


class ApprovedNotBegun(Refused):
    """The last yes is recorded, and something keeps it from beginning."""

    code = "approved-not-begun"
    aftermath = "The yes counts. Nothing was changed in the cluster."

    def __init__(self, approval: Approval, trouble: Exception) -> None:
        why = str(trouble).rstrip(".")
        why = f"its cluster could not be read: {why}" if isinstance(trouble, ClusterError) else why
        super().__init__(
            f"{approval.id} is approved, but could not begin: {why}. "
            "*Run it* on its card tries again, until the approval expires."
        )


class CancelledNotBegun(Refused):
    """What ran was cancelled for something that could not begin then."""

    code = "cancelled-not-begun"
    aftermath = "Nothing else was changed."

    def __init__(self, cancelled: str, text: str, trouble: Exception) -> None:
        super().__init__(f"{cancelled} is cancelled, but `/tml {text}` could not begin: {str(trouble).rstrip('.')}.")


class Overtaken(Refused):
    """The cluster changed so that what was asked for is another verb now."""

    code = "approval-overtaken"

    def __init__(self, approval: Approval, verb: Verb) -> None:
        super().__init__(
            f"{approval.id} was to {approval.verb.words} {approval.cluster}; as the cluster is now, the same words "
            f"would {verb.words} it. It is void. `/tml {approval.command}` shows the plan as of now."
        )
