"""The configured check, run in a pod until it passes; what the command writes goes no further than this module."""

import asyncio
import re
from dataclasses import dataclass

from lifecycle.checks import Check, Checked
from lifecycle.errors import ClusterError, Forbidden, Retryable
from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door, backoff
from lifecycle.kube.execute import Executed, execute
from lifecycle.kube.paths import Resource
from lifecycle.model import Component
from lifecycle.topology import Topology

FINAL = frozenset({Checked.SEEN, Checked.FORBIDDEN})
"""Verdicts that no waiting changes."""


@dataclass(frozen=True)
class Checker:
    """One check of one cluster."""

    door: Door
    namespace: str
    check: Check

    async def until_passed(self, topology: Topology) -> Checked:
        """Tried again until it passes or its time is over; then the last verdict."""
        loop = asyncio.get_running_loop()
        until, attempt = loop.time() + self.check.within.total_seconds(), 0
        while True:
            checked = await self._once(topology)
            pause = backoff(attempt, self.door.jitter(), base=0.5, longest=5)
            if checked.verdict in FINAL or loop.time() + pause >= until:
                return checked
            await asyncio.sleep(pause)
            attempt += 1

    async def _once(self, topology: Topology) -> Checked:
        try:
            pod = await ready_pod(self.door, self.namespace, topology, self.check.component)
            if pod is None:
                return Checked(Checked.NOT_RUN, f"no pod of {self.check.component} is ready")
            return self._judged(await self._run(pod))
        except Forbidden:
            return Checked(Checked.FORBIDDEN, "get and create pods/exec")
        except Retryable as error:
            return Checked(Checked.UNHEARD, str(error))
        except ClusterError as error:
            return Checked(Checked.NOT_RUN, str(error))

    async def _run(self, pod: Json) -> Executed:
        seconds = self.check.timeout.total_seconds()
        container = self.check.container or own_container(pod)
        return await execute(
            self.door, self.namespace, read.name_of(pod), container, self.check.command, seconds=seconds
        )

    def _judged(self, ended: Executed) -> Checked:
        if ended.code:
            return Checked(Checked.FAILED, f"exit code {ended.code}")
        is_found = re.search(self.check.expects, ended.stdout) is not None
        return Checked(Checked.SEEN if is_found else Checked.NOT_AS_EXPECTED)


async def ready_pod(door: Door, namespace: str, topology: Topology, component: Component) -> Json | None:
    """The component's first by name that is ready and stays."""
    ours = [one for one in topology if one.component is component]
    answer = await door.get(paths.all_of(Resource.PODS, namespace))
    ready = (
        pod
        for pod in answer.get("items") or []
        if any(read.belongs(pod, one) for one in ours)
        and read.has_condition(pod, "Ready")
        and not read.is_deleting(pod)
    )
    return min(ready, key=read.name_of, default=None)


def own_container(pod: Json) -> str:
    """The one that says which component it is; releases up to 5.2 have others beside it."""
    containers = read.spec_of(pod).get("containers") or [{}]
    own = (one for one in containers if any(each.get("name") == "TMGC_TYPE" for each in one.get("env") or []))
    return str(next(own, containers[0]).get("name", ""))
