"""Where the tests run: on the sandbox, or with --control-plane on a real Kubernetes."""

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings

from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.ground import NAMED, Ground
from tests.cluster.kubeconfigs import read_kubeconfig

settings.register_profile("patient", deadline=None)  # how long an example takes says something of the machine only
settings.load_profile("patient")

OPTION = "--control-plane"
SEED = "--fault-seed"
TIME_SCALE = 0.01
"""Real seconds for one of a pod's life on the real control plane."""
REAL_ONLY = Path(__file__).parent / "cluster"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(SEED, type=int, default=1, help="of tests/faults: which are the sample, and where faults begin")
    parser.addoption(OPTION, action="store_true", help=f"on a real Kubernetes: the one in {NAMED}, else an own one")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make test` is for every machine, with Go or without."""
    return True if collection_path == REAL_ONLY and not config.getoption(OPTION) else None


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plane(request: pytest.FixtureRequest) -> AsyncIterator[ControlPlane]:
    """One control plane for all tests of a process; each has namespaces of its own."""
    if os.environ.get(NAMED):
        pytest.skip(f"needs a control plane that can be killed, and {NAMED} names another one's")
    with tempfile.TemporaryDirectory(prefix="tml-bot-cluster-") as folder:
        async with control_plane(Path(folder), time_scale=TIME_SCALE) as running:
            yield running


@pytest.fixture(scope="session")
def ground(request: pytest.FixtureRequest) -> Ground:
    """The cluster that somebody named, else our own control plane, which is asked for here, outside of any loop."""
    if named := os.environ.get(NAMED):
        return Ground(read_kubeconfig(Path(named)))
    plane = request.getfixturevalue("plane")
    return Ground(plane.access(), plane)
