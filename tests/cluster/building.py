"""Builds etcd and Kubernetes' servers as Go tools, once, into the user's cache."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parent / "tools"
USUAL_PLACE = Path("/usr/local/go/bin/go")
"""Where Go's own installation instructions put it, which is not on every PATH."""
VERSION_VARIABLES = "k8s.io/component-base/version"


class Missing(Exception):
    """What is needed to build is not there; the text names it and says what to do."""


@dataclass(frozen=True)
class Tool:
    """One program: the folder of its go.mod, its package, and what it is called."""

    module: str
    package: str
    name: str


PROGRAMS = (
    Tool("etcd", "go.etcd.io/etcd/server/v3", "etcd"),
    Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
    Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
    Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
)


def tell(text: str) -> None:
    """Building takes minutes, so whoever waits sees at once what for."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def version() -> str:
    """The Kubernetes release that go.mod asks for, with its v."""
    text = (TOOLS / "kubernetes" / "go.mod").read_text()
    found = re.search(r"^\s*(?:require )?k8s\.io/kubernetes (v[\d.]+)(?: // indirect)?$", text, re.MULTILINE)
    assert found, "go.mod does not name k8s.io/kubernetes"
    return found[1]


def folder() -> Path:
    """Where the programs of exactly these go.mod files are kept."""
    digest = hashlib.sha256()
    for module in sorted({tool.module for tool in PROGRAMS}):
        for name in ("go.mod", "go.sum"):
            digest.update((TOOLS / module / name).read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "tml-bot" / "cluster" / f"{version()}-{digest.hexdigest()[:12]}"


def go() -> str:
    """Raises Missing."""
    found = shutil.which("go") or (str(USUAL_PLACE) if USUAL_PLACE.exists() else None)
    if found is None:
        raise Missing("Go is not installed: install it, or name a cluster in TML_BOT_TEST_KUBECONFIG")
    return found


def build(say: Callable[[str], None] = tell) -> Path:
    """The folder with the programs, built where they are not there yet. Raises Missing."""
    target = folder()
    wanted = [tool for tool in PROGRAMS if not (target / tool.name).exists()]
    if not wanted:
        return target
    command = go()
    target.mkdir(parents=True, exist_ok=True)
    say(f"building the control plane of Kubernetes {version()}, once: about ten minutes on two cores, 2 GB of cache")
    for module in dict.fromkeys(tool.module for tool in wanted):
        _fetch(command, module, [tool for tool in wanted if tool.module == module], say)
    for tool in wanted:
        _compile(command, tool, target, say)
    return target


def _fetch(command: str, module: str, tools: list[Tool], say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    done = _run([command, "list", "-deps", "-f", "{{.ImportPath}}", *(tool.package for tool in tools)], module)
    if done.returncode:
        raise Missing(f"the Go modules of {module} cannot be fetched: {_last_words(done.stderr)}")
    say(f"  {module}: the modules are there ({time.monotonic() - begun:.0f} s)")


def _compile(command: str, tool: Tool, target: Path, say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    partial = target / f"{tool.name}.{os.getpid()}"
    arguments = [command, "build", "-trimpath", "-ldflags", _flags(), "-o", str(partial), tool.package]
    done = _run(arguments, tool.module)
    if done.returncode:
        raise Missing(f"{tool.name} cannot be built: {_last_words(done.stderr)}")
    partial.replace(target / tool.name)
    say(f"  {tool.name}: built ({time.monotonic() - begun:.0f} s)")


def _flags() -> str:
    """Without these the servers say that they are v0.0.0-master."""
    major, minor = version().lstrip("v").split(".")[:2]
    values = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s -w", *(f"-X {VERSION_VARIABLES}.{key}={value}" for key, value in values.items())])


def _run(arguments: list[str], module: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    return subprocess.run(arguments, cwd=TOOLS / module, env=environment, capture_output=True, text=True, check=False)


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("go: downloading")]
    return " | ".join(lines[-3:]) or "no reason given"
