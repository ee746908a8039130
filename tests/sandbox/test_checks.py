"""Commands that a pod runs once in the sandbox look at the real files behind its claims."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import sandbox.kubernetes
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.controllers.script import Script
from sandbox.kubernetes.resources import CLAIMS, PODS

POD: dict[str, Any] = {
    "metadata": {"namespace": "default", "name": "check"},
    "spec": {
        "containers": [{"name": "check", "volumeMounts": [{"name": "clone", "mountPath": "/var/lib/data"}]}],
        "volumes": [{"name": "clone", "persistentVolumeClaim": {"claimName": "clone"}}],
    },
}


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[KubernetesSandbox]:
    async with sandbox.kubernetes.start(time_scale=0.001, data_dir=tmp_path) as running:
        kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}}
        spec = {
            "storageClassName": "fast",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}
        running.apply([kind | {"provisioner": "hostpath.csi.sandbox"}])
        running.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}])
        running.apply([claim | {"metadata": {"name": "clone", "namespace": "default"}}])
        await running.until(lambda store: store.get(CLAIMS, "default", "clone")["status"].get("phase") == "Bound")
        running.volumes.write("default", "clone", "data/rows", b"some rows\n")
        running.volumes.write("default", "clone", "none", b"")
        (running.volumes.folder_of("default", "clone") / "lost+found").mkdir()
        yield running


async def ran(box: KubernetesSandbox, *command: str) -> tuple[int, list[str], list[float]]:
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    script = Script(box.volumes, POD, pause)
    return await script.run(command), script.said, paused


D = "/var/lib/data"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (f"ls -A {D}", 0, ["data", "lost+found", "none"]),
        (f"ls -A {D}/data | grep -qvxF lost+found", 0, []),
        (f"ls -A {D}/lost+found | grep -qvxF lost+found", 1, []),
        (f"ls -A {D}/nothing | grep -q .", 1, [f"ls: cannot access '{D}/nothing': No such file or directory"]),
        (f"test -s {D}/data/rows && echo there", 0, ["there"]),
        (f"test -s {D}/none", 1, []),
        (f"test -f {D}/none && test -d {D}/data", 0, []),
        (f"[ -e {D}/data/rows ] || exit 9", 0, []),
        (f"! test -e {D}/data/rows || exit 9", 9, []),
        (f"test -s {D}/nothing || test -d {D}/data", 0, []),
        ("false && true || echo so; exit 4; echo never", 4, ["so"]),
        (f"cat {D}/data/rows | grep rows", 0, ["some rows"]),
        (f"ls {D}/none >/dev/null 2>&1 && echo quiet", 0, [f"{D}/none", "quiet"]),
        ("cat /etc/passwd", 1, ["cat: /etc/passwd: No such file or directory"]),
        (f"cat {D}/../../../etc/passwd", 1, [f"cat: {D}/../../../etc/passwd: No such file or directory"]),
        ("rm -rf /var/lib/data", 127, ["sh: 1: rm: not found"]),
        ("mysqlcheck --all", 127, ["sh: 1: mysqlcheck: not found"]),
        ("echo 'a | b' && test -n '' ; test -z ''", 0, ["a | b"]),
    ],
)
async def test_a_small_part_of_sh_says_what_is_there(
    box: KubernetesSandbox, line: str, code: int, said: list[str]
) -> None:
    assert await ran(box, "sh", "-c", line) == (code, said, [])


async def test_a_command_needs_no_shell_and_may_take_its_time(box: KubernetesSandbox) -> None:
    assert await ran(box, "ls", "/var/lib/data/data") == (0, ["rows"], [])
    assert await ran(box, "sh", "-c", "sleep 60; true") == (0, [], [60.0])


async def test_a_pod_that_runs_once_writes_nothing_on_its_volume_and_keeps_its_log(box: KubernetesSandbox) -> None:
    before = box.volumes.digest("default", "clone")
    container = POD["spec"]["containers"][0] | {"image": "busybox", "command": ["sh", "-c", f"ls {D}; exit 2"]}
    spec = POD["spec"] | {"restartPolicy": "Never", "containers": [container]}
    box.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": POD["metadata"], "spec": spec}])
    await box.until(lambda store: store.get(PODS, "default", "check")["status"].get("phase") == "Failed")
    assert box.volumes.digest("default", "clone") == before
