"""Times as they are stored: integer microseconds since 1970 in UTC, exact and comparable in every database."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def stored(moment: datetime) -> int:
    """Raises ValueError for a naive datetime: nobody knows which moment it means."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} names no time zone")
    return (moment - EPOCH) // MICROSECOND


def moment_of(micros: int) -> datetime:
    """The aware datetime, UTC."""
    return EPOCH + micros * MICROSECOND


def perhaps(micros: int | None) -> datetime | None:
    """The same for a column that may be empty."""
    return None if micros is None else moment_of(micros)
