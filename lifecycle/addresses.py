"""Where a restored cluster is to be found: load balancers' addresses before it was deleted, and now; pure."""

from lifecycle.model import Kind
from lifecycle.observed import Address, Observed, Part
from lifecycle.operation import Goal


def addresses(goal: Goal, observed: Observed) -> tuple[Address, ...]:
    """Of each Service that had one, removed or left."""
    return tuple(_address(part, observed) for part in (*goal.parts, *goal.staying) if _had_one(part))


def is_waited_for(goal: Goal, observed: Observed) -> bool:
    """Whether one of them has no address yet."""
    return any(not address.now for address in addresses(goal, observed))


def _had_one(part: Part) -> bool:
    return part.ref.kind is Kind.SERVICE and bool(part.addresses)


def _address(part: Part, observed: Observed) -> Address:
    seen = observed.part(part.ref)
    return Address(part.ref.name, part.addresses, seen.addresses if seen else ())
