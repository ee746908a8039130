"""What is lost, said truthfully: from the plan of a delete to the end of a restore, through both sandboxes."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import CLAIMS, SECRETS, SERVICES, Object
from sandbox.slack import Message
from tests.e2e.belongings import everything_told
from tests.e2e.served import served
from tests.e2e.test_least_rights import allowed
from tests.e2e.town import PATIENCE, Town, staging_with, town, unhurried, words_of, words_of_blocks

PROD, STAGING = tml.PROD_NAMESPACE, tml.STAGING_NAMESPACE
SQLVOL = "sqlvol-mysql-set-0-0"
NOT_SEEN = "running, configuration NOT seen"
SYNCHRONISED = "can be synchronised again if MOM answers and the key is valid"
FOUND = r"mysql-set-0-0\s+sql\s+ACTIVE"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=unhurried) as made:
        yield made


def checking(
    command: str, expects: str, within: str = "1s", limit: str = "5s", component: str = "cm"
) -> Callable[[Sandbox], Path]:
    """A configuration in which staging has this check."""

    check = {"component": component, "command": command.split(), "expects": expects, "within": within, "timeout": limit}
    return staging_with("configuration_check", check)


async def stopped_without_sqlvol(place: Town) -> None:
    """Stopped, and then somebody removed the claim: its StatefulSet will make an empty one."""
    live = await place.orders("alice", "stop staging", "ops")
    await place.until_says(live, "Stopped staging")
    place.box.kubernetes.store.delete(CLAIMS, STAGING, SQLVOL)
    await place.box.kubernetes.until(lambda store: store.find(CLAIMS, STAGING, SQLVOL) is None, PATIENCE)


async def started(place: Town, end: str) -> Message:
    live = await place.orders("alice", "start staging", "ops")
    await place.until_says(live, end)
    return live


async def deleted_and_restored(place: Town, words: str, end: str) -> Message:
    _, card = await place.asks("alice", words, "ops")
    gone = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(gone, "Deleted staging")
    back = await place.operation(words_of(await place.types("alice", "restore staging")), "ops")
    await place.until_says(back, end)
    return back


async def test_card_and_dialog_name_for_each_volume_what_is_lost_with_it_by_the_clusters_mode(place: Town) -> None:
    for cluster, channel, mode in (("prod", "prod", "tethered"), ("staging", "ops", "untethered")):
        _, card = await place.asks("alice", f"delete {cluster} because it moves", channel)
        dialog = await place.box.slack.person("carol").opens("approve", card, timeout=PATIENCE)
        plan = words_of(await place.types("dave", f"plan delete {cluster}")) if mode == "tethered" else ""
        for shown in filter(None, (words_of(card), words_of_blocks(dialog.blocks), plan)):
            if "is busy" in shown:
                continue
            assert "*Lost if a kept volume itself is lost*" in shown
            assert "• nosqlvol-cass-set-0-0: OAuth tokens; portal content; (the registry forms again)" in shown
            assert "not forwarded (DEFAULT): all that have no setting of their own and verbose" in shown
            assert "forwarded, so elsewhere too: access" in shown
            assert "• cachevol-cache-set-0-0: nothing that matters" in shown
            assert (f"• {SQLVOL}: the API configuration: {SYNCHRONISED}" in shown) == (mode == "tethered")
            assert (f"• {SQLVOL}: the API configuration: untethered, nothing else has it" in shown) == (
                mode == "untethered"
            )
        assert ("• reportingvol-reporting-set-0-0: dashboards, metrics and logs of reporting" in words_of(card)) == (
            cluster == "prod"
        )


async def test_logs_of_which_nothing_can_be_read_count_as_lost_and_a_change_asks_anew(place: Town) -> None:
    box = place.box
    _, card = await place.asks("alice", "delete staging because it moves", "ops")
    fault = box.kubernetes.faults.add(Fault("status", verb="get", resource="secrets", name="log-property", status=403))
    page = await place.says_yes("carol", card, "staging")
    assert "a new approval is needed" in page
    assert "log stream access: forwarded before" not in page, "what is not known any more is no stream of its own"
    assert "log stream in general: not forwarded before, unknown now" in page
    box.kubernetes.faults.remove(fault)
    box.kubernetes.faults.add(Fault("status", verb="get", resource="secrets", name="log-property", status=403))
    shown = words_of(await place.types("alice", "plan delete staging"))
    assert "logs unknown whether forwarded, counted as lost: all that have no setting of their own" in shown


def with_broken_settings(box: Sandbox) -> None:
    """Canaries where they are read and where they are not."""
    text = json.dumps(
        {
            "td_agent_output_channelType": "CANARY IN THE CHANNEL TYPE",
            "td_agent_access_output_channelType": {"CANARY": "CANARY"},
            "td_agent_audit_output_password": "CANARY",
        }
    )

    def change(found: Object) -> None:
        found["data"]["tml_log_properties.json"] = base64.b64encode(text.encode()).decode()
        found["data"]["another.json"] = base64.b64encode(b"CANARY").decode()

    box.kubernetes.store.change(SECRETS, STAGING, "log-property", change)


async def test_nothing_else_of_the_secret_gets_into_slack_the_database_or_the_log(tmp_path: Path) -> None:
    async with town(tmp_path, serve=False) as place:
        box, configuration = place.box, unhurried(place.box)
        with_broken_settings(box)
        async with served(box, configuration) as running:
            await deleted_and_restored(place, "delete staging because it moves", "Restored staging")
            box.kubernetes.faults.add(Fault("status", verb="get", resource="secrets", name="log-property", status=500))
            assert "unknown" in words_of(await place.types("alice", "plan delete staging"))
            assert await running.terminated() == 0
        assert "log-property" in everything_told(box)


async def test_a_start_on_an_empty_sqlvol_says_everywhere_that_nobody_has_seen_the_configuration(place: Town) -> None:
    await stopped_without_sqlvol(place)
    live = await started(place, f"Started staging, {NOT_SEEN}")
    assert "Started staging in" in words_of(live)
    thread = place.thread(live)
    assert f"*staging is {NOT_SEEN}*" in thread
    assert "no check is configured" in thread
    assert f"{SQLVOL} is new: it was empty" in thread
    assert "untethered: only a backup" in thread
    assert "traffic answers" in thread, "which shows nothing about the configuration"
    for words in ("status staging", "list", "history staging"):
        assert NOT_SEEN in words_of(await place.types("dave", words)), words
    (finished,) = [one for one in await place.audit(kinds={"finished"}) if one.data["verb"] == "start"]
    assert (finished.data["state"], finished.data["checked"]["verdict"]) == ("done", "no check is configured")
    stopped = await place.orders("alice", "stop staging", "ops")
    await place.until_says(stopped, "Stopped staging")
    again = await started(place, f"Started staging, {NOT_SEEN}")
    assert f"{SQLVOL} is new" in place.thread(again), "until somebody has seen it"


async def test_of_a_tethered_cluster_it_is_said_that_it_can_be_synchronised_and_never_that_it_comes_back(
    place: Town,
) -> None:
    box = place.box
    live = await place.orders("alice", "stop prod")
    await place.until_says(live, "Stopped prod")
    box.kubernetes.store.delete(CLAIMS, PROD, SQLVOL)
    await box.kubernetes.until(lambda store: store.find(CLAIMS, PROD, SQLVOL) is None, PATIENCE)
    live = await place.orders("alice", "start prod")
    await place.until_says(live, f"Started prod, {NOT_SEEN}")
    thread = place.thread(live)
    assert f"It {SYNCHRONISED}." in thread
    assert "comes back" not in thread.lower()


@pytest.mark.parametrize(
    ("command", "expects", "limit", "end", "words"),
    [
        ("clustermanager ls components", FOUND, "5s", "Started staging", "configuration seen: the check passed"),
        ("clustermanager ls components", "SUSPENDED", "5s", NOT_SEEN, "the check does not find what it expects"),
        ("clustermanager nonsense", ".", "5s", NOT_SEEN, "the check fails (exit code 1)"),
        ("sleep 1000000", ".", "1s", NOT_SEEN, "the check does not come to an end"),
    ],
    ids=["passes", "finds something else", "fails", "hangs"],
)
async def test_the_configured_check_decides_what_is_said_and_its_output_stays_where_it_is(
    tmp_path: Path, command: str, expects: str, limit: str, end: str, words: str
) -> None:
    async with town(tmp_path, configured=checking(command, expects, limit=limit)) as place:
        await stopped_without_sqlvol(place)
        live = await started(place, "Started staging" if end == "Started staging" else f"Started staging, {end}")
        assert words in place.thread(live)
        assert (NOT_SEEN in live.text) == (end == NOT_SEEN)
        told = everything_told(place.box)
        assert "COMPONENT ID" not in told, "what the command wrote"
        assert (NOT_SEEN in words_of(await place.types("dave", "status staging"))) == (end == NOT_SEEN)


async def test_a_check_that_passes_after_all_is_told_in_the_same_message(tmp_path: Path) -> None:
    async with town(tmp_path, configured=checking("cat /var/lib/mysql/synchronised", "APIs", component="sql")) as place:
        await stopped_without_sqlvol(place)
        live = await started(place, f"Started staging, {NOT_SEEN}")
        place.box.kubernetes.volumes.write(STAGING, SQLVOL, "synchronised", b"7 APIs\n")
        assert "the check passed" in await place.until_thread(live, "configuration seen after all")
        await place.box.slack.until(lambda _: NOT_SEEN not in live.text, PATIENCE, "the live message says so")
        assert NOT_SEEN not in words_of(await place.types("dave", "status staging"))
        assert (await place.audit(kinds={"seen"}))[0].data["checked"][
            "verdict"
        ] == "configuration seen: the check passed"
        assert "7 APIs" not in everything_told(place.box)


async def test_a_restore_runs_the_check_although_it_brings_the_same_bytes(tmp_path: Path) -> None:
    async with town(tmp_path, configured=checking("clustermanager ls components", "SUSPENDED")) as place:
        back = await deleted_and_restored(place, "delete staging because it moves", f"Restored staging, {NOT_SEEN}")
        assert "the check does not find what it expects" in place.thread(back)
        assert "is new: it was empty" not in place.thread(back)
        assert NOT_SEEN in words_of(await place.types("dave", "status staging"))


async def test_without_its_right_a_check_keeps_a_start_from_beginning_and_with_the_documented_role_it_runs(
    tmp_path: Path,
) -> None:
    configured = checking("clustermanager ls components", FOUND)
    async with allowed(tmp_path / "few", "role.yaml", configured=configured) as place:
        live = await place.orders("carol", "stop staging", "ops")
        await place.until_says(live, "Stopped staging")
        answer = words_of(await place.types("carol", "start staging"))
        assert "Missing: get pods/exec, create pods/exec. Grant it (see deploy/rbac)" in answer
    async with allowed(tmp_path / "enough", "role.yaml", "check.yaml", configured=configured) as place:
        await stopped_without_sqlvol(place)
        live = await started(place, "Started staging")
        assert "configuration seen: the check passed" in place.thread(live)


async def test_a_right_that_is_taken_away_meanwhile_is_named_at_the_end(tmp_path: Path) -> None:
    async with town(tmp_path, configured=checking("clustermanager ls components", FOUND, within="1m")) as place:
        await stopped_without_sqlvol(place)
        place.box.kubernetes.faults.add(Fault("status", resource="pods/exec", status=403))
        live = await started(place, f"Started staging, {NOT_SEEN}")
        assert "there is no right to run the check (get and create pods/exec)" in place.thread(live)


def at(address: str) -> Callable[[Object], Any]:
    return lambda found: found.update(status={"loadBalancer": {"ingress": [{"ip": address}]}})


async def test_a_restore_says_of_each_service_whether_dns_has_to_follow(place: Town) -> None:
    box = place.box
    box.kubernetes.store.change(SERVICES, STAGING, "tm-svc", at("203.0.113.7"), subresource="status")
    words = "delete staging --release-services because it moves"
    assert "the address 203.0.113.7 of tm-svc is given up" in words_of(await place.types("alice", f"plan {words}"))
    back = await deleted_and_restored(place, words, "Restored staging")
    thread = place.thread(back)
    assert "*change DNS*: tm-svc was at 203.0.113.7 and is at 127.0.0.1 now" in thread
    assert "cm-svc-0 has the address 127.0.0.1, as before" in thread
    kept = await deleted_and_restored(place, "delete staging --keep-services because it moves", "Restored staging")
    thread = place.thread(kept)
    assert "tm-svc has the address 127.0.0.1, as before" in thread
    assert "change DNS" not in thread
