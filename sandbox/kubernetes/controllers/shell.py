"""The commands that the containers of a TML cluster know, and files read through the volumes they mount."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from sandbox.kubernetes import status
from sandbox.kubernetes.controllers.kubelet import Kubelet
from sandbox.kubernetes.controllers.object_faults import ObjectFault
from sandbox.kubernetes.controllers.podlife import PodLife
from sandbox.kubernetes.controllers.podstatus import claims_of
from sandbox.kubernetes.resources import Object
from sandbox.kubernetes.volumes import Volumes
from sandbox.tml.components import registry_table

Outcome = tuple[int, str, str]
"""Exit code, stdout, stderr."""
Command = Callable[[PodLife, str, list[str]], Outcome]
"""(pod, container, arguments) to what comes of it."""

FLUSH = ["nodetool", "flush"]
FLUSHES = "flushes.log"
"""On the volume of whatever is flushed: a line for each, with the pod and who else was there."""
A_DAY = 86_400.0

_SHELLS = ("sh", "/bin/sh", "bash", "/bin/bash")


class Shell:
    """Runs commands in the pods of a kubelet; whatever a container does not know ends with 127."""

    def __init__(self, kubelet: Kubelet, volumes: Volumes) -> None:
        self._kubelet = kubelet
        self._volumes = volumes
        self._everywhere: dict[str, Command] = {
            "cat": self._cat,
            "ls": self._ls,
            "echo": lambda _pod, _container, words: (0, f"{' '.join(words)}\n", ""),
            "true": lambda *_: (0, "", ""),
        }
        self._by_component: dict[str, dict[str, Command]] = {
            "cm": {"clustermanager": self._clustermanager},
            "nosql": {"nodetool": self._nodetool},
            "sql": {"mysql": self._mysql, "mysqladmin": lambda *_: (0, "mysqld is alive\n", "")},
        }

    async def run(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> Outcome:
        """Raises ApiError: 404 no such pod, 500 its container does not run."""
        life = self._kubelet.life(namespace, pod)
        if not life.runs:
            message = f'unable to upgrade connection: container not found ("{container}")'
            raise status.failure(500, "InternalError", message)
        if command[0] == "sleep":
            await self._kubelet.sleep(float(command[1]))
            return 0, "", ""
        if list(command) == FLUSH and ObjectFault.FLUSH_HANGS in life.faults:
            await self._kubelet.sleep(A_DAY)
        return self._run(life, container, list(command))

    def _run(self, life: PodLife, container: str, command: list[str]) -> Outcome:
        name, *words = command
        if name in _SHELLS and words[:1] == ["-c"] and len(words) > 1:
            return self._script(life, container, words[1])
        known = {**self._everywhere, **self._by_component.get(life.component.name, {})}
        if name not in known:
            return 127, "", f"sh: {name}: command not found\n"
        return known[name](life, container, words)

    def _script(self, life: PodLife, container: str, script: str) -> Outcome:
        """Commands joined by `&&`, each perhaps with `> FILE` at its end; nothing else of the shell's language."""
        output = ""
        for part in script.split("&&"):
            words = shlex.split(part) or ["true"]
            target = words[-1] if words[-2:-1] == [">"] else ""
            code, stdout, stderr = self._run(life, container, words[:-2] if target else words)
            if code == 0 and target:
                code, stdout, stderr = self._keep(life, container, target, stdout)
            output += stdout
            if code:
                return code, output, stderr
        return 0, output, ""

    def _keep(self, life: PodLife, container: str, path: str, text: str) -> Outcome:
        claim, inside = _mounted(life.pod, container, path)
        if not self._is_there(life, claim):
            return 1, "", f"sh: can't create {path}: nonexistent directory\n"
        self._volumes.write(life.namespace, claim, inside, text.encode())
        return 0, "", ""

    def _cat(self, life: PodLife, container: str, words: list[str]) -> Outcome:
        output = ""
        for path in words:
            claim, inside = _mounted(life.pod, container, path)
            if not self._is_there(life, claim) or inside not in self._volumes.files(life.namespace, claim):
                return 1, output, f"cat: {path}: No such file or directory\n"
            output += self._volumes.read(life.namespace, claim, inside).decode(errors="replace")
        return 0, output, ""

    def _ls(self, life: PodLife, container: str, words: list[str]) -> Outcome:
        path = next((word for word in words if not word.startswith("-")), "/")
        claim, inside = _mounted(life.pod, container, path)
        if not self._is_there(life, claim):
            return 2, "", f"ls: cannot access '{path}': No such file or directory\n"
        files = [PurePosixPath(file) for file in self._volumes.files(life.namespace, claim)]
        below = [file.relative_to(inside) for file in files if file.is_relative_to(inside)]
        if inside != "." and not below:
            return 2, "", f"ls: cannot access '{path}': No such file or directory\n"
        names = sorted({file.parts[0] for file in below if file.parts})
        return 0, "".join(f"{name}\n" for name in names), ""

    def _is_there(self, life: PodLife, claim: str) -> bool:
        return bool(claim) and self._volumes.has(life.namespace, claim)

    def _clustermanager(self, life: PodLife, _container: str, words: list[str]) -> Outcome:
        if words != ["ls", "components"]:
            return 1, "", "usage: clustermanager ls components\n"
        rows = [(each.name, each.component.type, self._state(each)) for each in self._members(life.namespace)]
        return 0, registry_table(sorted(rows)), ""

    def _members(self, namespace: str) -> list[PodLife]:
        return [life for life in self._kubelet.lives(namespace) if life.component.name]

    def _state(self, life: PodLife) -> str:
        if not life.runs:
            return "UNREACHABLE"
        if life.component.name == "cm":
            return "RESOLVED"
        needs = set(life.component.needs)
        return "ACTIVE" if life.serves and needs <= self._kubelet.serving(life.namespace) else "UNSATISFIED"

    def _nodetool(self, life: PodLife, _container: str, words: list[str]) -> Outcome:
        if words[:1] == ["flush"]:
            return self._flush(life)
        if words[:1] != ["status"]:
            return 1, "", f"nodetool: Found unexpected parameters: {words}\n"
        nodes = [each for each in self._members(life.namespace) if each.component.name == "nosql"]
        lines = ["Datacenter: datacenter1", "--  Address      Load       Tokens  Owns    Host ID"]
        for node in nodes:
            state = "UN" if node.serves else "DN"
            lines.append(f"{state}  {node.pod['status'].get('podIP', '-'):<12} 1.1 MiB    16      100.0%  {node.uid}")
        return 0, "\n".join(lines) + "\n", ""

    def _flush(self, life: PodLife) -> Outcome:
        if ObjectFault.FLUSH_FAILS in life.faults:
            return 2, "", "error: No nodes present in the cluster. Has this node finished starting up?\n"
        others = ",".join(sorted(each.name for each in self._members(life.namespace) if each is not life))
        for claim in claims_of(life.pod).values():
            line = f"{life.name} {life.uid} beside {others or 'nobody'}\n"
            self._volumes.append(life.namespace, claim, FLUSHES, line.encode())
        return 0, "", ""

    def _mysql(self, life: PodLife, _container: str, words: list[str]) -> Outcome:
        if "replication_group_members" not in " ".join(words):
            return 0, "", ""
        members = [each for each in self._members(life.namespace) if each.component.name == "sql"]
        rows = [f"{each.name}\t3306\t{'ONLINE' if each.serves else 'UNREACHABLE'}" for each in members]
        return 0, "\n".join(["MEMBER_HOST\tMEMBER_PORT\tMEMBER_STATE", *rows]) + "\n", ""


def _mounted(pod: Object, container: str, path: str) -> tuple[str, str]:
    """The claim that a path in a container leads into, if any, and the path inside it."""
    claims = claims_of(pod)
    found = next(each for each in pod["spec"]["containers"] if each["name"] == container)
    mounts = [mount for mount in found.get("volumeMounts") or [] if mount["name"] in claims]
    for mount in sorted(mounts, key=lambda mount: len(mount["mountPath"]), reverse=True):
        target = PurePosixPath(path)
        if target.is_relative_to(mount["mountPath"]):
            return claims[mount["name"]], target.relative_to(mount["mountPath"]).as_posix()
    return "", path
