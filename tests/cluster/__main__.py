"""The tests on a real Kubernetes: the one in TML_BOT_TEST_KUBECONFIG, else one that is built and started here."""

import os
import sys

import pytest

from tests.cluster.building import Missing, build, tell

NAMED = "TML_BOT_TEST_KUBECONFIG"


def main(arguments: list[str]) -> int:
    """pytest's exit code; 0 with a line that says so where nothing could be run."""
    if not os.environ.get(NAMED):
        try:
            build()
        except Missing as reason:
            tell(f"test-cluster did NOT run: {reason}")
            return 0
    return int(pytest.main(["--control-plane", "tests/cluster", "tests/contract", *arguments]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
