"""The suite on a cluster that somebody names: our own servers and node, this time as theirs."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.client import open_client
from tests.cluster.control_plane import ControlPlane
from tests.cluster.ground import NAMED
from tests.cluster.processes import ROOT
from tests.cluster.storage import DRIVER

pytestmark = pytest.mark.timeout(400)

FILES = Path(__file__).parent.relative_to(ROOT)
RUN = (
    "test_operations.py::test_a_start_brings_everything_back_in_the_order_of_the_needs",
    "test_operations.py::test_trouble_in_the_middle_of_a_stop_and_of_a_start_costs_time_and_nothing_else",
    "test_delete.py::test_a_delete_asked_by_one_and_approved_by_another_keeps_every_byte_and_a_restore_brings_all_back",
    "test_removal.py::test_a_stop_that_removes_touches_no_claim_and_a_start_brings_back_what_was_there",
    "test_storage.py",
)
NOT_CUT = "not (silent or forgotten)"
"""These take their time on our own."""


@pytest.fixture
async def kubeconfig(plane: ControlPlane) -> AsyncIterator[Path]:
    """With a default StorageClass, as such clusters have one."""
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    made = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": default},
        "provisioner": DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    classes = "/apis/storage.k8s.io/v1/storageclasses"
    async with open_client(plane.access()) as client:
        await client.create(classes, made)
        yield plane.kubeconfig("admin")
        await client.delete(f"{classes}/standard")


async def test_operations_run_on_a_cluster_that_is_named_and_what_needs_servers_of_ours_says_so(
    kubeconfig: Path, tmp_path: Path
) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    chosen = [str(FILES / name) for name in RUN]
    options = ["--control-plane", "-p", "no:cacheprovider", "-rs", "-k", NOT_CUT, f"--basetemp={tmp_path / 'inner'}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", *options, *chosen,
        cwd=ROOT, env=own | {NAMED: str(kubeconfig)}, stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert "4 passed" in output, output
    skipped = [line for line in output.splitlines() if line.startswith("SKIPPED")]
    assert skipped
    assert all(NAMED in line for line in skipped), output
    assert any("nobody may kill, freeze or compact its servers" in line for line in skipped), output
