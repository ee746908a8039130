"""The command line as people use it: what it prints, how it exits, and that no mistake ends in a trace."""

import asyncio
import logging
import os
import signal
import socket
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import sandbox
from bot.__main__ import SystemClock, app
from lifecycle.kube import rights
from lifecycle.ports import Right
from sandbox import Sandbox, tml
from sandbox.kubernetes.access import Identity, Role
from storage.audit import AuditLog, Entry
from storage.database import open_database

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 20.0
LOOKING = tuple(Role.of(rule) for rule in yaml.safe_load((ROOT / "deploy/rbac/look.yaml").read_text())["rules"])
OPERATING = tuple(
    Role.of(rule)
    for document in yaml.safe_load_all((ROOT / "deploy/rbac/role.yaml").read_text())
    for rule in document.get("rules", ())
)


REMOVING, SNAPSHOTTING, GROUPING, VERIFYING, DELETING, PURGING, CHECKING = (
    tuple(
        Role.of(rule)
        for document in yaml.safe_load_all((ROOT / "deploy/rbac" / name).read_text())
        for rule in document.get("rules", ())
    )
    for name in (
        *("remove.yaml", "snapshot.yaml", "group.yaml", "verify.yaml", "delete.yaml", "purge.yaml", "check.yaml"),
    )
)


@dataclass
class Shell:
    """Runs the program's commands against a sandbox that this process serves."""

    box: Sandbox
    configuration: Path

    async def says(self, *arguments: str, **changed: str) -> tuple[int, str]:
        """Exit code and everything it printed, of a command that ends by itself, in a thread."""
        environment = {**self.box.environ, **changed}
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    async def runs(self, *arguments: str, **changed: str) -> tuple[int, str]:
        """Exit code and everything it printed, as a process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot",
            *arguments,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **self.box.environ, **changed},
            stdout=PIPE,
            stderr=STDOUT,
        )
        try:
            async with asyncio.timeout(TIME_LIMIT):
                printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = printed.decode()
        assert "Traceback" not in text, text
        assert "Unclosed" not in text, text
        assert process.returncode is not None
        return process.returncode, text

    async def checks(self, **changed: str) -> tuple[int, list[str]]:
        code, text = await self.says("check", "--config", str(self.configuration), **changed)
        return code, text.splitlines()

    def rewrites(self, old: str, new: str) -> None:
        text = self.configuration.read_text()
        assert old in text
        self.configuration.write_text(text.replace(old, new))

    def restricts(self, rules: tuple[Role, ...]) -> None:
        """From now on the kubeconfig's token may do only this."""
        self.box.kubernetes.server.tokens["restricted"] = Identity("restricted", rules)
        context = {sandbox.CONTEXT: tml.PROD_NAMESPACE}
        self.box.kubernetes.kubeconfig(self.box.kubeconfig, dict(context), {sandbox.CONTEXT: "restricted"})


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command settles its process's logging; here that is the tests' own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with sandbox.start(tmp_path, time_scale=0.002, limits=None) as box:
        yield Shell(box, box.write_configuration())


async def test_check_says_what_is_well_and_changes_nothing(shell: Shell) -> None:
    shell.restricts((*OPERATING, *REMOVING, *SNAPSHOTTING, *GROUPING, *VERIFYING, *DELETING, *PURGING, *CHECKING))
    code, lines = await shell.checks()
    assert code == 0
    assert lines == [
        "slack: ok, tml in TML",
        "channel C0PROD: ok",
        "channel C0OPS: ok",
        f"cluster prod: ok, 7 workloads in sandbox/{tml.PROD_NAMESPACE}",
        "cluster prod: stop --remove: granted",
        "cluster prod: snapshots: granted",
        "cluster prod: hot sets as one volume group: granted",
        "cluster prod: verify: granted",
        "cluster prod: delete and restore: granted",
        "cluster prod: purge: granted",
        "cluster prod: flush before a cold snapshot: granted",
        "cluster prod: captures: not copied (captures.copy_to): who deletes the namespace deletes the way back",
        f"cluster staging: ok, 6 workloads in sandbox/{tml.STAGING_NAMESPACE}",
        "cluster staging: stop --remove: granted",
        "cluster staging: snapshots: granted",
        "cluster staging: hot sets as one volume group: granted",
        "cluster staging: verify: granted",
        "cluster staging: delete and restore: granted",
        "cluster staging: purge: granted",
        "cluster staging: flush before a cold snapshot: granted",
        "cluster staging: captures: not copied (captures.copy_to): who deletes the namespace deletes the way back",
    ]
    assert not shell.box.kubernetes.writes
    assert not shell.box.slack.sockets.open
    assert not (shell.box.folder / "tml-bot.db").exists()


async def test_check_names_the_rights_that_stop_remove_lacks_and_finds_no_problem_in_that(shell: Shell) -> None:
    shell.restricts((*OPERATING, *(rule for rule in REMOVING if "secrets" not in rule.resources)))
    code, lines = await shell.checks()
    assert code == 0
    (told, _) = [line for line in lines if "stop --remove" in line]
    assert told.startswith("cluster prod: stop --remove: not granted (get secrets, list secrets, watch secrets, ")
    assert told.endswith("see deploy/rbac/remove.yaml")


async def test_check_names_the_rights_that_delete_and_restore_lack_and_finds_no_problem_in_that(shell: Shell) -> None:
    deleting = (rule for rule in DELETING if rule.resources != ("persistentvolumes",))
    shell.restricts((*OPERATING, *SNAPSHOTTING, *deleting))
    code, lines = await shell.checks()
    assert code == 0
    told = "delete and restore: not granted (patch persistentvolumes), see deploy/rbac/delete.yaml"
    assert [line for line in lines if "restore" in line] == [f"cluster {name}: {told}" for name in ("prod", "staging")]


async def test_check_tells_that_nothing_is_flushed_without_its_rights_which_is_no_problem(
    shell: Shell,
) -> None:
    shell.restricts((*OPERATING, *SNAPSHOTTING))
    code, lines = await shell.checks()
    assert code == 0
    told = "flush before a cold snapshot: not granted (get pods/exec, create pods/exec), see deploy/rbac/check.yaml"
    assert [line for line in lines if "flush" in line] == [f"cluster {name}: {told}" for name in ("prod", "staging")]


async def test_check_tells_of_copies_where_they_are_configured_and_what_they_lack(shell: Shell) -> None:
    shell.rewrites("channel: C0PROD\n", "channel: C0PROD\n    captures: {copy_to: tml-captures}\n")
    shell.restricts(OPERATING)
    code, lines = await shell.checks()
    assert code == 0
    copied, anew, without = [line for line in lines if "captures" in line.split(":")[1]]
    where = "cluster prod: captures, copied to tml-captures"
    assert copied.startswith(f"{where}: not granted (get secrets in tml-captures, list secrets in tml-captures, ")
    assert anew.startswith("cluster prod: captures, sets bound anew: not granted (create volumesnapshots ")
    assert copied.endswith("see deploy/rbac/captures.yaml")
    assert without.startswith("cluster staging: captures: not copied")
    finding = Role(("",), ("namespaces",), ("get",))
    shell.restricts((*OPERATING, finding))
    _, lines = await shell.checks()
    assert [line for line in lines if "There is no namespace tml-captures" in line]


async def test_check_names_the_rights_that_a_configured_check_lacks(shell: Shell) -> None:
    check = "{component: cm, command: [clustermanager, ls, components], expects: ACTIVE}"
    shell.rewrites("channel: C0PROD\n", f"channel: C0PROD\n    configuration_check: {check}\n")
    shell.restricts(OPERATING)
    code, lines = await shell.checks()
    assert code == 1
    assert [line for line in lines if "missing right" in line] == [
        f"cluster prod: missing right in {tml.PROD_NAMESPACE}: {verb} pods/exec" for verb in ("get", "create")
    ]


async def test_check_names_the_rights_that_a_restore_test_lacks_and_finds_no_problem_in_that(shell: Shell) -> None:
    shell.restricts((*OPERATING, *SNAPSHOTTING))
    code, lines = await shell.checks()
    assert code == 0
    missing = "patch persistentvolumes, get pods, create pods, delete pods"
    missing += ", create persistentvolumeclaims, delete persistentvolumeclaims"
    told = f"verify: not granted ({missing}), see deploy/rbac/verify.yaml"
    assert [line for line in lines if "verify" in line] == [f"cluster {name}: {told}" for name in ("prod", "staging")]


async def test_check_names_all_that_is_wrong_in_one_line_each(shell: Shell) -> None:
    shell.box.slack.channel("prod").members.discard(shell.box.slack.bot_user_id)
    shell.rewrites(f"namespace: {tml.STAGING_NAMESPACE}", "namespace: nowhere")
    shell.restricts(tuple(rule for rule in OPERATING if rule.resources != ("leases",)))
    code, lines = await shell.checks(SLACK_APP_TOKEN="xapp-1-wrong")
    assert code == 1
    assert lines == [
        "slack: ok, tml in TML",
        "slack, SLACK_APP_TOKEN: Slack says invalid_auth",
        "channel C0PROD: the bot is no member; invite it with /invite",
        "channel C0OPS: ok",
        *(
            f"cluster {cluster}: missing right in {namespace}: {verb} leases (coordination.k8s.io)"
            for cluster, namespace in (("prod", tml.PROD_NAMESPACE), ("staging", "nowhere"))
            for verb in ("get", "create", "update")
        ),
    ]


async def test_check_names_a_namespace_without_a_cluster_and_a_context_that_is_none(shell: Shell) -> None:
    shell.rewrites(f"namespace: {tml.STAGING_NAMESPACE}", "namespace: nowhere")
    shell.rewrites("prod:\n    context: sandbox", "prod:\n    context: elsewhere")
    code, lines = await shell.checks()
    assert code == 1
    prod, staging = lines[3:]
    assert prod.startswith("cluster prod: context elsewhere of the kubeconfig cannot be loaded")
    assert staging.startswith("cluster staging: sandbox/nowhere holds no TML workload")


async def test_check_names_a_bad_token_without_showing_it_and_servers_that_cannot_be_reached(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"127.0.0.1:{server.getsockname()[1]}"
    away = shell.box.folder / "away"
    away.write_text(shell.box.kubeconfig.read_text().replace(shell.box.kubernetes.url, f"http://{nobody}"))
    refused, known = await shell.checks(SLACK_BOT_TOKEN="xoxb-wrong")
    unreached, lines = await shell.checks(SLACK_API_URL=f"http://{nobody}/api/", KUBECONFIG=str(away))
    assert (refused, unreached) == (1, 1)
    assert known[0] == "slack, SLACK_BOT_TOKEN: Slack says invalid_auth"
    assert "xoxb-wrong" not in str(known)
    assert len(lines) == 3
    assert lines[0].startswith("slack, SLACK_BOT_TOKEN: Cannot connect")
    assert lines[1].startswith("cluster prod: ")
    assert f"cannot connect to {nobody}" in lines[1]


async def test_look_prints_the_cluster_and_the_plan_with_reading_rights_alone(shell: Shell) -> None:
    shell.restricts(LOOKING)
    code, text = await shell.says("look", "--context", sandbox.CONTEXT, "-n", tml.PROD_NAMESPACE)
    assert code == 0
    words = [line.split() for line in text.splitlines()]
    assert next(line[:3] for line in words if line[:1] == ["sql"]) == ["sql", "statefulset/mysql-set-0", "1/1"]
    tm = next(line for line in words if line[:1] == ["tm"])
    assert {"nosql,", "log,", "sql", "cache"} <= set(tm)
    claim = next(line for line in words if line[:1] == ["sqlvol-mysql-set-0-0"])
    assert claim[1:] == ["Bound", "20Gi", "sql-storage-class", "hostpath.csi.sandbox"]
    assert "The plan of a stop (nothing is done):" in text
    assert "tm 2 → 0" in text
    assert not shell.box.kubernetes.writes
    assert not shell.box.slack.calls


async def test_look_says_in_one_line_why_there_is_nothing_to_see(shell: Shell) -> None:
    expected = {
        ("--context", sandbox.CONTEXT, "-n", "default"): "default holds no TML workload",
        ("--context", "elsewhere", "-n", "default"): "context elsewhere of the kubeconfig cannot be loaded",
        ("-n", "default"): "the service account of this pod cannot be loaded",
    }
    for arguments, answer in expected.items():
        code, text = await shell.says("look", *arguments)
        assert code == 1
        assert len(text.splitlines()) == 1
        assert answer in text


async def test_look_without_a_kubeconfig_is_one_line_too(shell: Shell) -> None:
    nothing = str(shell.box.folder / "no-kubeconfig")
    code, text = await shell.runs("look", "--context", "elsewhere", "-n", "default", KUBECONFIG=nothing)
    assert code == 1
    assert text == "elsewhere/default: context elsewhere of the kubeconfig cannot be loaded (ConfigException)\n"


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_file_that_is_missing_or_wrong_is_named_with_its_line_and_exits_2(command: str, tmp_path: Path) -> None:
    tokens = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}
    missing = CliRunner().invoke(app, [command, "--config", str(tmp_path / "none.yaml")], env=tokens)
    assert missing.exit_code == 2
    assert missing.stderr.splitlines() == [f"{tmp_path}/none.yaml: cannot be read: No such file or directory"]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("channel: C0OPS\nclusters:\n  prod:\n    namespace: [unclosed\n")
    broken = CliRunner().invoke(app, [command, "--config", str(wrong)], env=tokens)
    assert broken.exit_code == 2
    assert broken.stderr.startswith(f"{wrong}:5: ")
    assert len(broken.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (
            "postgresql+asyncpg://u:secret@h/d",
            "TML_BOT_DATABASE_URL: expected an SQLite address, which begins with sqlite+aiosqlite://",
        ),
        (
            "sqlite+aiosqlite:///:memory:",
            "the database's URL names no plain file: write sqlite+aiosqlite:////data/tml-bot.db",
        ),
    ],
)
def test_a_database_that_is_not_supported_is_named_and_exits_2(tmp_path: Path, address: str, problem: str) -> None:
    file = tmp_path / "tml-bot.yaml"
    file.write_text("channel: C0OPS\nclusters: {prod: {namespace: ml550, environment: production}}\n")
    environment = {
        "SLACK_BOT_TOKEN": "xoxb-1",
        "SLACK_APP_TOKEN": "xapp-1",
        "TML_BOT_DATABASE_URL": address,
    }
    result = CliRunner().invoke(app, ["serve", "--config", str(file)], env=environment)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [problem]


async def test_serve_says_in_one_line_what_keeps_it_from_starting(shell: Shell) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        other = shell.box.folder / "other.yaml"
        port = f"health_port: {taken.getsockname()[1]}"
        other.write_text(shell.configuration.read_text().replace("health_port: 0", port))
        (token, refused), (address, in_use) = await asyncio.gather(
            shell.runs("serve", "--config", str(shell.configuration), SLACK_BOT_TOKEN="xoxb-wrong"),
            shell.runs("serve", "--config", str(other)),
        )
    assert (token, refused.splitlines()[-1]) == (1, "tml-bot: Slack says invalid_auth")
    assert address == 1
    assert "address already in use" in in_use.splitlines()[-1]


def test_every_command_explains_itself() -> None:
    whole = CliRunner().invoke(app, ["--help"])
    assert whole.exit_code == 0
    for command in ("serve", "check", "look", "demo", "sandbox"):
        assert command in whole.stdout
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
    assert CliRunner().invoke(app, []).exit_code == 2


async def test_the_sandbox_ends_with_ctrl_c_and_leaves_another_one_alone(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "bot", "sandbox")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    first = await asyncio.create_subprocess_exec(
        *command, "--slack-port", "0", "--kubernetes-port", "0", cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE
    )
    assert first.stdout is not None
    async with asyncio.timeout(TIME_LIMIT):
        assert "runs until Ctrl-C" in (await first.stdout.readline()).decode()
        port = (await first.stdout.readuntil(b"/ ")).decode().rpartition(":")[2].strip("/ ")
        second = await asyncio.create_subprocess_exec(
            *command, "--slack-port", port, cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE
        )
        _, said = await second.communicate()
        assert second.returncode == 1
        assert said.decode().startswith("tml-bot: ")
        assert "ddress already in use" in said.decode()
        assert len(said.decode().splitlines()) == 1
        assert (tmp_path / "var/sandbox/tml-bot.db").exists()
        first.send_signal(signal.SIGINT)
        _, said = await first.communicate()
        assert (first.returncode, said.decode()) == (0, "")


def test_the_rights_that_are_asked_for_are_those_of_the_role() -> None:
    def is_granted(right: Right, rules: tuple[Role, ...]) -> bool:
        return any(
            right.group in rule.api_groups and right.resource in rule.resources and right.verb in rule.verbs
            for rule in rules
        )

    assert [right for right in rights.NEEDED if not is_granted(right, OPERATING)] == []
    assert [right for right in rights.READING if not is_granted(right, LOOKING)] == []


def test_audit_verify_tells_whether_the_log_is_as_it_was_written(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/bot.db"

    def verified() -> tuple[int, str]:
        result = CliRunner().invoke(app, ["audit", "verify", "--database", url])
        return result.exit_code, result.output

    code, text = verified()
    assert (code, "no database" in text, list(tmp_path.iterdir())) == (2, True, [])
    asyncio.run(written(url))
    code, text = verified()
    assert (code, text.startswith("ok: 3 entries")) == (0, True)
    with sqlite3.connect(tmp_path / "bot.db") as connection:
        connection.execute("DROP TRIGGER audit_is_never_changed")
        connection.execute("UPDATE audit SET kind = 'other' WHERE seq = 2")
    connection.close()
    code, text = verified()
    assert (code, text.startswith("bad: entry 2 was changed")) == (1, True)


async def written(url: str) -> None:
    async with open_database(url) as database:
        for kind in ("one", "two"):
            await AuditLog(database, SystemClock()).record(Entry(kind))
