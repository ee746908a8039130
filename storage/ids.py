"""Ids that people can read out on the phone: `op-7k2m9x`."""

from random import Random

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
"""Base32 without i, l, o and u, see https://www.crockford.com/base32.html."""

LENGTH = 6


class IdTaken(Exception):
    """Ids are short and random: this one is in use already. Try again with another one."""

    def __init__(self, taken: str) -> None:
        super().__init__(f"there is a {taken} already")
        self.taken = taken


def new_id(prefix: str, random: Random) -> str:
    """The prefix and 30 random bits. Unique only once the database took it: who begins must be ready to try another."""
    return f"{prefix}-{''.join(random.choices(CROCKFORD, k=LENGTH))}"
