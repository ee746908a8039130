"""The whole bot on Slack's sandbox and a real Kubernetes, with the documented rights and no others."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import sandbox
from bot.__main__ import Timing, serving
from bot.projector import Pace
from bot.settings import load_settings
from lifecycle.decide import NAMES
from lifecycle.model import Verb
from sandbox import slack
from sandbox.slack import Message
from tests.cluster import accounts
from tests.cluster.accounts import DELETING, OPERATING, SNAPSHOTTING, account, grant_documented, user_of
from tests.cluster.client import Access, Answer, Client, open_client, until
from tests.cluster.contents import Contents, Folders, InPods, volumes_of
from tests.cluster.control_plane import ControlPlane
from tests.cluster.ground import Ground
from tests.cluster.kubeconfigs import write_kubeconfig
from tests.cluster.wire import LOOPBACK, Wire, wire
from tests.e2e.town import Town

Json = dict[str, Any]
CONTEXT = "test"
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1"
CONTENTS = f"{SNAPSHOTS}/volumesnapshotcontents"
TIMING = Timing(Pace(posts=0.02, updates=0.05, all_updates=0.0, hopeless=1.0, trouble=0.05), watch_seconds=5)
"""A real API server takes whole seconds only."""
DEADLINE = 120
"""Seconds for each phase: more than a silent wire and a busy machine take together."""
PATIENCE = 200.0
"""Seconds for what a test waits for, which may be several phases."""
GROUP_CONTENTS = "/apis/groupsnapshot.storage.k8s.io/v1/volumegroupsnapshotcontents"
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
    approval: {{delete: {{approvers: ["@S0TMLAPPROVERS"]}}}}
    viewers: ["*"]
    deadlines: {{{deadlines}}}
"""


def configuration(folder: Path, namespace: str, probe: str = "", deadline: int = DEADLINE) -> str:
    """``probe`` is what a caller of the gateway asks; ``deadline`` is for every phase of every verb, in seconds."""
    deadlines = ", ".join(f"{name}: {deadline}s" for name in NAMES)
    text = CONFIGURATION.format(folder=folder, context=CONTEXT, namespace=namespace, deadlines=deadlines)
    return text + (f"    probe_url: {probe}\n" if probe else "")


@dataclass
class Box:
    """What `tests.e2e.town.Town` needs of a sandbox, with a real Kubernetes in its place."""

    ground: Ground
    slack: slack.SlackSandbox
    folder: Path
    namespace: str
    admin: Client
    wire: Wire
    bot: Access = field(repr=False)
    deadline: int = DEADLINE
    more: str = ""
    """Further lines of the cluster's configuration."""

    @property
    def plane(self) -> ControlPlane:
        """Skips the test where the cluster is somebody else's."""
        return self.ground.own("its servers are not ours to reach into")

    @property
    def probe(self) -> str:
        """What a caller of the gateway asks, where the node is ours and plays one."""
        return self.ground.plane.traffic_url(self.namespace) if self.ground.plane else ""

    @property
    def contents(self) -> Contents:
        plane = self.ground.plane
        return Folders(self.admin, self.namespace, plane.volumes) if plane else InPods(self.admin, self.namespace)

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
        there = urlsplit(self.bot.url)
        access = Access(f"{there.scheme}://{LOOPBACK}:{self.wire.port}", self.bot.token, self.bot.authority)
        name = there.hostname if there.scheme == "https" and there.hostname != LOOPBACK else None
        write_kubeconfig(self.kubeconfig, access, CONTEXT, self.namespace, server_name=name or "")
        path = self.folder / "tml-bot.yaml"
        path.write_text(configuration(self.folder, self.namespace, self.probe, self.deadline) + self.more)
        return path

    def serving(self) -> Any:
        """The bot, as long as the block runs; a second one takes up what the first left."""
        return serving(load_settings(self.write_configuration(), self.environ), TIMING)

    def apps(self, plural: str, name: str = "") -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def core(self, plural: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}"

    @property
    def snapshots(self) -> str:
        return f"{SNAPSHOTS}/namespaces/{self.namespace}/volumesnapshots"

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
            await until(self.admin, self.apps(plural), _all_ready, PATIENCE)

    def requests(self) -> list[Json]:
        """What the bot asked for so far, as the API server's audit log has it."""
        return self.plane.requests(user_of(self.namespace))

    def refused(self) -> list[tuple[str, str]]:
        """What of it the account had no right to: the verb and the kind."""
        found = [one for one in self.requests() if one["responseStatus"].get("code") in (401, 403)]
        return [(one["verb"], one["objectRef"]["resource"]) for one in found]


def _all_ready(answer: Answer) -> bool:
    items = answer.body.get("items") or []
    return bool(items) and all(one["status"].get("readyReplicas", 0) == one["spec"]["replicas"] for one in items)


Grant = Callable[[Client, str], Any]
"""Gives the bot's account its rights in a namespace; awaited, the paths of what it made outside of it."""


def documented(*names: str) -> Grant:
    """What these files of `deploy/rbac/` give, and no more."""

    async def grant(admin: Client, namespace: str) -> list[str]:
        return await grant_documented(admin, namespace, *names)

    return grant


FOR_A_DELETE = documented(OPERATING, SNAPSHOTTING, DELETING)
"""Enough for a restore and for snapshots, too."""


@asynccontextmanager
async def boxed(ground: Ground, folder: Path, grant: Grant = FOR_A_DELETE) -> AsyncIterator[Box]:
    """A TML cluster that is up, in a namespace of its own, and Slack; the bot does not run yet."""
    namespace = f"ml550-{secrets.token_hex(3)}"
    if ground.plane:
        await ground.plane.settle()
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(open_client(ground.access))
        there = urlsplit(ground.access.url)
        port = there.port or (443 if there.scheme == "https" else 80)
        between = await stack.enter_async_context(wire(port, host=there.hostname or LOOPBACK))
        workspace = await stack.enter_async_context(slack.start(limits=None))
        sandbox.populate(workspace)
        stack.push_async_callback(clear, admin, namespace)
        await accounts.apply(admin, ground.manifests(namespace))
        access = await account(admin, namespace)
        for path in await grant(admin, namespace):
            stack.push_async_callback(admin.ask, "DELETE", path)
        box = Box(ground, workspace, folder, namespace, admin, between, access)
        await box.ready()
        yield box


async def clear(admin: Client, namespace: str) -> None:
    """The namespace, and what was kept on purpose."""
    for contents, named in ((CONTENTS, "volumeSnapshotRef"), (GROUP_CONTENTS, "volumeGroupSnapshotRef")):
        for one in (await admin.ask("GET", contents)).body.get("items", []):
            if one["spec"][named]["namespace"] == namespace:
                path = f"{contents}/{one['metadata']['name']}"
                await admin.ask("PATCH", path, {"spec": {"deletionPolicy": "Delete"}}, patch="merge")
                await admin.ask("DELETE", path)
    await admin.ask("DELETE", f"/api/v1/namespaces/{namespace}")
    for volume in (await volumes_of(admin, namespace)).values():
        path = f"/api/v1/persistentvolumes/{volume['metadata']['name']}"
        await admin.ask("PATCH", path, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}, patch="merge")


@asynccontextmanager
async def town(ground: Ground, folder: Path, grant: Grant = FOR_A_DELETE) -> AsyncIterator[tuple[Town, Box]]:
    """The same with the bot."""
    async with boxed(ground, folder, grant) as box, box.serving():
        yield town_of(box), box


def town_of(box: Box) -> Town:
    return Town(cast("sandbox.Sandbox", box), PATIENCE)


async def done(here: Town, words: str, says: str) -> str:
    """Order it, wait for the end, and return the thread."""
    live = await here.orders("carol", words, "ops")
    await here.until_says(live, says)
    return here.thread(live)


async def agreed(here: Town, words: str) -> Message:
    """Asked for by Alice, with Carol's yes; the live message of what then begins."""
    _, card = await here.asks("alice", words, "ops")
    return await here.operation(await here.says_yes("carol", card, "staging"), "ops")


@dataclass(frozen=True)
class Row:
    """One line of the table of real times."""

    what: str
    seconds: float
    limit: int
    """Seconds, of all its phases."""
    requests: int | None
    """None where nobody could count them."""


PHASES = {
    Verb.STOP: 1,
    Verb.START: 1,
    Verb.RESTART: 1,
    Verb.SNAPSHOT: 5,
    Verb.DELETE: 7,
    Verb.RESTORE: 4,
    Verb.RESTORE_IN_PLACE: 8,
    Verb.REMOVE: 4,
    Verb.RETURN: 2,
    Verb.VERIFY: 3,
    Verb.PURGE: 4,
}
"""How many phases a verb goes through that takes a set where it can."""


class Stopwatch:
    """How long an operation took and how much it asked of the API server."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._begun, self._before = time.monotonic(), self._requests()

    def _requests(self) -> int:
        return len(self._box.requests()) if self._box.ground.plane else 0

    def row(self, what: str, verb: Verb, phases: int = 0) -> Row:
        """``phases`` where an operation goes through fewer than its verb has."""
        seconds, count = time.monotonic() - self._begun, self._requests() - self._before
        limit = self._box.deadline * (phases or PHASES[verb])
        return Row(what, seconds, limit, count if self._box.ground.plane else None)
