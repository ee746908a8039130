"""What a stop and a start cost: requests, and the time that the bot adds to the cluster's own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import sandbox
from benchmarks.figures import Figure
from benchmarks.served import served
from bot.__main__ import SystemClock
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import connect
from lifecycle.model import Kind, Ref, Target
from lifecycle.topology import Topology, arranged
from lifecycle.workloads import Workload
from sandbox import Sandbox, tml
from sandbox.kubernetes.resources import DEPLOYMENTS, PODS, STATEFULSETS, Object
from sandbox.kubernetes.store import Store
from sandbox.slack import Message

SCALE = 0.01
PATIENCE = 60.0
NAMESPACE = tml.PROD_NAMESPACE
RESOURCES = {Kind.STATEFUL_SET: STATEFULSETS, Kind.DEPLOYMENT: DEPLOYMENTS}


@dataclass(frozen=True)
class Cost:
    """Of one operation: seconds until the cluster was there, and requests until the summary was posted."""

    seconds: float
    kubernetes: int
    slack: int


async def operations(folder: Path) -> Sequence[Figure]:
    """A stop and a start of the reference cluster: by a script that sees everything at once, then by the bot."""
    async with sandbox.start(folder, time_scale=SCALE, limits=None) as box:
        configuration = box.write_configuration()
        topology = await _topology(box)
        counts = {one.ref: _replicas(box, one.ref) for one in topology}
        own = [
            await _timed(_all(topology, lambda one: _down(box, topology, one))),
            await _timed(_all(topology, lambda one: _up(box, topology, one, counts))),
        ]
        async with served(box, configuration):
            costs = [
                await _by_the_bot(box, "stop", "Stopped", lambda store: not store.rows(PODS, NAMESPACE)),
                await _by_the_bot(box, "start", "Started", lambda store: _are_ready(store, topology, counts)),
            ]
    return [
        figure
        for verb, least, cost in zip(("stop", "start"), own, costs, strict=True)
        for figure in _figures(verb, least, cost)
    ]


def _figures(verb: str, least: float, cost: Cost) -> Sequence[Figure]:
    return (
        Figure(f"{verb} of seven workloads, cluster's clock {1 / SCALE:.0f} times as fast", f"{cost.seconds:.2f} s"),
        Figure("  the cluster alone, its order kept", f"{least:.2f} s"),
        Figure("  added by the bot", f"{cost.seconds - least:.2f} s"),
        Figure("  requests to the Kubernetes API", str(cost.kubernetes)),
        Figure("  requests to Slack", str(cost.slack)),
    )


async def _topology(box: Sandbox) -> Topology:
    target = Target(sandbox.CONTEXT, NAMESPACE)
    async with connect(target.context, kubeconfig=str(box.kubeconfig)) as door:
        return arranged((await KubeCluster(door, target, SystemClock()).discover()).workloads)


async def _timed(work: Awaitable[object]) -> float:
    begun = perf_counter()
    await work
    return perf_counter() - begun


def _all(topology: Topology, work: Callable[[Workload], Awaitable[None]]) -> Awaitable[object]:
    return asyncio.gather(*(work(one) for one in topology))


async def _down(box: Sandbox, topology: Topology, one: Workload) -> None:
    above = topology.needing(one)
    await box.kubernetes.until(lambda store: not any(_pods(store, other.ref) for other in above), PATIENCE)
    _scale(box, one.ref, 0)
    await box.kubernetes.until(lambda store: not _pods(store, one.ref), PATIENCE)


async def _up(box: Sandbox, topology: Topology, one: Workload, counts: dict[Ref, int]) -> None:
    below = topology.needs_of(one)
    await box.kubernetes.until(lambda store: all(_is_ready(store, need.ref, counts) for need in below), PATIENCE)
    _scale(box, one.ref, counts[one.ref])
    await box.kubernetes.until(lambda store: _is_ready(store, one.ref, counts), PATIENCE)


def _found(store: Store, ref: Ref) -> Object:
    found = store.find(RESOURCES[ref.kind], NAMESPACE, ref.name)
    assert found is not None
    return found


def _pods(store: Store, ref: Ref) -> list[Object]:
    return [pod for pod in store.rows(PODS, NAMESPACE) if pod["metadata"]["name"].startswith(f"{ref.name}-")]


def _is_ready(store: Store, ref: Ref, counts: dict[Ref, int]) -> bool:
    return bool(_found(store, ref)["status"].get("readyReplicas", 0) >= counts[ref])


def _are_ready(store: Store, topology: Topology, counts: dict[Ref, int]) -> bool:
    return all(_is_ready(store, one.ref, counts) for one in topology)


def _replicas(box: Sandbox, ref: Ref) -> int:
    return int(_found(box.kubernetes.store, ref)["spec"]["replicas"])


def _scale(box: Sandbox, ref: Ref, replicas: int) -> None:
    resource = RESOURCES[ref.kind]
    box.kubernetes.store.change(resource, NAMESPACE, ref.name, lambda found: found["spec"].update(replicas=replicas))


async def _by_the_bot(box: Sandbox, verb: str, ending: str, reached: Callable[[Store], bool]) -> Cost:
    kubernetes, slack = box.kubernetes.server.requests.total(), len(box.slack.calls)
    alice = box.slack.person("alice")
    card = (await (await alice.types(f"/tml {verb} prod", "ops")).answers(1, timeout=PATIENCE))[-1]
    begun = perf_counter()
    await alice.presses("confirm", card)
    await box.kubernetes.until(reached, PATIENCE)
    seconds = perf_counter() - begun
    await box.slack.until(lambda _: _is_told(box, ending), PATIENCE, f"{ending!r} and its summary")
    return Cost(seconds, box.kubernetes.server.requests.total() - kubernetes, len(box.slack.calls) - slack)


def _is_told(box: Sandbox, ending: str) -> bool:
    live: Message | None = next(
        (one for one in box.slack.channel_messages("prod") if one.text.startswith(ending)), None
    )
    return live is not None and "*Volumes*" in str([one.blocks for one in box.slack.thread("prod", live.ts)])
