"""Writes a kubeconfig that kubectl and the official clients read."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from sandbox.kubernetes.resources import Object


def write_kubeconfig(path: Path, contexts: Mapping[str, tuple[str, str | None, str | None]]) -> None:
    """`contexts`: name to (url, token, namespace); the first is the current one.

    kubectl sends no token over plain HTTP, so there it is always the admin; the Python client sends it.
    """
    config: Object = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": next(iter(contexts), ""),
        "clusters": [{"name": name, "cluster": {"server": url}} for name, (url, _, _) in contexts.items()],
        "users": [
            {"name": name, "user": {"token": token} if token else {}} for name, (_, token, _) in contexts.items()
        ],
        "contexts": [
            {"name": name, "context": _context(name, namespace)} for name, (_, _, namespace) in contexts.items()
        ],
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    path.chmod(0o600)


def _context(name: str, namespace: str | None) -> Object:
    context = {"cluster": name, "user": name}
    return {**context, "namespace": namespace} if namespace else context
