"""A Slack workspace and a Kubernetes API with two TML clusters, for tests, demo and command line alike."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import kubernetes, slack, tml
from sandbox.kubernetes.kubeconfig import write_kubeconfig
from sandbox.slack import DEFAULT, DEFAULT_SCOPES, Limits

__all__ = ["CONTEXT", "DEMO_SCALE", "Sandbox", "start"]

CONTEXT = "sandbox"
DEMO_SCALE = 0.02
"""One second of the cluster's clock, in seconds: 50 times as fast."""

CONFIGURATION = """\
# The sandbox's two clusters. Deadlines are shortened like the sandbox's clock.
channel: C0OPS
data_dir: {folder}
health_port: 0
clusters:
  prod:
    context: {context}
    namespace: {prod}
    environment: production
    channel: C0PROD
    operators: ["@S0TMLOPS"]
    approval: {{delete: {{approvers: ["@S0TMLAPPROVERS"]}}}}
    viewers: ["*"]
    probe_url: {url}/sandbox/traffic/{prod}/mashping
    deadlines: {{down: {down}s, up: {up}s, rolling: {rolling}s}}
  staging:
    context: {context}
    namespace: {staging}
    environment: staging
    operators: ["@S0TMLOPS", U0CAROL]
    approval: {{delete: {{approvers: ["@S0TMLAPPROVERS"]}}}}
    viewers: ["*"]
    probe_url: {url}/sandbox/traffic/{staging}/mashping
    deadlines: {{down: {down}s, up: {up}s, rolling: {rolling}s}}
"""

MINUTES = {"down": 6, "up": 8, "rolling": 40}
"""What the sandbox's configuration allows each phase, in minutes of the cluster's clock."""


@dataclass(frozen=True)
class Sandbox:
    """Both servers. ``time_scale`` is that of the cluster; Slack's own times are real."""

    kubernetes: kubernetes.KubernetesSandbox
    slack: slack.SlackSandbox
    time_scale: float
    folder: Path

    def write_configuration(self) -> Path:
        """Write the bot's configuration and a kubeconfig into the folder; returns the former."""
        write_kubeconfig(self.kubeconfig, {CONTEXT: (self.kubernetes.url, None, tml.PROD_NAMESPACE)})
        path = self.folder / "tml-bot.yaml"
        path.write_text(
            CONFIGURATION.format(
                folder=self.folder,
                context=CONTEXT,
                prod=tml.PROD_NAMESPACE,
                staging=tml.STAGING_NAMESPACE,
                url=self.kubernetes.url,
                **{phase: max(6, round(60 * minutes * self.time_scale)) for phase, minutes in MINUTES.items()},
            )
        )
        return path

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def environ(self) -> Mapping[str, str]:
        """What the bot needs in its environment."""
        return {
            "SLACK_API_URL": self.slack.url,
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_APP_TOKEN": self.slack.app_token,
            "KUBECONFIG": str(self.kubeconfig),
        }


@asynccontextmanager
async def start(
    folder: Path,
    *,
    time_scale: float = DEMO_SCALE,
    slack_port: int = 0,
    kubernetes_port: int = 0,
    limits: Limits | None = DEFAULT,
    scopes: Iterable[str] = DEFAULT_SCOPES,
) -> AsyncIterator[Sandbox]:
    """Both servers on loopback, with people, channels and both clusters ready; ``folder`` has their files."""
    async with (
        slack.start(port=slack_port, limits=limits, scopes=scopes) as workspace,
        kubernetes.start(time_scale=time_scale, port=kubernetes_port, data_dir=folder / "volumes") as api,
    ):
        populate(workspace)
        api.apply(tml.reference())
        for namespace in (tml.PROD_NAMESPACE, tml.STAGING_NAMESPACE):
            await api.ready(namespace)
        yield Sandbox(api, workspace, time_scale, folder)


def populate(workspace: slack.SlackSandbox) -> None:
    """Alice and Bob operate both clusters, Carol only staging; Bob and Carol approve; Dave looks; Greta is a guest.

    Nobody may do anything as Otto, who has left, as Mallory of another company, or as another app's bot.
    """
    for name in ("alice", "bob", "carol", "dave"):
        workspace.add_user(name)
    workspace.add_user("greta", is_restricted=True)
    workspace.add_user("otto", deleted=True)
    workspace.add_user("mallory", is_stranger=True)
    workspace.add_user("deploybot", is_bot=True)
    workspace.add_group("tml-ops", "S0TMLOPS", users=["alice", "bob"])
    workspace.add_group("tml-approvers", "S0TMLAPPROVERS", users=["bob", "carol"])
    workspace.add_channel("ops", "C0OPS")
    workspace.add_channel("prod", "C0PROD")
    workspace.add_channel("partners", "C0PARTNERS", members=["alice", "mallory"], is_ext_shared=True)
