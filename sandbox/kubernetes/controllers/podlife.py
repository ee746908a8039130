"""One pod from its creation to its removal: scheduled, mounted, pulled, started, probed, stopped."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from sandbox.kubernetes.controllers import placement, podstatus
from sandbox.kubernetes.controllers.object_faults import ObjectFault
from sandbox.kubernetes.controllers.owners import is_terminating
from sandbox.kubernetes.controllers.podtask import KUBELET, SCHEDULER, Ending, Gone, PodTask
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.script import Script
from sandbox.kubernetes.resources import PODS, Object
from sandbox.kubernetes.store import ApiError, Store
from sandbox.kubernetes.volumes import Volumes
from sandbox.tml.components import component_of

# Simulated seconds that a real node needs for the same, roughly.
SCHEDULING = 0.3
MOUNTING = 0.5
PULLING = 0.7
STARTING = 0.5
RUN_BEFORE_A_CRASH = 2.0
FIRST_BACK_OFF = 10.0
LONGEST_BACK_OFF = 300.0
SLOW_START = 180.0
CLEANING_UP = 0.3
RUNNING_ONCE = 0.5

NO_ROOM = "0/1 nodes are available: 1 Insufficient memory."
NO_PROBE = {"initialDelaySeconds": 0, "periodSeconds": 10, "failureThreshold": 3}


@dataclass
class Surroundings:
    """What a pod's life needs from the outside."""

    store: Store
    volumes: Volumes
    scheduler: Recorder
    kubelet: Recorder
    new_ip: Callable[[], str]
    serving: Callable[[str], set[str]]
    """The components that have a ready pod in a namespace."""


@dataclass
class Log:
    """What a container wrote, in its present run and in the one before."""

    lines: list[str] = field(default_factory=list)
    previous: list[str] | None = None

    def end(self) -> None:
        """The run is over; until the next one begins, it is both the last and the one before."""
        self.previous = self.lines

    def begin(self) -> None:
        self.lines = []


class Overdue(Exception):
    """The pod was active for longer than its activeDeadlineSeconds."""


class PodLife(PodTask):
    """Plays one pod, known by its uid."""

    def __init__(self, around: Surroundings, pod: Object) -> None:
        super().__init__(around.store, pod)
        self._around = around
        self.component = component_of(pod["spec"])
        self.log = Log()
        self.is_ready = False
        self.has_run = False
        self._due = math.inf

    @property
    def serves(self) -> bool:
        """Ready and not on its way out, which is what others' needs ask for."""
        return self.is_ready and not self.is_over and not is_terminating(self.pod)

    @property
    def runs(self) -> bool:
        """Whether its containers do."""
        containers = self.pod.get("status", {}).get("containerStatuses") or []
        return any("running" in container["state"] for container in containers)

    async def run(self) -> None:
        """Returns when the pod is gone."""
        with suppress(Gone):
            try:
                await self._live()
            except Ending:
                await self._end()

    async def _live(self) -> None:
        """Raises Ending, Gone."""
        try:
            await self._begin()
            await self._go_on()
        except Overdue:
            self._due = math.inf
            self._write(podstatus.overdue)
            self.log.end()
            await self._rest()

    async def _rest(self) -> None:
        """Over, and there until somebody removes it."""
        await self._until(lambda: False)

    async def _next(self, seconds: float | None = None) -> None:
        """Raises Overdue, too."""
        left = self._due - self._now()
        if left <= 0:
            raise Overdue
        soonest = min(left, math.inf if seconds is None else seconds)
        await super()._next(None if soonest == math.inf else soonest)

    async def _begin(self) -> None:
        await self._pass(SCHEDULING)
        await self._place()
        self._write(podstatus.accepted, self._around.new_ip())
        self._due = self._now() + self.pod["spec"].get("activeDeadlineSeconds", math.inf) * self._store.clock.scale
        await self._pass(MOUNTING)
        await self._mount()
        await self._pull()

    async def _place(self) -> None:
        """Schedule the pod, which is when WaitForFirstConsumer claims learn their node."""
        while (reason := self._why_not_placed()) or placement.unbound(self._store, self.pod):
            if reason:
                self._write(podstatus.unschedulable, reason)
                self._around.scheduler.warning(PODS, self.pod, "FailedScheduling", reason)
            else:
                placement.choose_node(self._store, self.pod)
            await self._next()
        self._bind()

    def _why_not_placed(self) -> str:
        if ObjectFault.UNSCHEDULABLE in self.faults:
            return NO_ROOM
        return placement.why_not(self._store, self.pod)

    def _bind(self) -> None:
        def place(pod: Object) -> None:
            pod["spec"]["nodeName"] = podstatus.NODE

        self._change(place, subresource="binding", actor=SCHEDULER)
        self._write(podstatus.scheduled, actor=SCHEDULER)
        message = f"Successfully assigned {self.namespace}/{self.name} to {podstatus.NODE}"
        self._around.scheduler.normal(PODS, self.pod, "Scheduled", message)

    async def _mount(self) -> None:
        """Wait for all that the pod mounts; a volume may go missing between two starts, too."""
        while missing := placement.missing_mount(self._store, self._around.volumes, self.pod):
            self._around.kubelet.warning(PODS, self.pod, "FailedMount", missing)
            await self._next()

    async def _pull(self) -> None:
        images = [container.get("image", "") for container in self.pod["spec"]["containers"]]
        if ObjectFault.IMAGE_PULL in self.faults:
            await self._fail_to_pull(images[0])
        await self._pass(PULLING)
        for image in images:
            self._say("Pulled", f'Successfully pulled image "{image}"')

    async def _fail_to_pull(self, image: str) -> None:
        """Until the fault is taken away; the repair is felt at once, not at the end of a back-off."""
        back_off = FIRST_BACK_OFF
        error = f'Failed to pull image "{image}": rpc error: code = NotFound desc = {image}: not found'
        while ObjectFault.IMAGE_PULL in self.faults:
            self._around.kubelet.warning(PODS, self.pod, "Failed", error)
            self._around.kubelet.warning(PODS, self.pod, "Failed", "Error: ErrImagePull")
            message = f'Back-off pulling image "{image}"'
            self._around.kubelet.normal(PODS, self.pod, "BackOff", message)
            self._around.kubelet.warning(PODS, self.pod, "Failed", "Error: ImagePullBackOff")
            self._write(podstatus.waiting, "ImagePullBackOff", message)
            await self._pass(back_off, unless=lambda: ObjectFault.IMAGE_PULL not in self.faults)
            back_off = min(2 * back_off, LONGEST_BACK_OFF)

    async def _go_on(self) -> None:
        if self.pod["spec"].get("restartPolicy") == "Never":
            await self._run_once()
            return
        back_off = FIRST_BACK_OFF
        await self._start(podstatus.running)
        while True:
            await self._serve()
            await self._crash(back_off)
            back_off = min(2 * back_off, LONGEST_BACK_OFF)
            await self._start(podstatus.restarted)

    async def _run_once(self) -> None:
        """Its command, on the files behind its claims; nothing is written there, and nothing starts it again."""
        await self._pass(STARTING)
        await self._mount()
        self.log.begin()
        container = self.pod["spec"]["containers"][0]
        self._say("Created", f"Created container: {container['name']}")
        self._say("Started", f"Started container {container['name']}")
        self.has_run = True
        self._write(podstatus.running)
        await self._pass(RUNNING_ONCE)
        script = Script(self._around.volumes, self.pod, self._pass, self.log.lines)
        exit_code = await script.run([*(container.get("command") or []), *(container.get("args") or [])])
        self._write(podstatus.finished, exit_code)
        self.log.end()
        self._due = math.inf
        await self._rest()

    async def _start(self, step: Callable[[Object, str], None]) -> None:
        await self._pass(STARTING)
        self.log.begin()
        self._tell(*self.component.says_starting)
        if not podstatus.probe_of(self.pod):
            # Without a probe a pod is ready as soon as it runs, so its start has to wait for what it needs:
            # as a container's postStart hook does, before whose end Kubernetes does not call it running.
            await self._until(lambda: self._needs_met() or ObjectFault.CRASH_LOOP in self.faults)
        await self._mount()
        self._use_volumes()
        for container in self.pod["spec"]["containers"]:
            self._say("Created", f"Created container: {container['name']}")
            self._say("Started", f"Started container {container['name']}")
        self.has_run = True
        self._write(step)

    async def _serve(self) -> None:
        """Probe until the container crashes; a pod that is ready is left alone until a fault makes a difference."""
        if ObjectFault.CRASH_LOOP in self.faults:
            await self._pass(RUN_BEFORE_A_CRASH)
            return
        probe = NO_PROBE | (podstatus.probe_of(self.pod) or {})
        await self._pass(probe["initialDelaySeconds"], unless=self._crashes)
        await self._pass(SLOW_START, unless=lambda: self._crashes() or ObjectFault.SLOW_START not in self.faults)
        failures = 0
        while not self._crashes():
            if self._answers():
                failures = 0
                self._become_ready()
                await self._until(lambda: self._crashes() or ObjectFault.NEVER_READY in self.faults)
            else:
                failures += 1
                self._fail_probe(failures >= probe["failureThreshold"])
                await self._pass(probe["periodSeconds"], unless=self._crashes)

    def _crashes(self) -> bool:
        return ObjectFault.CRASH_LOOP in self.faults

    def _answers(self) -> bool:
        return ObjectFault.NEVER_READY not in self.faults and (self.is_ready or self._needs_met())

    def _needs_met(self) -> bool:
        return not self._missing_needs()

    def _missing_needs(self) -> list[str]:
        serving = self._around.serving(self.namespace)
        return [need for need in self.component.needs if need not in serving]

    def _become_ready(self) -> None:
        if not self.is_ready:
            self._tell(*self.component.says_ready)
            self.is_ready = True
            self._write(podstatus.ready)

    def _fail_probe(self, too_often: bool) -> None:
        missing = self._missing_needs()
        if ObjectFault.NEVER_READY in self.faults:
            self._tell(*self.component.says_not_ready)
        elif missing:
            self._tell(f"WARN  waiting for {', '.join(missing)}")
        self._around.kubelet.warning(PODS, self.pod, "Unhealthy", _probe_failure(podstatus.probe_of(self.pod)))
        if self.is_ready and too_often:
            self.is_ready = False
            self._write(podstatus.not_ready)

    async def _crash(self, back_off: float) -> None:
        self._tell(*self.component.says_crashing)
        self.is_ready = False
        self._write(podstatus.ended, 1)
        self.log.end()
        name = self.pod["spec"]["containers"][0]["name"]
        message = f"Back-off restarting failed container {name} in pod {self.name}"
        self._around.kubelet.warning(PODS, self.pod, "BackOff", message)
        self._write(
            podstatus.waiting, "CrashLoopBackOff", f"back-off {back_off:.0f}s restarting failed container={name}"
        )
        await self._pass(back_off, unless=lambda: ObjectFault.CRASH_LOOP not in self.faults)

    def _use_volumes(self) -> None:
        """The first start writes the component's own files; every later one leaves a line, so that a loss shows."""
        volumes = self._around.volumes
        for claim in podstatus.claims_of(self.pod).values():
            if volumes.files(self.namespace, claim):
                line = f"{self._stamp()} {self.name} {self.uid}\n"
                volumes.append(self.namespace, claim, "starts.log", line.encode())
            else:
                for path, content in self.component.files.items():
                    volumes.write(self.namespace, claim, path, content)

    async def _end(self) -> None:
        exit_code = await self._stop() if self.runs else 0
        await self._stay_while_stuck()
        self.is_ready = False
        if self.has_run:
            self._write(podstatus.finished, exit_code)
            await self._pass_while_ending(CLEANING_UP)
        self._remove()

    async def _stop(self) -> int:
        """Send SIGTERM and wait, at most for the grace period, which a second delete may shorten; the exit code."""
        for container in self.pod["spec"]["containers"]:
            self._say("Killing", f"Stopping container {container['name']}")
        begin = self._now()
        while (left := begin + min(self._takes(), self._grace()) * self._store.clock.scale - self._now()) > 0:
            await self._next_while_ending(left)
        if self._takes() > self._grace():
            return 137
        self._tell(*self.component.says_stopping)
        return 0

    def _takes(self) -> float:
        return math.inf if ObjectFault.SLOW_STOP in self.faults else self.component.stops_in

    def _grace(self) -> float:
        return float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)

    async def _stay_while_stuck(self) -> None:
        if ObjectFault.STUCK_TERMINATING in self.faults:
            message = "error killing pod: failed to stop container: context deadline exceeded"
            self._around.kubelet.warning(PODS, self.pod, "FailedKillPod", message)
        while ObjectFault.STUCK_TERMINATING in self.faults:
            await self._next_while_ending()

    def _remove(self) -> None:
        with suppress(ApiError):
            self._store.delete(PODS, self.namespace, self.name, grace_seconds=0, uid=self.uid, actor=KUBELET)

    def _say(self, reason: str, message: str) -> None:
        self._around.kubelet.normal(PODS, self.pod, reason, message)

    def _tell(self, *lines: str) -> None:
        stamp = self._stamp()
        self.log.lines += [f"{stamp} {line}" for line in lines]

    def _stamp(self) -> str:
        return self._store.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _probe_failure(probe: dict[str, object] | None) -> str:
    if probe and "httpGet" in probe:
        return "Readiness probe failed: HTTP probe failed with statuscode: 503"
    return "Readiness probe failed: command exited with 1"
