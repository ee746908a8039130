"""Builds etcd, Kubernetes' servers and the storage's as Go tools, once, into the user's cache."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

TOOLS = Path(__file__).parent / "tools"
USUAL_PLACE = Path("/usr/local/go/bin/go")
"""Where Go's own installation instructions put it, which is not on every PATH."""
VERSION_VARIABLES = "k8s.io/component-base/version"


class Missing(Exception):
    """What is needed is not on this machine and cannot be fetched; the text names it and says what to do."""


class Broken(Exception):
    """All that is needed is there, and a program cannot be built of it."""


@dataclass(frozen=True)
class Tool:
    """One program: the folder of its go.mod, its package, and what it is called."""

    module: str
    package: str
    name: str


SNAPSHOTTER = "github.com/kubernetes-csi/external-snapshotter"
PROVISIONER = "github.com/kubernetes-csi/external-provisioner"
PROGRAMS = (
    Tool("etcd", "go.etcd.io/etcd/server/v3", "etcd"),
    Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
    Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
    Tool("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
    Tool("snapshotter", f"{SNAPSHOTTER}/v8/cmd/snapshot-controller", "snapshot-controller"),
    Tool("snapshotter", f"{SNAPSHOTTER}/v8/cmd/csi-snapshotter", "csi-snapshotter"),
    Tool("provisioner", f"{PROVISIONER}/v6/cmd/csi-provisioner", "csi-provisioner"),
    Tool("hostpath", ".", "hostpath"),
)
DEFINITIONS = "config/crd"
"""Where SNAPSHOTTER's client module has the CustomResourceDefinitions of what the snapshotter works on."""
SOURCES = (".mod", ".sum", ".go")


@dataclass(frozen=True)
class Built:
    """Where the programs are, by name, and the folder of the CustomResourceDefinitions, one JSON file for each."""

    programs: Mapping[str, Path]
    definitions: Path


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


def folder(module: str) -> Path:
    """Where the programs of exactly this go.mod are kept, and of exactly this source where the source is ours."""
    digest = hashlib.sha256()
    for file in sorted(TOOLS.joinpath(module).iterdir()):
        if file.suffix in SOURCES:
            digest.update(f"{file.name}\0".encode() + file.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "tml-bot" / "cluster" / f"{module}-{digest.hexdigest()[:12]}"


def go() -> str:
    """Raises Missing."""
    found = shutil.which("go") or (str(USUAL_PLACE) if USUAL_PLACE.exists() else None)
    if found is None:
        raise Missing("Go is not installed: install it, or name a cluster in TML_BOT_TEST_KUBECONFIG")
    return found


def build(say: Callable[[str], None] = tell) -> Built:
    """Everything, built where it is not there yet. Raises Missing and Broken."""
    targets = {tool.name: folder(tool.module) / tool.name for tool in PROGRAMS}
    definitions = folder("snapshotter") / "definitions"
    wanted = [tool for tool in PROGRAMS if not targets[tool.name].exists()]
    command = go() if wanted else ""
    if shutil.which("openssl") is None:
        raise Missing("openssl is not installed: the API server's certificate is made with it")
    if wanted:
        _make(command, wanted, targets, say)
    if not definitions.exists():
        _copy_definitions(definitions)
    return Built(targets, definitions)


def _make(command: str, wanted: list[Tool], targets: Mapping[str, Path], say: Callable[[str], None]) -> None:
    names = ", ".join(tool.name for tool in wanted)
    say(f"building {names}, once; all of the control plane takes about a quarter of an hour on two cores")
    for module in dict.fromkeys(tool.module for tool in wanted):
        _fetch(command, module, [tool for tool in wanted if tool.module == module], say)
    for tool in wanted:
        _compile(command, tool, targets[tool.name], say)


def _fetch(command: str, module: str, tools: list[Tool], say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    done = _run([command, "list", "-deps", "-f", "{{.ImportPath}}", *(tool.package for tool in tools)], module)
    if done.returncode:
        raise Missing(f"the Go modules of {module} cannot be fetched: {_last_words(done.stderr)}")
    say(f"  {module}: the modules are there ({time.monotonic() - begun:.0f} s)")


def _compile(command: str, tool: Tool, target: Path, say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{tool.name}.{os.getpid()}")
    arguments = [command, "build", "-trimpath", "-ldflags", _flags(tool.module), "-o", str(partial), tool.package]
    done = _run(arguments, tool.module)
    if done.returncode:
        raise Broken(f"{tool.name} cannot be built: {_last_words(done.stderr)}")
    partial.replace(target)
    say(f"  {tool.name}: built ({time.monotonic() - begun:.0f} s)")


def _copy_definitions(target: Path) -> None:
    done = _run([go(), "list", "-m", "-f", "{{.Dir}}", f"{SNAPSHOTTER}/client/v8"], "snapshotter")
    found = Path(done.stdout.strip()) / DEFINITIONS
    if done.returncode or not found.is_dir():
        raise Missing(f"{SNAPSHOTTER}/client/v8 cannot be fetched: {_last_words(done.stderr)}")
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    for file in found.glob("*.storage.k8s.io_*.yaml"):
        text = json.dumps(yaml.safe_load(file.read_text()))  # JSON is read in a fiftieth of the time
        partial.joinpath(f"{file.stem}.json").write_text(text)
    partial.replace(target)


def _flags(module: str) -> str:
    """Without the versions Kubernetes' servers say that they are v0.0.0-master."""
    return " ".join(["-s -w", *(_versions() if module == "kubernetes" else [])])


def _versions() -> list[str]:
    major, minor = version().lstrip("v").split(".")[:2]
    values = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return [f"-X {VERSION_VARIABLES}.{key}={value}" for key, value in values.items()]


def _run(arguments: list[str], module: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    return subprocess.run(arguments, cwd=TOOLS / module, env=environment, capture_output=True, text=True, check=False)


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("go: downloading")]
    return " | ".join(lines[-3:]) or "no reason given"
