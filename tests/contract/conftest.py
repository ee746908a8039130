"""The fixture `api`: the sandbox, and with --control-plane a real Kubernetes."""

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeconfigs import read_kubeconfig
from tests.conftest import NAMED, OPTION
from tests.contract.api import Api, on_a_cluster, on_the_sandbox


@pytest.fixture
def own_plane(request: pytest.FixtureRequest) -> ControlPlane | None:
    """Asked for here, outside of any loop: it has the session's."""
    is_wanted = request.config.getoption(OPTION) and not os.environ.get(NAMED)
    return request.getfixturevalue("plane") if is_wanted else None


@pytest.fixture
async def api(request: pytest.FixtureRequest, own_plane: ControlPlane | None, tmp_path: Path) -> AsyncIterator[Api]:
    namespace = f"contract-{secrets.token_hex(3)}"
    if own_plane is not None:
        around = on_a_cluster(tmp_path, namespace, own_plane.access(), own_plane)
    elif request.config.getoption(OPTION):
        around = on_a_cluster(tmp_path, namespace, read_kubeconfig(Path(os.environ[NAMED])), None)
    else:
        around = on_the_sandbox(tmp_path, namespace)
    async with around as made:
        yield made
