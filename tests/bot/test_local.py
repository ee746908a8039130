"""Operating without Slack: the same gate and record, from the command line."""

import os
import pwd
import signal
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import sandbox
from bot import local
from bot.settings import CommandLine
from bot.views.blocks import context, escape, message, preformatted, section
from bot.views.plain import plain
from lifecycle.errors import NotAllowed, NotUnderstood
from lifecycle.model import Person
from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.resources import STATEFULSETS
from tests.bot.test_command_line import ROOT, Shell
from tests.e2e.test_main_job import replicas
from tests.e2e.town import SCALE, Town, bot, unhurried

HERE = pwd.getpwuid(os.getuid()).pw_name
STAGING = tml.STAGING_NAMESPACE


def configured(box: Sandbox) -> Path:
    """Whoever runs the tests is carol, an operator of staging by her own id and of prod by a group."""
    path = unhurried(box)
    path.write_text(f"command_line:\n  team: T0TML\n  people: {{{HERE}: U0CAROL}}\n{path.read_text()}")
    return path


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with sandbox.start(tmp_path, time_scale=SCALE, limits=None) as box:
        yield Shell(box, configured(box))


async def op(shell: Shell, *words: str) -> tuple[int, str]:
    return await shell.runs("op", *words, "--config", str(shell.configuration))


async def test_a_cluster_is_stopped_and_started_without_slack_and_slack_learns_of_it_later(shell: Shell) -> None:
    box = shell.box
    before = replicas(box, STAGING)
    code, printed = await op(shell, "stop", "staging", "--reason", "slack is away")
    assert code == 0, printed
    assert "staging is stopped after" in printed
    assert "→ tm going to 0 (was 1, remembered)" in printed
    assert set(replicas(box, STAGING).values()) == {0}
    assert (await op(shell, "start", "staging", "--reason", "all is well"))[0] == 0
    assert replicas(box, STAGING) == before
    async with bot(box, shell.configuration):
        place = Town(box)
        live = await place.the_one("Stopped staging: slack is away")
        assert "<@U0CAROL> asked to stop it" in str(live.blocks)
        assert "*staging is stopped* after" in place.thread(live)


async def test_production_asks_for_the_clusters_name_and_nobody_there_to_type_it_is_a_no(shell: Shell) -> None:
    shell.rewrites('operators: ["@S0TMLOPS"]', "operators: [U0CAROL]")
    before = replicas(shell.box)
    code, printed = await op(shell, "stop", "prod", "--reason", "slack is away")
    assert code == local.REFUSED
    assert "API traffic stops" in printed
    assert "Type prod to go on:" in printed
    assert replicas(shell.box) == before
    code, printed = await op(shell, "stop", "prod", "--reason", "slack is away", "--yes")
    assert code == local.DONE, printed
    assert set(replicas(shell.box).values()) == {0}


REFUSED = [
    (("stop", "prod", "--reason", "x"), "the command line asks Slack nothing"),
    (("stop", "staging"), "Say why: --reason"),
    (("stop", "nowhere", "--reason", "x"), "There is no cluster 'nowhere'"),
    (("cancel", "staging", "--reason", "x"), "Nothing is running on staging"),
    (("delete", "staging", "--reason", "x"), "nothing that needs two people"),
    (("approve", "ap-000000", "staging"), "nothing that needs two people"),
    (("restore", "staging", "--reason", "x"), "nothing that needs two people"),
]


@pytest.mark.parametrize(("words", "why"), REFUSED)
async def test_what_may_not_be_done_here_is_refused_with_the_reason_and_changes_nothing(
    shell: Shell, words: tuple[str, ...], why: str
) -> None:
    before = replicas(shell.box), replicas(shell.box, STAGING)
    code, printed = await op(shell, *words)
    assert code == local.REFUSED
    assert why in " ".join(printed.split())
    assert (replicas(shell.box), replicas(shell.box, STAGING)) == before


async def test_who_is_not_configured_may_do_nothing(shell: Shell) -> None:
    shell.rewrites(HERE, "somebody-else")
    code, printed = await op(shell, "status", "staging")
    assert code == local.REFUSED
    assert f"The operating system's user {HERE} is nobody to the bot" in printed


async def test_status_and_plan_say_what_slack_would_show(shell: Shell) -> None:
    code, printed = await op(shell, "status", "staging")
    assert code == local.DONE
    assert "staging is running" in printed
    assert "Volumes 4 of 4 Bound" in printed
    assert "<" not in printed
    code, printed = await op(shell, "plan", "stop", "staging")
    assert code == local.DONE
    assert "1. cm 1 → 0 and tm 1 → 0" in printed


async def until_printed(process: Process, words: str) -> str:
    assert process.stdout
    printed = ""
    while words not in printed:
        line = await process.stdout.readline()
        assert line, printed
        printed += line.decode()
    return printed


async def begun(shell: Shell, *words: str) -> Process:
    config = ("--config", str(shell.configuration))
    environment = {"PATH": os.environ["PATH"], **shell.box.environ}
    arguments = (sys.executable, "-u", "-m", "bot", "op", *words, *config)
    return await create_subprocess_exec(*arguments, cwd=ROOT, env=environment, stdout=PIPE, stderr=STDOUT)


async def test_what_was_interrupted_is_gone_on_with_by_the_bot(shell: Shell) -> None:
    box = shell.box
    box.kubernetes.annotate(STATEFULSETS, STAGING, "log-set-0", FAULT_ANNOTATION, "stuck-terminating")
    process = await begun(shell, "stop", "staging", "--reason", "slack is away")
    await until_printed(process, "log going to 0")
    process.send_signal(signal.SIGINT)
    assert "the bot goes on with it" in await until_printed(process, "Interrupted")
    assert await process.wait() == local.INTERRUPTED
    box.kubernetes.annotate(STATEFULSETS, STAGING, "log-set-0", FAULT_ANNOTATION, None)
    async with bot(box, shell.configuration):
        await Town(box).the_one("Stopped staging: slack is away")


async def test_what_slack_began_is_cancelled_from_here_while_the_bot_carries_it_out(shell: Shell) -> None:
    box = shell.box
    box.kubernetes.annotate(STATEFULSETS, STAGING, "log-set-0", FAULT_ANNOTATION, "stuck-terminating")
    async with bot(box, shell.configuration):
        place = Town(box)
        live = await place.orders("carol", "stop staging", "ops")
        await place.until_thread(live, "*log* going to 0")
        code, printed = await op(shell, "cancel", "staging", "--reason", "it was the wrong one")
        assert code == local.DONE, printed
        assert "not done: nosql and log" in printed
        await place.until_says(live, "CANCELLED before it could stop staging: it was the wrong one")


async def test_what_a_lost_process_left_is_taken_up_by_one_that_runs_all_the_while(shell: Shell) -> None:
    box = shell.box
    box.kubernetes.annotate(STATEFULSETS, STAGING, "log-set-0", FAULT_ANNOTATION, "stuck-terminating")
    process = await begun(shell, "stop", "staging", "--reason", "slack is away")
    await until_printed(process, "log going to 0")
    async with bot(box, shell.configuration):
        process.kill()
        await process.wait()
        box.kubernetes.annotate(STATEFULSETS, STAGING, "log-set-0", FAULT_ANNOTATION, None)
        live = await Town(box).the_one("Stopped staging: slack is away")
        assert "taken up by" in Town(box).thread(live)


def test_who_somebody_is_comes_from_the_user_and_not_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "alice")
    people = CommandLine("T0TML", {HERE: "U0CAROL", "alice": "U0ALICE"})
    assert local.person_here(people) == Person("T0TML", "U0CAROL")
    with pytest.raises(NotAllowed):
        local.person_here(CommandLine("T0TML", {"alice": "U0ALICE"}))


def test_a_user_without_a_name_goes_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert local.person_here(CommandLine("T0TML", {"4000000": "U0CAROL"})) == Person("T0TML", "U0CAROL")


def test_a_line_is_what_would_be_typed() -> None:
    assert local.line(["start", "prod", "reporting=1", "--overwrite"], "all is well") == (
        "start prod reporting=1 --overwrite because all is well"
    )
    with pytest.raises(NotUnderstood):
        local.line(["start", "prod"], " ")


def test_a_message_as_plain_text_says_the_same_without_slacks_signs() -> None:
    told = message(
        "x",
        [
            section(
                "*prod* is <!date^1795599405^{date}|2026-11-25 09:36 UTC> <@U0CAROL> in <#C0OPS|ops> :recycle: `/tml x`"
            ),
            context(f":x: {escape('a < b & c')} <https://example.com|here>\n:white_check_mark: done"),
            *preformatted(["NAME  *STATUS*"]),
            {"type": "actions", "elements": []},
        ],
    )
    assert plain(told) == [
        "prod is 2026-11-25 09:36 UTC @U0CAROL in #C0OPS `/tml x`",
        "✗ a < b & c here",
        "✓ done",
        "NAME  *STATUS*",
    ]
