"""Which API server a context means, and with which credentials it is entered."""

import asyncio
import os
from typing import Any

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from lifecycle.errors import Invalid, Retryable

SECONDS = 20
"""For a credential plugin (`aws eks get-token`, …): the client's loader waits for it without a limit."""


async def load(context: str | None, kubeconfig: str | None = None) -> Any:
    """The client's Configuration for a context of the kubeconfig; None means the cluster the bot itself runs in.

    ``kubeconfig`` defaults to what kubectl would take. Nothing is written back to it. Raises Retryable where a
    credential plugin fails and Invalid for anything else. Neither quotes the loader: its messages hold whole user
    entries, tokens included (KubeConfigMerger._merge, 37.0.2).
    """
    where = f"context {context} of the kubeconfig" if context else "the service account of this pod"
    configuration = Configuration()
    try:
        async with asyncio.timeout(SECONDS):
            await _fill(configuration, context, kubeconfig)
    except (TimeoutError, _PluginFailed):
        raise Retryable(f"{where}: its credential plugin gave no credentials") from None
    except Exception as error:  # noqa: BLE001 - raised again, without what it quotes
        raise Invalid(f"{where} cannot be loaded ({type(error).__name__})") from None
    return configuration


async def _fill(configuration: Any, context: str | None, kubeconfig: str | None) -> None:
    if context is None:
        load_incluster_config(client_configuration=configuration)
        return
    file = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    loader = await load_kube_config(
        config_file=file, context=context, client_configuration=configuration, persist_config=False
    )
    if _has_plugin(loader) and not configuration.api_key and not configuration.cert_file:
        raise _PluginFailed


class _PluginFailed(Exception):
    """A credential plugin ended without credentials."""


def _has_plugin(loader: Any) -> bool:
    """The loader logs a plugin's failure and goes on as nobody (load_from_exec_plugin, 37.0.2)."""
    return loader._user is not None and "exec" in loader._user


def same_connection(one: Any, other: Any) -> bool:
    """Whether a client made for one serves the other too, the bearer token aside.

    Client certificates are read when the client is made and may have changed in place, so they never do.
    """
    fields = ("host", "ssl_ca_cert", "verify_ssl", "tls_server_name", "proxy")
    certificates = one.cert_file or other.cert_file
    return not certificates and all(getattr(one, field) == getattr(other, field) for field in fields)
