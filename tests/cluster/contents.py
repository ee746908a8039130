"""The bytes behind a cluster's claims: as the storage has them where it is ours, otherwise as its pods find them."""

import secrets
from pathlib import Path
from typing import Any, Protocol

from tests.cluster.client import Client
from tests.cluster.ground import mounts
from tests.contract.commands import run
from tests.e2e.belongings import GROWING

Json = dict[str, Any]
Bytes = dict[str, dict[str, bytes]]
"""By claim, the content of each of its files."""
OWN = "of-a-test"
"""The file that `fill` writes into each volume."""


class Contents(Protocol):
    @property
    def can_rest(self) -> bool:
        """Whether they can be read while no pod runs."""
        ...

    async def fill(self) -> None:
        """Write into each volume what is in no other; the pods run."""
        ...

    async def read(self) -> Bytes: ...


def _unlike_any_other(claim: str) -> str:
    return f"bytes of {claim} {secrets.token_hex(8)}"


class Folders:
    """Of the driver that is ours, claims or none; logs of starts and flushes, which only grow, are left out."""

    can_rest = True

    def __init__(self, admin: Client, namespace: str, volumes: Path) -> None:
        self._admin = admin
        self._namespace = namespace
        self._volumes = volumes

    async def fill(self) -> None:
        for claim, folder in (await self._folders()).items():
            folder.joinpath(OWN).write_text(_unlike_any_other(claim))

    async def read(self) -> Bytes:
        found = await self._folders()
        assert all(folder.is_dir() for folder in found.values()), f"a volume's bytes are gone: {found}"
        return {
            claim: {
                file.relative_to(folder).as_posix(): file.read_bytes()
                for file in sorted(folder.rglob("*"))
                if file.is_file() and file.name not in GROWING
            }
            for claim, folder in found.items()
        }

    async def _folders(self) -> dict[str, Path]:
        volumes = await volumes_of(self._admin, self._namespace)
        return {claim: self._volumes / one["spec"]["csi"]["volumeHandle"] for claim, one in volumes.items()}


class InPods:
    """Of somebody's storage: one file in each volume, written and read by commands in its pods."""

    can_rest = False

    def __init__(self, admin: Client, namespace: str) -> None:
        self._admin = admin
        self._pods = f"/api/v1/namespaces/{namespace}/pods"

    async def fill(self) -> None:
        await self._each("echo {words} > {file}")

    async def read(self) -> Bytes:
        return {claim: {OWN: output.encode()} for claim, output in (await self._each("cat {file}")).items()}

    async def _each(self, script: str) -> dict[str, str]:
        """What a command in the pod of each claim writes."""
        told = {}
        for pod in (await self._admin.get(self._pods)).body["items"]:
            for claim, mount in mounts(pod):
                command = script.format(words=_unlike_any_other(claim), file=mount / OWN)
                outcome = await run(self._admin, f"{self._pods}/{pod['metadata']['name']}", ["sh", "-c", command])
                assert outcome.code == 0, outcome
                told[claim] = outcome.stdout
        return told


async def volumes_of(admin: Client, namespace: str) -> dict[str, Json]:
    """The PersistentVolumes that are or were for a claim of the namespace, by the claim's name."""
    found = (await admin.get("/api/v1/persistentvolumes")).body["items"]
    claims = ((one["spec"].get("claimRef") or {}, one) for one in found)
    return {named["name"]: one for named, one in claims if named.get("namespace") == namespace}
