"""The house keeps its rooms: which folder may import what, and that importing a module does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OWN = {"bot", "lifecycle", "storage", "sandbox", "benchmarks", "tests"}
STANDARD = set(sys.stdlib_module_names)

ALLOWED: dict[str, set[str]] = {
    "lifecycle": {"lifecycle"},
    "lifecycle/kube": {"kubernetes", "aiohttp", "lifecycle"},
    "storage": {"sqlalchemy", "alembic", "lifecycle", "storage"},
    "sandbox": {"aiohttp", "yaml", "sandbox"},
    "bot": {
        "bot", "lifecycle", "storage", "slack_bolt", "slack_sdk", "aiohttp", "pydantic", "pydantic_core",
        "pydantic_settings", "yaml", "structlog", "apscheduler", "typer", "rich",
    },
}  # fmt: skip
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager"}


def modules() -> list[Path]:
    return sorted(path for room in ("bot", "lifecycle", "storage", "sandbox") for path in (ROOT / room).rglob("*.py"))


def room_of(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return max((room for room in ALLOWED if name.startswith(f"{room}/")), key=len)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    allowed = set(ALLOWED[room_of(path)])
    if path.relative_to(ROOT).as_posix() == "bot/__main__.py":
        allowed.add("sandbox")
    packages = {name.split(".")[0] for name in imports(path)}
    assert packages - STANDARD - allowed == set()


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_main_wires_the_door_to_kubernetes(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if not name.startswith("lifecycle/kube/") and name != "bot/__main__.py":
        assert not any(module.startswith("lifecycle.kube") for module in imports(path))


def test_no_module_is_a_drawer_for_anything() -> None:
    assert {path.stem for path in modules()} & FORBIDDEN_NAMES == set()


def test_importing_everything_starts_nothing() -> None:
    """No thread, no event loop, no open file or socket is left by importing every module."""
    names = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in modules()
        if "migrations/versions" not in path.as_posix() and path.name != "env.py"
    ]
    program = "\n".join(
        [
            "import importlib, os, threading",
            "before = set(os.listdir('/proc/self/fd'))",
            f"[importlib.import_module(name) for name in {names!r}]",
            "assert threading.active_count() == 1, threading.enumerate()",
            "assert set(os.listdir('/proc/self/fd')) <= before, os.listdir('/proc/self/fd')",
        ]
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)
