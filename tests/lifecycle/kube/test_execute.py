"""What comes over an exec's channels, and what is made of it; tests/contract has it on a real API."""

import json
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from lifecycle.errors import Forbidden, Invalid, Retryable
from lifecycle.kube.door import Door
from lifecycle.kube.execute import LONGEST_OUTPUT, Executed, execute
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox, ObjectFault
from sandbox.kubernetes.access import Identity
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import PODS
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import OpenDoor

SECRET = "CANARY-6f1c"


class Wire:
    """A door through which these messages come."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = messages

    async def converse(self, *_: Any) -> AsyncGenerator[bytes, None]:
        for message in self._messages:
            yield message


def status(**said: Any) -> bytes:
    return b"\x03" + json.dumps(said).encode()


SUCCESS = status(status="Success", metadata={})
FAILED = status(
    status="Failure",
    reason="NonZeroExitCode",
    message="command terminated with non-zero exit code: exit status 7",
    details={"causes": [{"reason": "ExitCode", "message": "7"}]},
)


async def hear(*messages: bytes) -> Executed:
    return await execute(cast("Door", Wire(*messages)), "ml550", "cm-0", "tml-cm", ["ls"], seconds=5)


@pytest.mark.parametrize(
    ("messages", "ended"),
    [
        ((b"\x01", b"\x02", b"\x03", SUCCESS), Executed(0)),
        ((b"\x01one ", b"\x02oh", b"\x01two\n", SUCCESS), Executed(0, "one two\n", "oh")),
        ((b"\x01half", FAILED), Executed(7, "half")),
        ((FAILED[:20], b"\x03" + FAILED[20:]), Executed(7)),
        ((b"", b"\x09what is this", SUCCESS), Executed(0)),
        ((b"\x01\xff\xc3", SUCCESS), Executed(0, "��")),
    ],
)
async def test_the_channels_are_put_together(messages: tuple[bytes, ...], ended: Executed) -> None:
    assert await hear(*messages) == ended


async def test_of_each_stream_only_the_beginning_is_kept_and_the_end_is_heard_all_the_same() -> None:
    piece = b"x" * 10_000
    ended = await hear(*([b"\x01" + piece] * 20), b"\x02careful", *([b"\x02" + piece] * 20), FAILED)
    assert (ended.code, len(ended.stdout), len(ended.stderr)) == (7, LONGEST_OUTPUT, LONGEST_OUTPUT)
    assert ended.stderr.startswith("carefulx")


@pytest.mark.parametrize("messages", [(), (b"\x01all went we",), (b'\x03{"status": "Succ',)])
async def test_without_a_last_word_nobody_knows_how_it_ended(messages: tuple[bytes, ...]) -> None:
    with pytest.raises(Retryable, match="cut off before its end"):
        await hear(*messages)


async def test_a_program_that_cannot_be_run_is_invalid_and_says_why_without_what_looks_like_a_secret() -> None:
    why = f'exec: "mysqlx": executable file not found in $PATH, password={SECRET}'
    with pytest.raises(Invalid, match="executable file not found") as raised:
        await hear(
            status(status="Failure", reason="InternalError", message=why, details={"causes": [{"message": why}]})
        )
    assert SECRET not in str(raised.value)


async def test_neither_a_value_nor_an_error_shows_what_was_written() -> None:
    assert SECRET not in repr(await hear(b"\x01" + SECRET.encode(), b"\x02" + SECRET.encode(), SUCCESS))
    with pytest.raises(Retryable) as raised:
        await hear(b"\x01" + SECRET.encode())
    assert SECRET not in repr(raised.value)


async def test_a_container_that_does_not_run_may_later(api: KubernetesSandbox, door: Door) -> None:
    manifests = prod()
    stateful = next(one for one in manifests if one["metadata"]["name"] == "cass-set-0")
    stateful["metadata"]["annotations"] = {FAULT_ANNOTATION: ObjectFault.IMAGE_PULL}
    api.apply(manifests)
    await api.until(lambda store: bool(store.find(PODS, PROD_NAMESPACE, "cass-set-0-0")))
    with pytest.raises(Retryable, match="500"):
        await execute(door, PROD_NAMESPACE, "cass-set-0-0", "tml-nosql", ["true"], seconds=5)


async def test_expired_credentials_are_read_again_and_no_error_has_a_token_or_the_command(
    api: KubernetesSandbox, open_door: OpenDoor
) -> None:
    api.server.tokens[SECRET] = Identity("bot", ())
    door = await open_door(SECRET)
    with pytest.raises(Forbidden) as raised:
        await execute(door, PROD_NAMESPACE, "any", "any", ["mysql", f"-p{SECRET}"], seconds=5)
    assert SECRET not in repr(raised.getrepr(style="value"))
    api.faults.add(Fault("unauthorized", times=1))
    with pytest.raises(Forbidden):
        await execute(door, PROD_NAMESPACE, "any", "any", ["true"], seconds=5)


async def test_a_server_that_is_not_there_is_retryable(api: KubernetesSandbox, door: Door) -> None:
    await api.server.stop()
    with pytest.raises(Retryable, match="cannot connect"):
        await execute(door, PROD_NAMESPACE, "any", "any", ["true"], seconds=5)
