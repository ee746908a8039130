"""What the command line prints."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import aiohttp
from rich.console import Console
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.views.claims import aligned
from bot.views.plan import VOLUMES, cautions, effect, waves
from bot.views.words import listed
from lifecycle.errors import ClusterError, Refused
from lifecycle.model import Discovery
from lifecycle.plan import Plan
from lifecycle.ports import Cluster
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
    say("\n".join([*waves(made), effect(made), VOLUMES, *cautions(made)]))


async def check_slack(client: AsyncWebClient, channels: Iterable[str]) -> int:
    """Whether Slack takes the token and the bot may write in its channels; returns the number of problems."""
    try:
        who = await client.auth_test()
    except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
        say(f"slack: {_reason(error)}")
        return 1
    say(f"slack: ok, {who['user']} in {who['team']}")
    return sum([await _check_channel(client, channel) for channel in dict.fromkeys(channels)])


async def _check_channel(client: AsyncWebClient, channel: str) -> int:
    try:
        answer = await client.conversations_info(channel=channel)
    except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
        say(f"channel {channel}: {_reason(error)}")
        return 1
    if not answer["channel"].get("is_member"):
        say(f"channel {channel}: the bot is no member; invite it with /invite")
        return 1
    say(f"channel {channel}: ok")
    return 0


def _reason(error: Exception) -> str:
    return str(error.response.get("error")) if isinstance(error, SlackApiError) else f"no answer ({error!r})"


async def check_cluster(name: str, cluster: Cluster) -> int:
    """Whether the cluster can be read and operated; returns the number of problems."""
    try:
        found = await cluster.discover()
        missing = await cluster.missing_rights()
    except (ClusterError, Refused) as error:
        say(f"cluster {name}: {error}")
        return 1
    for right in missing:
        say(f"cluster {name}: missing right: {right}")
    if not missing:
        say(f"cluster {name}: ok, {len(found.workloads)} workloads in {found.target}")
    return len(missing)


def show_sandbox(slack: str, kubernetes: str, kubeconfig: Path) -> None:
    """How the sandbox is used."""
    say(
        f"""The sandbox runs until Ctrl-C.

  Slack       {slack}/   open it in a browser, choose a person, type /tml help
  Kubernetes  {kubernetes}
  kubectl     export KUBECONFIG={kubeconfig}
              kubectl get statefulsets,deployments,pods,pvc

Break something:   kubectl annotate statefulset mysql-set-0 sandbox.tml-bot/fault=never-ready
Repair it:         kubectl annotate statefulset mysql-set-0 sandbox.tml-bot/fault-
"""
    )
