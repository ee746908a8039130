"""What the command line prints."""

import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack_trouble import UNREACHED, named
from bot.views.claims import aligned
from bot.views.plan import cautions, effect, fate, waves
from bot.views.words import listed
from lifecycle.errors import ClusterError, NoNamespace, Refused
from lifecycle.model import Verb
from lifecycle.observed import Discovery
from lifecycle.plan import Plan
from lifecycle.ports import Cluster, Right, Use
from lifecycle.topology import arranged


def say(text: str) -> None:
    """Plain text on standard output, as it is."""
    Console(soft_wrap=True, markup=False, highlight=False, emoji=False).print(text)


def complain(text: str) -> None:
    """Plain text on standard error."""
    Console(stderr=True, soft_wrap=True, markup=False, highlight=False, emoji=False).print(text)


def clear(folder: Path) -> None:
    """Begin anew: what an earlier run left in the folder goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def show_discovery(found: Discovery) -> None:
    """Components with their needs, then claims with size, class and driver."""
    say(f"{found.name} in {found.target}: {found.mode}, release {found.release}\n")
    topology = arranged(found.workloads)
    rows = [("COMPONENT", "WORKLOAD", "READY", "REMEMBERED", "NEEDS")]
    for workload in topology:
        state = found.observed[workload]
        needs = listed([need.label for need in topology.needs_of(workload)])
        remembered = "" if state.remembered is None else str(state.remembered)
        rows.append((workload.label, str(workload.ref), f"{state.ready}/{state.replicas}", remembered, needs))
    say("\n".join(aligned(rows)))
    claims = [("CLAIM", "STATUS", "CAPACITY", "STORAGECLASS", "DRIVER")]
    claims += [(c.name, c.status, c.capacity, c.storage_class, c.driver or "unknown") for c in found.observed.claims]
    say("\n" + "\n".join(aligned(claims)))
    for name in found.strange:
        say(f"{name}: a TMGC_TYPE or a selector that is not known here; left alone")


def show_plan(made: Plan) -> None:
    """The plan of a stop: nothing of it is done."""
    say("\nThe plan of a stop (nothing is done):")
    say("\n".join([*waves(made), effect(made), *fate(made), *cautions(made)]))


async def check_slack(client: AsyncWebClient, app_token: str, channels: Iterable[str]) -> int:
    """Whether Slack takes both tokens and the bot may write in its channels; returns the number of problems."""
    try:
        who = await client.auth_test()
    except UNREACHED as error:
        return tell_problem("slack, SLACK_BOT_TOKEN", in_words(error))
    say(f"slack: ok, {who['user']} in {who['team']}")
    problems = await _check_socket(client, app_token)
    return problems + sum([await _check_channel(client, channel) for channel in dict.fromkeys(channels)])


async def _check_socket(client: AsyncWebClient, app_token: str) -> int:
    """Asks for the address of a socket and opens none."""
    try:
        await client.apps_connections_open(app_token=app_token)
    except UNREACHED as error:
        return tell_problem("slack, SLACK_APP_TOKEN", in_words(error))
    return 0


async def _check_channel(client: AsyncWebClient, channel: str) -> int:
    try:
        answer = await client.conversations_info(channel=channel)
    except UNREACHED as error:
        return tell_problem(f"channel {channel}", in_words(error))
    if not answer["channel"].get("is_member"):
        return tell_problem(f"channel {channel}", "the bot is no member; invite it with /invite")
    say(f"channel {channel}: ok")
    return 0


def tell_problem(where: str, what: str) -> int:
    """One line; returns 1, which is how many problems it is."""
    say(f"{where}: {' '.join(what.split())}")
    return 1


def in_words(error: Exception) -> str:
    """An error in one line: for Slack's its code."""
    if isinstance(error, SlackApiError):
        return f"Slack says {named(error)}"
    return " ".join(str(error).split()) or type(error).__name__


async def check_cluster(name: str, cluster: Cluster, copy_to: str | None = None, *, runs_commands: bool = False) -> int:
    """Whether the cluster can be operated and read; returns the number of problems.

    ``copy_to`` is the namespace that its captures are copied to; ``runs_commands``: around hot cuts.
    """
    where = f"cluster {name}"
    try:
        if missing := await cluster.missing_rights(Verb.START):
            return sum(tell_problem(where, f"missing right in {cluster.target.namespace}: {one}") for one in missing)
        found = await cluster.discover()
    except (ClusterError, Refused) as error:
        return tell_problem(where, str(error))
    say(f"{where}: ok, {len(found.workloads)} workloads in {found.target}")
    await _tell_wider(f"{where}: stop --remove", cluster, "remove.yaml", Verb.REMOVE)
    await _tell_wider(f"{where}: snapshots", cluster, "snapshot.yaml", Verb.SNAPSHOT)
    await _tell_uses(f"{where}: hot sets as one volume group", cluster, "group.yaml", Use.GROUP)
    if runs_commands:
        await _tell_uses(f"{where}: hot_commands", cluster, "check.yaml", Use.EXECUTE)
    await _tell_wider(f"{where}: verify", cluster, "verify.yaml", Verb.VERIFY)
    await _tell_wider(f"{where}: delete and restore", cluster, "delete.yaml", Verb.DELETE, Verb.RESTORE)
    await _tell_wider(f"{where}: purge", cluster, "purge.yaml", Verb.PURGE)
    await _tell_uses(f"{where}: flush before a cold snapshot", cluster, "check.yaml", Use.EXECUTE)
    await _tell_of_copies(where, cluster, copy_to)
    return 0


async def _tell_of_copies(where: str, cluster: Cluster, copy_to: str | None) -> None:
    """What it takes to bring the cluster back after its namespace was deleted."""
    what = f"{where}: captures"
    if copy_to is None:
        say(f"{what}: not copied (captures.copy_to): who deletes the namespace deletes the way back")
        return
    rights = partial(cluster.missing_rights_to_copies, [copy_to])
    await _tell(f"{what}, copied to {copy_to}", "captures.yaml", [rights])
    await _tell_uses(f"{what}, sets bound anew", cluster, "captures.yaml", Use.REBIND)


async def _tell_wider(what: str, cluster: Cluster, file: str, *verbs: Verb) -> None:
    await _tell(what, file, [partial(cluster.missing_rights, verb) for verb in verbs])


async def _tell_uses(what: str, cluster: Cluster, file: str, *uses: Use) -> None:
    await _tell(what, file, [partial(cluster.missing_rights_to, use) for use in uses])


async def _tell(what: str, file: str, asked: Sequence[Callable[[], Awaitable[Sequence[Right]]]]) -> None:
    """Whether these rights are there: no problem where they are not, they may be unwanted."""
    try:
        rights = dict.fromkeys([right for ask in asked for right in await ask()])
        missing = ", ".join(map(str, rights))
    except (ClusterError, NoNamespace) as error:
        say(f"{what}: not known, {in_words(error)}")
        return
    say(f"{what}: not granted ({missing}), see deploy/rbac/{file}" if missing else f"{what}: granted")


def show_sandbox(slack: str, kubernetes: str, kubeconfig: Path) -> None:
    """How the sandbox is used."""
    say(
        f"""The sandbox runs until Ctrl-C.

  Slack       {slack}/   open it in a browser, choose a person, type /tml help
  Kubernetes  {kubernetes}
  kubectl     export KUBECONFIG={kubeconfig.resolve()}
              kubectl get statefulsets,deployments,pods,pvc

Break something:   kubectl annotate statefulset mysql-set-0 sandbox.tml-bot/fault=never-ready
Repair it:         kubectl annotate statefulset mysql-set-0 sandbox.tml-bot/fault-
(prod; add -n ml550-staging for staging)
"""
    )
