"""The tests on a real Kubernetes: the one in TML_BOT_TEST_KUBECONFIG, else one that is built and started here.

`python -m tests.cluster build` only builds, and ends with 3 where what that takes is not on this machine.
"""

import os
import sys

import pytest

from tests.cluster.building import Missing, build, tell
from tests.cluster.ground import NAMED

SHARED = ("-n", "2", "--dist", "worksteal")
"""Two processes, each with a control plane of its own: what kills one's servers meets nobody else's tests."""
NOT_POSSIBLE = 3


def main(arguments: list[str]) -> int:
    """pytest's exit code; 0 with a line that says so where nothing could be run."""
    is_built = bool(os.environ.get(NAMED)) or _built()
    if arguments == ["build"]:
        return 0 if is_built else NOT_POSSIBLE
    if not is_built:
        return 0
    return int(pytest.main(["--control-plane", *SHARED, "tests/cluster", "tests/contract", *arguments]))


def _built() -> bool:
    try:
        build()
    except Missing as reason:
        tell(f"test-cluster did NOT run: {reason}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
