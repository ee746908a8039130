"""The whole bot on Slack's sandbox and a real control plane, with the documented rights and no others."""

import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import sandbox
from bot.__main__ import Timing, serving
from bot.projector import Pace
from bot.settings import load_settings
from sandbox import slack, tml
from tests.cluster import accounts
from tests.cluster.client import Access, Answer, Client, open_client, until
from tests.cluster.control_plane import BOT, ControlPlane
from tests.cluster.kubeconfigs import write_kubeconfig
from tests.cluster.storage import handle_of
from tests.cluster.wire import Wire, wire
from tests.e2e.town import Town

Json = dict[str, Any]
CONTEXT = "test"
TIMING = Timing(Pace(posts=0.02, updates=0.05, all_updates=0.0, hopeless=1.0, trouble=0.05), watch_seconds=5)
"""A real API server takes whole seconds only."""
DEADLINE = 60
"""Seconds for each phase."""
CONFIGURATION = """\
channel: C0OPS
data_dir: {folder}
health_port: 0
clusters:
  staging:
    context: {context}
    namespace: {namespace}
    environment: staging
    operators: ["@S0TMLOPS", U0CAROL]
    viewers: ["*"]
    probe_url: {probe}
    deadlines: {{down: {deadline}s, up: {deadline}s, rolling: {deadline}s}}
"""


@dataclass
class Box:
    """What `tests.e2e.town.Town` needs of a sandbox, with a real Kubernetes in its place."""

    plane: ControlPlane
    slack: slack.SlackSandbox
    folder: Path
    namespace: str
    admin: Client
    wire: Wire
    bot: Access = field(repr=False)
    deadline: int = DEADLINE

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "SLACK_API_URL": self.slack.url,
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_APP_TOKEN": self.slack.app_token,
            "KUBECONFIG": str(self.kubeconfig),
        }

    def write_configuration(self) -> Path:
        """The bot comes through the wire and with its own token; it knows nothing of the admin's."""
        access = Access(f"https://127.0.0.1:{self.wire.port}", self.bot.token, self.bot.authority)
        write_kubeconfig(self.kubeconfig, access, CONTEXT, self.namespace)
        path = self.folder / "tml-bot.yaml"
        probe = self.plane.traffic_url(self.namespace)
        values = {"folder": self.folder, "namespace": self.namespace, "probe": probe, "deadline": self.deadline}
        path.write_text(CONFIGURATION.format(context=CONTEXT, **values))
        return path

    def serving(self) -> Any:
        """The bot, as long as the block runs; a second one takes up what the first left."""
        return serving(load_settings(self.write_configuration(), self.environ), TIMING)

    def apps(self, plural: str, name: str = "") -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def core(self, plural: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}"

    async def workloads(self) -> list[Json]:
        found = [(await self.admin.get(self.apps(plural))).body["items"] for plural in ("statefulsets", "deployments")]
        return [one for items in found for one in items]

    async def replicas(self) -> dict[str, int]:
        return {one["metadata"]["name"]: one["spec"]["replicas"] for one in await self.workloads()}

    async def identities(self, plural: str) -> set[tuple[str, str]]:
        items = (await self.admin.get(self.core(plural))).body["items"]
        return {(one["metadata"]["name"], one["metadata"]["uid"]) for one in items}

    async def annotate(self, plural: str, name: str, key: str, value: str | None) -> None:
        await self.admin.patch(self.apps(plural, name), {"metadata": {"annotations": {key: value}}})

    async def ready(self) -> None:
        for plural in ("statefulsets", "deployments"):
            await until(self.admin, self.apps(plural), _all_ready)

    async def bytes_of_claims(self) -> dict[str, dict[str, bytes]]:
        """The files behind each claim, read from the folders themselves."""
        claims = (await self.admin.get(self.core("persistentvolumeclaims"))).body["items"]
        folders = {one["metadata"]["name"]: self.plane.volumes / await handle_of(self.admin, one) for one in claims}
        return {
            name: {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
            for name, folder in folders.items()
        }


def _all_ready(answer: Answer) -> bool:
    items = answer.body.get("items") or []
    return bool(items) and all(one["status"].get("readyReplicas", 0) == one["spec"]["replicas"] for one in items)


@asynccontextmanager
async def boxed(plane: ControlPlane, folder: Path, rules: list[Json] | None = None) -> AsyncIterator[Box]:
    """A TML cluster that is up, in a namespace of its own, and Slack; the bot does not run yet."""
    namespace = f"ml550-{secrets.token_hex(3)}"
    await plane.settle()
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(open_client(plane.access()))
        between = await stack.enter_async_context(wire(urlsplit(plane.url).port or 443))
        workspace = await stack.enter_async_context(slack.start(limits=None))
        sandbox.populate(workspace)
        await accounts.apply(admin, tml.manifests(namespace, cluster_name="staging", reporting=False))
        await accounts.make_namespace(admin, BOT[0])
        access = await accounts.account(admin, *BOT)
        given = accounts.documented_rules() if rules is None else rules
        await accounts.grant(admin, *BOT, namespace, given)
        box = Box(plane, workspace, folder, namespace, admin, between, access)
        await box.ready()
        try:
            yield box
        finally:
            await admin.ask("DELETE", f"/api/v1/namespaces/{namespace}")


@asynccontextmanager
async def town(plane: ControlPlane, folder: Path, rules: list[Json] | None = None) -> AsyncIterator[tuple[Town, Box]]:
    """The same with the bot."""
    async with boxed(plane, folder, rules) as box, box.serving():
        yield Town(cast("sandbox.Sandbox", box)), box


class Stopwatch:
    """How long an operation took and how much it asked of the API server."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._begun, self._before = time.monotonic(), len(plane.requests())

    def row(self, what: str) -> tuple[str, float, int]:
        return what, time.monotonic() - self._begun, len(self._plane.requests()) - self._before
