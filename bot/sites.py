"""A configured cluster and the door to it, and whether it lets the bot do what is asked."""

from dataclasses import dataclass

from bot.settings import ClusterSettings
from lifecycle.errors import MissingRights
from lifecycle.model import Verb
from lifecycle.ports import Cluster


@dataclass(frozen=True)
class Site:
    """One of the configuration's clusters."""

    settings: ClusterSettings
    cluster: Cluster

    @property
    def probe_url(self) -> str | None:
        return self.settings.probe_url


async def require_rights(cluster: Cluster, verb: Verb) -> None:
    if missing := await cluster.missing_rights(verb):
        raise MissingRights(
            f"Kubernetes does not let the bot {verb.words} in {cluster.target.namespace}. Missing: "
            f"{', '.join(str(right) for right in missing)}. Grant it (see deploy/rbac), then try again."
        )
