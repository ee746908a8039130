"""The namespace itself: whether it is there, and whether it is the one that it was."""

from lifecycle.errors import Forbidden, Gone, NoNamespace
from lifecycle.kube import paths, read, rights
from lifecycle.kube.door import Door
from lifecycle.model import Target


async def uid_of(door: Door, target: Target) -> str:
    """Empty where that may not be read. Raises NoNamespace where it is not there, or going."""
    if await rights.missing(door, target.namespace, rights.FINDING):
        return ""
    try:
        found = await door.get(paths.one_of(paths.Resource.NAMESPACES, "", target.namespace))
    except Forbidden:
        return ""
    except Gone:
        raise NoNamespace(target, is_going=False) from None
    if read.is_deleting(found):
        raise NoNamespace(target, is_going=True)
    return read.uid_of(found)
