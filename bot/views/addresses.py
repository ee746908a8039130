"""Where a restored cluster is to be found, and whether DNS has to follow."""

from collections.abc import Sequence

from bot.views.blocks import quoted
from lifecycle.observed import Address


def address_lines(addresses: Sequence[Address]) -> list[str]:
    """Old and new address of each Service that a load balancer serves."""
    return [_line(address) for address in addresses]


def _line(address: Address) -> str:
    service, before, now = quoted(address.service), _shown(address.before), _shown(address.now)
    if not address.now:
        return f":warning: {service} has *no address yet*; it was {before}: *change DNS* if it gets another one"
    if set(address.now) == set(address.before):
        return f":white_check_mark: {service} has the address {now}, as before"
    return f":warning: *change DNS*: {service} was at {before} and is at {now} now"


def _shown(addresses: Sequence[str]) -> str:
    return quoted(", ".join(addresses))
