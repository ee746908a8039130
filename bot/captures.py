"""Captures that are copied to another namespace: the rights to it, and the picture that has one."""

from collections.abc import Sequence
from dataclasses import replace

from lifecycle.errors import MissingRights
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.ports import Cluster


async def require_copies(cluster: Cluster, namespaces: Sequence[str]) -> None:
    """Raises NoNamespace and MissingRights where captures cannot be copied there, read or removed."""
    if missing := await cluster.missing_rights_to_copies(namespaces):
        raise MissingRights(
            f"Kubernetes does not let the bot keep copies of captures there. Missing: {', '.join(map(str, missing))}. "
            "Grant it (see deploy/rbac/captures.yaml), then try again."
        )


async def picture_with_capture(cluster: Cluster, draft: Goal, copies: Sequence[str]) -> tuple[Goal, Observed]:
    """The picture for the draft; where the cluster's namespace has no capture of it, with the copy.

    Raises as `require_copies`, and what the port raises.
    """
    observed = await cluster.picture(draft)
    if observed.capture or not copies:
        return draft, observed
    await require_copies(cluster, copies)
    copied = replace(draft, copies=tuple(copies))
    return copied, await cluster.picture(copied)
