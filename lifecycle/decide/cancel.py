"""Cancel: where an operation can be left as it is, and where it has to come to its end first."""

from lifecycle.decide import delete, in_place, quiescing, start, verify
from lifecycle.errors import NotCancellable
from lifecycle.model import Verb
from lifecycle.operation import Operation, State

HAS_TO_END = {
    Verb.DELETE: frozenset({delete.CLAIMS_REMOVED.name}),
    Verb.RESTORE_IN_PLACE: frozenset({in_place.CLAIMS_REMOVED.name, in_place.CLONED.name}),
    Verb.SNAPSHOT: frozenset({start.UP.name}),
    Verb.VERIFY: frozenset({verify.CLEANED.name}),
}
"""The phases in which what is left would be worse than either end."""


def takes_no_step(operation: Operation) -> bool:
    """Whether it was cancelled and ends where it is; on its way back it takes the steps that that needs."""
    return operation.state is State.RUNNING and operation.cancellation is not None and operation.failure is None


def refuse(operation: Operation) -> None:
    """Raises NotCancellable where it cannot be cancelled now, with the reason and what to do."""
    if why_not := reason_against(operation):
        raise NotCancellable(why_not)


def reason_against(operation: Operation) -> str | None:
    """Why it cannot be cancelled where it is, and what to do; None where it can."""
    if operation.state is not State.RUNNING:
        return f"{operation.id} has ended already: there is nothing to cancel."
    if operation.cancellation is not None:
        return f"{operation.id} was cancelled already; its thread tells how it ends."
    if operation.failure is not None:
        return f"{operation.id} has failed, and {_returns(operation)}: let it come to its end."
    if operation.phase in HAS_TO_END.get(operation.verb, ()):
        return f"{operation.id} {_past_the_point(operation)}"
    return None


def _returns(operation: Operation) -> str:
    if operation.verb is Verb.VERIFY:
        return "takes away what it made"
    if quiescing.has_commands(operation.goal):
        return "runs the command after its cut"
    return f"is starting {operation.cluster} again"


def _past_the_point(operation: Operation) -> str:
    cluster = operation.cluster
    match operation.verb:
        case Verb.VERIFY:
            return f"is through with its checks, and {_returns(operation)}."
        case Verb.SNAPSHOT:
            return f"has cut everything, and {_returns(operation)}: let it come to its end."
        case Verb.DELETE:
            return (
                f"is taking the claims away: with some of them gone {cluster} could not be started, so it goes on to "
                f"its end. Nothing is lost: `/tml restore {cluster}` then brings all of it back."
            )
        case _:
            return (
                f"is exchanging the claims: with some of them gone {cluster} could not be started, so it goes on to "
                "its end. Restoring the set that it took for safety is the way back then."
            )
