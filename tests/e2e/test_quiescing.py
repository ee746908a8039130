"""A hot set with commands before and after its cut, through both sandboxes."""

from datetime import timedelta
from pathlib import Path

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes.resources import STATEFULSETS
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.belongings import CANARY
from tests.e2e.served import Tripwire, served
from tests.e2e.test_least_rights import allowed
from tests.e2e.test_losses import SQLVOL
from tests.e2e.test_snapshot import assert_whole_set, content, order, snapshots
from tests.e2e.town import staging_with, town, words_of

STAGING = tml.STAGING_NAMESPACE


def leaving(file: str) -> list[str]:
    """It also writes what nobody is to read."""
    return ["sh", "-c", f"cat /var/lib/mysql/told && echo x > /var/lib/mysql/{file}"]


COMMANDS = {"component": "sql", "before": leaving("held"), "after": leaving("free")}


def tell(box: Sandbox) -> None:
    box.kubernetes.volumes.write(STAGING, SQLVOL, "told", CANARY.encode())


def files(box: Sandbox) -> set[str]:
    return {"held", "free"} & set(box.kubernetes.volumes.files(STAGING, SQLVOL))


def cut_files(box: Sandbox) -> set[str]:
    """Which of what the commands left is in the snapshot."""
    handle = content(box, snapshots(box)[SQLVOL])["status"]["snapshotHandle"]
    return {"held", "free"} & {path.name for path in box.kubernetes.volumes.snapshot_folder(handle).iterdir()}


async def test_a_plan_shows_the_commands_and_thread_list_and_record_say_that_the_set_is_quiesced(
    tmp_path: Path,
) -> None:
    async with town(
        tmp_path, before=tell, configured=staging_with("hot_commands", COMMANDS), filled=[STAGING]
    ) as place:
        shown = words_of(await place.types("alice", "plan snapshot staging hot"))
        assert "before the cut, in a pod of sql: sh -c 'cat /var/lib/mysql/told" in shown
        assert "run the command before, cut all and see it cut, run the command after in any case" in shown
        assert "in a pod of sql" not in words_of(await place.types("alice", "plan snapshot staging cold"))
        live = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
        assert_whole_set(place.box)
        assert cut_files(place.box) == {"held"}
        assert files(place.box) == {"held", "free"}
        assert "quiesced: the command before succeeded, then all was cut" in place.thread(live)
        assert "quiesced · " in words_of(await place.types("dave", "snapshots staging"))
        (entry,) = await place.audit(kinds={"snapshot-set"})
        assert entry.data["quiescence"]["is_quiesced"] is True


async def test_where_the_command_after_fails_the_line_to_run_by_hand_is_told_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifecycle.kube.quiescing.RESUMING", timedelta(seconds=0.1))
    failing = COMMANDS | {"after": ["nonsense", "all tables"]}
    async with town(tmp_path, before=tell, configured=staging_with("hot_commands", failing)) as place:
        live = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
        assert "The command after the cut was not seen to succeed" in words_of(live)
        thread = place.thread(live)
        assert "*not quiesced*: the command after ended with exit code 127" in thread
        assert f"kubectl -n {STAGING} exec mysql-set-0-0 -c tml-sql -- nonsense 'all tables'" in thread.replace(
            "--context sandbox ", ""
        )


def begins_to_hold(write: Write) -> bool:
    return write.changed and write.verb == "create" and write.resource == "volumesnapshots"


async def test_a_process_that_is_killed_between_the_commands_leaves_the_one_after_to_the_next(tmp_path: Path) -> None:
    configured = staging_with("hot_commands", COMMANDS)
    async with town(tmp_path, before=tell, configured=configured, filled=[STAGING], serve=False) as place:
        box = place.box
        configuration = configured(box)
        async with served(box, configuration) as first:
            box.kubernetes.server.writes = Tripwire(first.process, begins_to_hold, 2)  # type: ignore[assignment]
            await box.slack.person("alice").types("/tml snapshot staging hot", "ops")
            assert await first.ended() == -9
        assert files(box) == {"held"}
        async with served(box, configuration):

            def ended(_slack: object) -> Message | None:
                return next((one for one in place.posted("ops") if one.text.startswith("Cut a")), None)

            live = await box.slack.until(ended, 30.0, "the end")
            await place.until_thread(live, "*Volumes*")
        assert files(box) == {"held", "free"}
        assert_whole_set(box)
        assert "*not quiesced*: the bot was interrupted between the command before and the one after" in (
            place.thread(live)
        )


async def test_without_the_right_to_run_them_hot_sets_are_refused_and_cold_ones_are_not(tmp_path: Path) -> None:
    configured = staging_with("hot_commands", COMMANDS)
    async with allowed(tmp_path / "few", "role.yaml", "snapshot.yaml", configured=configured) as place:
        for words in ("snapshot staging hot", "snapshot staging"):
            answer = words_of(await place.types("carol", words))
            assert "Kubernetes does not let the bot run commands in pods in ml550-staging" in answer
            assert "Missing: get pods/exec, create pods/exec. Grant it (see deploy/rbac/check.yaml)" in answer
        live = await order(place, "snapshot staging cold", "Cut a snapshot set of staging")
        assert "quiesced" not in place.thread(live)
        assert files(place.box) == set()
    async with allowed(tmp_path / "all", "role.yaml", "snapshot.yaml", "check.yaml", configured=configured) as place:
        tell(place.box)
        live = await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
        assert "quiesced: the command before succeeded" in place.thread(live)


async def test_nothing_is_noted_on_a_workload_where_no_commands_are_configured(tmp_path: Path) -> None:
    async with town(tmp_path) as place:
        await order(place, "snapshot staging hot", "Cut a snapshot set of staging")
        for found in place.box.kubernetes.store.list(STATEFULSETS, STAGING):
            assert "tml-bot/quiescing" not in (found["metadata"].get("annotations") or {})
