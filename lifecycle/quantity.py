"""Kubernetes' quantities as bytes (API reference, Quantity)."""

import re
from decimal import Decimal, InvalidOperation

_BINARY = {unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}
_DECIMAL = {unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), start=1)}
_FACTORS = {"": 1, **_BINARY, **_DECIMAL}
_WRITTEN = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")


def in_bytes(quantity: str) -> int:
    """``20Gi`` as 21474836480; 0 for what is empty or no quantity of bytes."""
    found = _WRITTEN.fullmatch(quantity)
    if found is None or found[2] not in _FACTORS:
        return 0
    try:
        return int(Decimal(found[1]) * _FACTORS[found[2]])
    except InvalidOperation:
        return 0


def gibibytes(count: int) -> str:
    """Bytes as people compare disks: ``20Gi``, ``1.5Gi``, ``512Mi``."""
    for unit in reversed(_BINARY):
        if count >= _BINARY[unit]:
            return f"{count / _BINARY[unit]:.1f}".removesuffix(".0") + unit
    return str(count)
