"""Kubeconfigs, written for the bot and the servers, and read where somebody names a cluster of theirs."""

import base64
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.client import Access

Json = dict[str, Any]


def write_kubeconfig(
    path: Path, access: Access, context: str = "test", namespace: str = "default", *, server_name: str = ""
) -> Path:
    """As kubectl and every client read it; ``server_name`` is whom the certificate names if not the address."""
    authority = base64.b64encode(access.authority.encode()).decode()
    cluster = {"server": access.url} | ({"certificate-authority-data": authority} if authority else {})
    if server_name:
        cluster["tls-server-name"] = server_name
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": {"token": access.token}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": namespace}}],
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    path.chmod(0o600)
    return path


def read_kubeconfig(path: Path) -> Access:
    """The current context's, with a token or a client certificate; credential plugins are not run."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    own = (_pem(user, "client-certificate", path), _pem(user, "client-key", path))
    authority = _pem(cluster, "certificate-authority", path)
    return Access(cluster["server"], user.get("token") or "", authority, own if all(own) else None)


def _named(items: list[Json], name: str) -> Json:
    return next(item for item in items if item["name"] == name)


def _pem(found: Json, key: str, beside: Path) -> str:
    """In the kubeconfig itself, or in a file that it names."""
    if data := found.get(f"{key}-data"):
        return base64.b64decode(data).decode()
    return (beside.parent / found[key]).read_text() if key in found else ""
