"""What a namespace holds, as values that can be compared, and what of it must not be seen outside."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox import Sandbox
from sandbox.kubernetes.controllers.shell import FLUSHES
from sandbox.kubernetes.resources import (
    CLAIMS,
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACES,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    STORAGE_CLASSES,
    VOLUMES,
    Object,
)
from sandbox.kubernetes.volumes import handle_of

KINDS = (STATEFULSETS, DEPLOYMENTS, SERVICES, SECRETS, CONFIGMAPS, CLAIMS)
GIVEN = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "finalizers",
    "ownerReferences",
    "managedFields",
)
"""Metadata that an object gets from Kubernetes when it is made."""
GIVEN_NOTES = (
    "tml-bot/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "deployment.kubernetes.io/",
)
"""Annotations that controllers write, and the bot's own."""
GIVEN_TO_SERVICES = ("clusterIP", "clusterIPs", "healthCheckNodePort")
CAPTURE = "tml-bot-capture"
GROWING = frozenset({"starts.log", FLUSHES})
"""To which the sandbox's containers add a line whenever they start, or are flushed."""


def objects(box: Sandbox, namespace: str) -> dict[str, Object]:
    """Every object of the namespace that a delete could concern, by kind and name, without the captures."""
    return {
        f"{resource.kind}/{one['metadata']['name']}": one
        for resource in KINDS
        for one in box.kubernetes.store.list(resource, namespace)
        if not one["metadata"]["name"].startswith(CAPTURE)
    }


def captures(box: Sandbox, namespace: str) -> list[Object]:
    found = box.kubernetes.store.list(SECRETS, namespace)
    return [one for one in found if one["metadata"]["name"].startswith(CAPTURE)]


def comparable(found: dict[str, Object]) -> dict[str, Object]:
    """Without what an object that is made again gets anew: spec, data, labels and people's annotations stay."""
    return {name: _comparable(one) for name, one in found.items()}


def _comparable(found: Object) -> Object:
    notes = {
        key: value
        for key, value in (found["metadata"].get("annotations") or {}).items()
        if not key.startswith(GIVEN_NOTES)
    }
    metadata = {key: value for key, value in found["metadata"].items() if key not in (*GIVEN, "annotations")}
    rest = {key: value for key, value in found.items() if key not in ("status", "metadata")}
    made = {**rest, "metadata": {**metadata, "annotations": notes}}
    return _without_addresses(made) if found["kind"] == "Service" else made


def _without_addresses(service: Object) -> Object:
    if service["spec"].get("clusterIP") == "None":
        return service
    spec: dict[str, Any] = {key: value for key, value in service["spec"].items() if key not in GIVEN_TO_SERVICES}
    spec["ports"] = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec["ports"]]
    return {**service, "spec": spec}


def shared(box: Sandbox) -> dict[str, str]:
    """The uids of what belongs to no cluster."""
    return {
        f"{resource.kind}/{one['metadata']['name']}": one["metadata"]["uid"]
        for resource in (NAMESPACES, STORAGE_CLASSES)
        for one in box.kubernetes.store.list(resource)
    }


def versions(box: Sandbox, namespace: str) -> dict[str, tuple[str, str]]:
    """Uid and resourceVersion of every object: the same only where nobody touched anything."""
    return {
        name: (one["metadata"]["uid"], one["metadata"]["resourceVersion"])
        for name, one in objects(box, namespace).items()
    }


def uids(box: Sandbox, namespace: str) -> dict[str, str]:
    return {name: one["metadata"]["uid"] for name, one in objects(box, namespace).items()}


def volumes(box: Sandbox, namespace: str) -> dict[str, Object]:
    """The PersistentVolumes that are or were for a claim of the namespace, by the claim's name."""
    found = box.kubernetes.store.list(VOLUMES)
    return {one["spec"]["claimRef"]["name"]: one for one in found if one["spec"]["claimRef"]["namespace"] == namespace}


def policies(box: Sandbox, namespace: str) -> dict[str, tuple[str, str, str]]:
    """By claim: the volume's uid, its reclaim policy and its phase."""
    return {
        claim: (one["metadata"]["uid"], one["spec"]["persistentVolumeReclaimPolicy"], one["status"]["phase"])
        for claim, one in volumes(box, namespace).items()
    }


def fill(box: Sandbox, namespace: str) -> None:
    """Bytes of its own into every volume of the namespace."""
    for claim in volumes(box, namespace):
        box.kubernetes.volumes.write(namespace, claim, f"of/{claim}", f"bytes of {namespace}/{claim}".encode() * 99)


def bytes_of(box: Sandbox, namespace: str) -> dict[str, dict[str, str]]:
    """By claim the sha256 of each file behind it, whether or not the claim is there; without logs that only grow."""
    return {claim: files_of(box, volume) for claim, volume in volumes(box, namespace).items()}


def files_of(box: Sandbox, volume: Object) -> dict[str, str]:
    """The sha256 of each file of the volume; logs of starts and flushes only grow."""
    return dict(_files(_folder(box, volume)))


def _folder(box: Sandbox, volume: Object) -> Path:
    return box.folder / "volumes" / handle_of(volume)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    assert folder.is_dir(), "the volume's bytes are gone"
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name not in GROWING:
            yield file.relative_to(folder).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()


CANARY = "CANARY"
"""With this every value of the sandbox's secrets begins."""


def everything_told(box: Sandbox) -> str:
    """What Slack was sent and answered, what people see there, and every byte of the database's files."""
    database = b"".join(path.read_bytes() for path in sorted(box.folder.glob("tml-bot.db*")) if path.is_file())
    calls = json.dumps([[call.method, call.arguments, call.result] for call in box.slack.calls], default=str)
    return f"{box.slack.transcript()}{calls}{database.decode(errors='replace')}"


def assert_no_secret_in(text: str) -> None:
    """No value of a secret, as it is or as Kubernetes writes it."""
    encoded = base64.b64encode(CANARY.encode()).decode().rstrip("=")
    for value in (CANARY, encoded):
        assert value not in text, text[max(0, text.index(value) - 300) : text.index(value) + 60]
