"""The fixture `api`: the sandbox, and with --control-plane a real Kubernetes."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.ground import Ground
from tests.conftest import OPTION
from tests.contract.api import Api, on_a_cluster, on_the_sandbox


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Ground | None:
    return request.getfixturevalue("ground") if request.config.getoption(OPTION) else None


@pytest.fixture
async def api(real: Ground | None, tmp_path: Path) -> AsyncIterator[Api]:
    namespace = f"contract-{secrets.token_hex(3)}"
    around = on_a_cluster(tmp_path, namespace, real) if real else on_the_sandbox(tmp_path, namespace)
    async with around as made:
        yield made
