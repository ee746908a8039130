"""The storage of the control plane: Kubernetes' own provisioner and snapshotter, and a CSI driver that keeps folders.

The driver is in `tools/hostpath`; how tests make its snapshots slow, or fail, is said in its `main.go`.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.client import Answer, Client, Json, until

DRIVER = "hostpath.csi.sandbox"
"""The provisioner that the reference cluster's StorageClasses name."""
SNAPSHOT_CLASS = "hostpath-snapshots"
GROUP_SNAPSHOT_CLASS = "hostpath-group-snapshots"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SNAPSHOTS = "snapshot.storage.k8s.io/v1"
GROUP_SNAPSHOTS = "groupsnapshot.storage.k8s.io/v1"
QUICK = ["--retry-interval-start=200ms", "--retry-interval-max=2s", "--kube-api-qps=500", "--kube-api-burst=1000"]
"""By default a failed call is tried again after 1 s, 2 s, 4 s and so on up to 5 min."""


def socket(folder: Path) -> Path:
    return folder / "csi.sock"


def driver(folder: Path) -> list[str]:
    return ["-socket", str(socket(folder)), "-folder", str(folder)]


def provisioner(kubeconfig: Path, folder: Path, address: str) -> list[str]:
    own = [f"--csi-address={socket(folder)}", "--default-fstype=ext4", "--worker-threads=10"]
    return [f"--kubeconfig={kubeconfig}", f"--http-endpoint={address}", *QUICK, *own]


def snapshot_controller(kubeconfig: Path, folder: Path, address: str) -> list[str]:
    return [f"--kubeconfig={kubeconfig}", f"--http-endpoint={address}", *QUICK]


def snapshotter(kubeconfig: Path, folder: Path, address: str) -> list[str]:
    own = [f"--csi-address={socket(folder)}"]
    return [f"--kubeconfig={kubeconfig}", f"--http-endpoint={address}", *QUICK, *own]


SIDECARS: Mapping[str, Callable[[Path, Path, str], list[str]]] = {
    "csi-provisioner": provisioner,
    "snapshot-controller": snapshot_controller,
    "csi-snapshotter": snapshotter,
}
"""Each one's arguments, from its kubeconfig, the driver's folder and the address of its metrics."""


def classes() -> list[tuple[str, Json]]:
    """The driver and its classes, with the paths to create them; vendors' classes have the policy Delete, too."""
    how = {"driver": DRIVER, "deletionPolicy": "Delete"}
    return [
        (
            "/apis/storage.k8s.io/v1/csidrivers",
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "CSIDriver",
                "metadata": {"name": DRIVER},
                "spec": {"attachRequired": False},
            },
        ),
        (
            f"/apis/{SNAPSHOTS}/volumesnapshotclasses",
            {"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotClass", "metadata": {"name": SNAPSHOT_CLASS}, **how},
        ),
        (
            f"/apis/{GROUP_SNAPSHOTS}/volumegroupsnapshotclasses",
            {
                "apiVersion": GROUP_SNAPSHOTS,
                "kind": "VolumeGroupSnapshotClass",
                "metadata": {"name": GROUP_SNAPSHOT_CLASS},
                **how,
            },
        ),
    ]


def definitions(folder: Path) -> list[Json]:
    """The CustomResourceDefinitions of both groups."""
    return [json.loads(file.read_text()) for file in sorted(folder.iterdir())]


async def define(client: Client, kinds: list[Json]) -> None:
    """Make the kinds known. Returns when the API server serves them."""
    await asyncio.gather(*(_define(client, kind) for kind in kinds))


async def _define(client: Client, kind: Json) -> None:
    await client.create(DEFINITIONS, kind)
    await until(client, f"{DEFINITIONS}/{kind['metadata']['name']}", _established)
    await until(client, f"/apis/{kind['spec']['group']}/v1/{kind['spec']['names']['plural']}", _served)


async def make_classes(client: Client) -> None:
    """Slow at first: an API server takes two seconds over what is created of a kind that it has just come to know."""
    await asyncio.gather(*(client.create(path, made) for path, made in classes()))


def _established(definition: Answer) -> bool:
    conditions = definition.body["status"].get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _served(listed: Answer) -> bool:
    """Some milliseconds after a definition is established its path is still a 404."""
    return listed.status == 200


async def handle_of(client: Client, claim: Json) -> str:
    """What the storage knows the volume of a bound claim by; its folder has the same name."""
    volume = await client.get(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}")
    return str(volume.body["spec"]["csi"]["volumeHandle"])
