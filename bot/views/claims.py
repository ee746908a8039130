"""Claims in the columns of `kubectl get pvc`."""

from collections.abc import Sequence
from datetime import datetime

from bot.views.blocks import clipped
from bot.views.words import duration
from lifecycle.volumes import Claim

HEADER = ("NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS MODES", "STORAGECLASS", "AGE")
WIDEST = 80
"""Characters of a cell: one long name must not push the other columns out of sight."""


def table(claims: Sequence[Claim], now: datetime) -> list[str]:
    """A header and a line per claim, columns aligned."""
    return aligned([HEADER, *(_row(claim, now) for claim in claims)])


def _row(claim: Claim, now: datetime) -> tuple[str, ...]:
    cells = (
        claim.name,
        claim.status,
        claim.volume,
        claim.capacity,
        ",".join(claim.access_modes),
        claim.storage_class,
        duration(now - claim.created_at) if claim.created_at else "<unknown>",
    )
    return tuple(clipped(cell, WIDEST) for cell in cells)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as text, each column as wide as its widest cell and three spaces."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def unbound(claims: Sequence[Claim]) -> list[Claim]:
    """The claims whose volume check does not pass."""
    return [claim for claim in claims if claim.status != "Bound"]
