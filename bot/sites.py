"""The clusters that the bot serves."""

from dataclasses import dataclass

from bot.settings import ClusterSettings
from lifecycle.ports import Cluster


@dataclass(frozen=True)
class Site:
    """A configured cluster and the door to it."""

    settings: ClusterSettings
    cluster: Cluster

    @property
    def probe_url(self) -> str | None:
        return self.settings.probe_url
