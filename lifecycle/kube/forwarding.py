"""Which log streams go elsewhere: two kinds of keys of the log service's settings, and nothing else of them.

The object that holds them is a Secret, in older releases a ConfigMap. It is read whole, because Kubernetes has no
smaller answer, and whatever is not a stream's channel type is dropped before anything else happens: no value, no error
and no repr has any of it.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from lifecycle.errors import ClusterError
from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.inventory import references
from lifecycle.kube.parallel import together
from lifecycle.kube.paths import WORKLOADS
from lifecycle.losses import GENERAL, NOT_READ
from lifecycle.model import Component, Kind, Ref
from lifecycle.observed import Discovery, Forwarding, Stream

NAME = "log-property"
"""What the object's name begins with: `log-property`, in releases up to 5.2 `log-property-map` (domain, section 1)."""
FILE = "tml_log_properties.json"
"""The key within it (domain, section 2)."""
CHANNEL_TYPE = re.compile(r"td_agent_(?:([A-Za-z0-9_]{1,40})_)?output_channelType")
KEPT_HERE = "DEFAULT"
"""The channel type of a stream that stays on logvol."""
DESTINATION = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
NO_DESTINATION = frozenset({"none", "null", "off", "false", "disabled", "unset"})
"""Words that say that somebody filled something in, and not where the logs go."""


async def log_streams(door: Door, namespace: str, discovery: Discovery) -> tuple[Stream, ...]:
    """By what the workloads of log take their settings from; of several a stream is as safe as the worst."""
    lists = await together(door.get(paths.all_of(resource, namespace)) for resource in WORKLOADS.values())
    uids = {one.uid for one in discovery.workloads if one.component is Component.LOG}
    of_log = [one for found in lists for one in found.get("items") or [] if read.uid_of(one) in uids]
    settings = {ref for one in of_log for ref in references(read.template_of(one)) if is_settings(ref)}
    found = await together(_streams_in(door, namespace, ref) for ref in sorted(settings))
    return merged(found) if found else NOT_READ


def is_settings(ref: Ref) -> bool:
    """Whether an object that a log workload mounts holds them, by its name: what is in it is not known yet."""
    return ref.kind in (Kind.SECRET, Kind.CONFIG_MAP) and ref.name.startswith(NAME)


async def _streams_in(door: Door, namespace: str, ref: Ref) -> tuple[Stream, ...]:
    """NOT_READ where there is no right to read it, or it is not what is expected."""
    try:
        return streams_of(await door.get(paths.of(ref, namespace)), ref.kind)
    except ClusterError:
        return NOT_READ


def streams_of(found: Json, kind: Kind) -> tuple[Stream, ...]:
    """By what the object says; the general one first, and unknown where it says nothing."""
    try:
        types = dict(_channel_types(json.loads(_file(found, kind))))
    except (ValueError, RecursionError):
        return NOT_READ
    general = Stream(GENERAL, types.pop(GENERAL, Forwarding.UNKNOWN))
    return (general, *(Stream(name, types[name]) for name in sorted(types)))


def _file(found: Json, kind: Kind) -> str:
    """Raises ValueError where there is none, or it is no text."""
    value = (found.get("data") or {}).get(FILE)
    if not isinstance(value, str):
        raise ValueError("no such file")
    return base64.b64decode(value, validate=True).decode() if kind is Kind.SECRET else value


def _channel_types(node: Any) -> Iterator[tuple[str, Forwarding]]:
    """Wherever in the file they stand."""
    if isinstance(node, list):
        for item in node:
            yield from _channel_types(item)
    if isinstance(node, dict):
        for key, value in node.items():
            if named := CHANNEL_TYPE.fullmatch(key):
                yield named[1] or GENERAL, _forwarding(value)
            else:
                yield from _channel_types(value)


def _forwarding(channel_type: Any) -> Forwarding:
    """Only a word can name a destination; anything else may be a placeholder that nobody filled in."""
    word = channel_type.strip() if isinstance(channel_type, str) else ""
    if word.upper() == KEPT_HERE:
        return Forwarding.NOT_FORWARDED
    is_named = DESTINATION.fullmatch(word) and word.lower() not in NO_DESTINATION
    return Forwarding.FORWARDED if is_named else Forwarding.UNKNOWN


def merged(found: Iterable[tuple[Stream, ...]]) -> tuple[Stream, ...]:
    """Zones may differ: of each stream the worst that is said, the general one's where a zone says nothing of it."""
    said = [{stream.name: stream.forwarding for stream in zone} for zone in found]
    names = sorted({name for zone in said for name in zone})
    worst = (Forwarding.UNKNOWN, Forwarding.NOT_FORWARDED, Forwarding.FORWARDED)
    return tuple(Stream(name, min((zone.get(name, zone[GENERAL]) for zone in said), key=worst.index)) for name in names)
