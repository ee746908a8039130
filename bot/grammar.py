"""From the words people type to a command, or to an answer that says what was meant. The only place that knows them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import takewhile

from bot.commands import (
    Approvals,
    Approve,
    Cancel,
    Change,
    Command,
    Delete,
    Deny,
    Help,
    History,
    Hold,
    List,
    PlanOf,
    Purge,
    Release,
    Restart,
    Restore,
    Snapshot,
    Snapshots,
    Start,
    Status,
    Stop,
    Verify,
    Whoami,
    Withdraw,
)
from bot.line import BECAUSE, LONGEST_ECHO, QUOTES, Line, echo, unescaped
from lifecycle.errors import NotUnderstood
from lifecycle.model import Component, Verb
from lifecycle.snapshots import Temperature

PREFIX = "/tml"
LONGEST_REASON = 500
SAME_WORD = 0.7
"""How alike a command has to be to be suggested: `abort` must not become `start`."""
MOST_REPLICAS = 99
LISTED_CLUSTERS = 12
DOWNTIME = "--downtime"
KEEP_SERVICES = "--keep-services"
RELEASE_SERVICES = "--release-services"
SNAPSHOT = "--snapshot"
NO_SNAPSHOT = "--no-snapshot"
KEPT = "kept"
"""In place of a set's id: the volumes that a delete kept."""
REMOVE = "--remove"
OVERWRITE = "--overwrite"


@dataclass(frozen=True)
class Usage:
    """A command as people see it. ``examples`` are lines for a cluster called prod."""

    name: str
    usage: str
    help: str
    examples: tuple[str, ...]
    read: Callable[[Line], Command] = field(repr=False, compare=False)


def parse(text: str, clusters: Sequence[str]) -> Command:
    """The command that was typed after `/tml`, by someone who may name these clusters.

    Raises NotUnderstood with one answer to show; a line it suggests is to be pasted, never run for the person.
    """
    line = Line(unescaped(text), clusters)
    if line.next == PREFIX:
        line.skip()
    if line.ended:
        return Help()
    usage = _BY_NAME.get(line.next)
    if usage is None:
        raise _unknown_command(line)
    line.take(usage.name)
    return usage.read(line)


_COUNT = re.compile(r"[a-z]+=[0-9]{1,2}")
_COMPONENTS: Mapping[str, Component] = {component.value: component for component in Component}
_TEMPERATURES: Mapping[str, Temperature] = {one.value: one for one in Temperature}
_VERBS: Mapping[str, Verb] = {verb.value: verb for verb in Verb if verb.words == verb}
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    Verb.STOP: (SNAPSHOT, NO_SNAPSHOT, REMOVE, KEEP_SERVICES, RELEASE_SERVICES),
    Verb.START: (OVERWRITE,),
    Verb.RESTART: (DOWNTIME,),
    Verb.DELETE: (KEEP_SERVICES, RELEASE_SERVICES),
}
_EVERY_OPTION = frozenset(option for options in _OPTIONS.values() for option in options)
_ARGUMENTS = frozenset({*_COMPONENTS, *_EVERY_OPTION, *_TEMPERATURES})
_ID = re.compile(r"ap-[0-9a-z]{6}")
_OPERATION = re.compile(r"op-[0-9a-z]{6}")
"""A snapshot set has the id of the operation that took it."""
_MARKUP = "*_~()[]<>.,;:"
"""What stands around an id that was copied out of a sentence or a formatted message."""


def _cluster(line: Line) -> str:
    """The cluster that has to stand here."""
    if line.reason_begins:
        raise NotUnderstood(f"Which cluster? {_which(line)}")
    name = line.clusters.get(line.next)
    if name is None:
        raise NotUnderstood(f"There is no cluster '{echo(line.next)}'. {_which(line)}")
    line.take(name)
    return name


def _reason(line: Line) -> str:
    if line.next in BECAUSE:
        line.skip()
    reason = line.rest()
    if len(reason) > LONGEST_REASON:
        raise NotUnderstood(f"The reason has {len(reason)} characters; at most {LONGEST_REASON} are kept. Shorten it.")
    return reason


def _free_reason(line: Line) -> str:
    """A reason that needs no `because`, unless it begins with what may have been meant as an argument."""
    if not line.reason_begins:
        _refuse_option(line)
        if line.next in _COMPONENTS or line.next in line.clusters:
            raise NotUnderstood(
                f"`{line.verb}` takes one whole cluster, so '{line.next}' is too much here. {_as_reason(line)}"
            )
    return _reason(line)


def _refuse_option(line: Line) -> None:
    """Raise for a word that looks like an option: whoever knows it has taken it before."""
    if line.next.startswith("-"):
        near = _nearest(line.next, _OPTIONS.get(line.verb, ()))
        answer = _instead(line, near) if near else _written(line)
        raise NotUnderstood(f"`{line.verb}` has no option '{echo(line.next)}'. {answer}")


def _refuse_rest(line: Line) -> None:
    """Raise for words after the last that a command has."""
    if not line.ended:
        raise NotUnderstood(f"'{echo(line.next)}' is too much here. {_did_you_mean(line.said)}")


def _nearest(word: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    return next(iter(get_close_matches(word[:LONGEST_ECHO], list(known), n=1, cutoff=alike)), None)


def _near_cluster(line: Line) -> str | None:
    """The cluster that the next word was meant to be; the only one there is when there is no word."""
    if line.reason_begins:
        return next(iter(line.clusters.values())) if len(line.clusters) == 1 else None
    near = _nearest(line.next, line.clusters)
    return line.clusters[near] if near else None


def _did_you_mean(words: Sequence[str]) -> str:
    return f"Did you mean: {' '.join([PREFIX, *words])}"


def _instead(line: Line, *words: str) -> str:
    """The line to paste with these words for the next one."""
    return _did_you_mean([*line.said, *words, *_arguments_after(line)])


def _arguments_after(line: Line) -> list[str]:
    """What stands after the next word and is an argument by its looks, for a suggestion."""
    found = list(takewhile(lambda word: word in _ARGUMENTS or _COUNT.fullmatch(word), line.after_next()))
    return found if len(" ".join(found)) <= LONGEST_ECHO else []


def _written(line: Line) -> str:
    return f"It is written: {PREFIX} {_BY_NAME[line.said[0]].usage}"


def _which(line: Line) -> str:
    """The nearest cluster, or all that are known: never one that was not meant, in a line that works."""
    near = _near_cluster(line)
    if near:
        return _instead(line, near)
    names = list(line.clusters.values())
    more = f" and {len(names) - LISTED_CLUSTERS} more" if len(names) > LISTED_CLUSTERS else ""
    known = f"Known: {', '.join(names[:LISTED_CLUSTERS])}{more}." if names else "None is known here."
    return f"{known} {_written(line)}"


def _as_reason(line: Line) -> str:
    """The line to paste when all that is left was meant as the reason."""
    rest = line.rest()
    shown = echo(rest) if len(rest) <= LONGEST_ECHO else "…"
    return f"If it belongs to the reason: {' '.join([PREFIX, *line.said, 'because', shown])}"


def _unknown_command(line: Line) -> NotUnderstood:
    typed, near = line.next, _nearest(line.next, _BY_NAME, SAME_WORD)
    cluster = None if near else _near_cluster(line)
    line.skip()
    if cluster:
        command = line.next if line.next in _ONE_CLUSTER else "status"
        return NotUnderstood(f"The command comes first. {_did_you_mean([command, cluster])}")
    answer = _guess(near, line) if near else f"{PREFIX} help lists all there is."
    return NotUnderstood(f"There is no command '{echo(typed)}'. {answer}")


def _guess(command: str, line: Line) -> str:
    """The command, with its cluster and arguments where they can be made out."""
    line.said.append(command)
    if command in _ONE_APPROVAL:
        return _guess_approval(line)
    if command not in _ONE_CLUSTER:
        return _written(line) if command == "plan" else _did_you_mean([command])
    near = _near_cluster(line)
    return _instead(line, near) if near else _written(line)


def _guess_approval(line: Line) -> str:
    """With the id, and the name where one was typed that there is: it is never filled in for the person."""
    found = _as_id(line.next)
    if not _ID.fullmatch(found):
        return _written(line)
    line.take(found)
    if line.verb != "approve":
        return _did_you_mean(line.said)
    name = line.clusters.get(line.next)
    return _did_you_mean([*line.said, name]) if name else _written(line)


def _help(_line: Line) -> Help:
    return Help()


def _list(line: Line) -> List:
    _refuse_rest(line)
    return List()


def _whoami(line: Line) -> Whoami:
    _refuse_rest(line)
    return Whoami()


def _status(line: Line) -> Status:
    cluster = _cluster(line)
    _refuse_rest(line)
    return Status(cluster)


def _history(line: Line) -> History:
    cluster = None if line.ended else _cluster(line)
    _refuse_rest(line)
    return History(cluster)


def _plan(line: Line) -> PlanOf:
    verb = _VERBS.get(line.next)
    if verb is None:
        near = _nearest(line.next, _VERBS)
        line.skip()
        raise NotUnderstood(f"A plan of what? {_guess_plan(near, line) if near else _written(line)}")
    line.take(verb)
    command = _BY_NAME[verb].read(line)
    assert isinstance(command, Change)
    return PlanOf(replace(command, reason=""))


def _guess_plan(verb: str, line: Line) -> str:
    line.said.append(verb)
    near = _near_cluster(line)
    return _instead(line, near) if near else _written(line)


def _stop(line: Line) -> Stop:
    cluster, snapshot, removes, keeps = _cluster(line), None, False, None
    while line.next in _OPTIONS[Verb.STOP]:
        if line.next == REMOVE:
            removes = True
            line.take(REMOVE)
        elif line.next in (SNAPSHOT, NO_SNAPSHOT):
            snapshot = _either(line, SNAPSHOT, NO_SNAPSHOT, snapshot)
        else:
            keeps = _either(line, KEEP_SERVICES, RELEASE_SERVICES, keeps)
    return Stop(cluster, _free_reason(line), snapshot, removes, keeps)


def _one_of(line: Line, yes: str, no: str) -> bool | None:
    """Which of two options stands here, None where neither does."""
    found = None
    while line.next in (yes, no):
        found = _either(line, yes, no, found)
    return found


def _either(line: Line, yes: str, no: str, said: bool | None) -> bool:
    """Which of the two stands here; ``said`` is what was typed of them before."""
    if said is not None:
        raise NotUnderstood(f"Give one of {yes} and {no}, once.")
    found = line.next == yes
    line.take(line.next)
    return found


def _snapshot(line: Line) -> Snapshot:
    cluster = _cluster(line)
    temperature = _TEMPERATURES.get(line.next)
    if temperature:
        line.take(line.next)
    return Snapshot(cluster, temperature, _free_reason(line))


def _verify(line: Line) -> Verify:
    cluster, found = _cluster(line), _as_id(line.next)
    if not _OPERATION.fullmatch(found):
        return Verify(cluster, None, _free_reason(line))
    line.take(found)
    return Verify(cluster, found, _free_reason(line))


def _snapshots(line: Line) -> Snapshots:
    cluster = _cluster(line)
    _refuse_rest(line)
    return Snapshots(cluster)


def _start(line: Line) -> Start:
    cluster, counts, overwrites = _cluster(line), {}, False
    while not line.reason_begins and ("=" in line.next or line.next == OVERWRITE):
        if line.next == OVERWRITE:
            overwrites = True
            line.take(OVERWRITE)
            continue
        component, count = _count(line)
        if component in counts:
            raise NotUnderstood(f"There are two counts for {component}; give one.")
        counts[component] = count
        line.take(line.next)
    if line.next in _COMPONENTS:
        raise NotUnderstood(f"How many of {line.next}? A count is written {line.next}=N. {_as_reason(line)}")
    return Start(cluster, _free_reason(line), counts, overwrites)


def _count(line: Line) -> tuple[Component, int]:
    name, _, number = line.next.partition("=")
    valid = re.fullmatch(r"[0-9]{1,2}", number) is not None
    if name not in _COMPONENTS:
        near = _nearest(name, _COMPONENTS)
        answer = _instead(line, f"{near}={number}") if near and valid else _known_components()
        raise NotUnderstood(f"There is no component '{echo(name)}'. {answer}")
    if not valid:
        raise NotUnderstood(f"'{echo(line.next)}': a count is a whole number from 0 to {MOST_REPLICAS}.")
    return _COMPONENTS[name], int(number)


def _restart(line: Line) -> Restart:
    cluster = _cluster(line)
    component, downtime = None, False
    while not line.reason_begins:
        if line.next == DOWNTIME:
            downtime = True
        elif component is None:
            _refuse_option(line)
            component = _component(line)
        elif line.next in _COMPONENTS:
            raise NotUnderstood(f"Restart one component at a time, or leave it out for all of them. {_as_reason(line)}")
        else:
            break
        line.take(line.next)
    return Restart(cluster, component, downtime, _free_reason(line))


def _delete(line: Line) -> Delete:
    cluster, keeps = _cluster(line), _one_of(line, KEEP_SERVICES, RELEASE_SERVICES)
    return Delete(cluster, keeps, _free_reason(line))


def _restore(line: Line) -> Restore:
    cluster, of = _cluster(line), ""
    if _OPERATION.fullmatch(_as_id(line.next)):
        of = _as_id(line.next)
        line.take(of)
    elif line.next == KEPT:
        line.take(KEPT)
    return Restore(cluster, of, _free_reason(line))


def _purge(line: Line) -> Purge:
    return Purge(_cluster(line), _free_reason(line))


def _cancel(line: Line) -> Cancel:
    if line.reason_begins:
        near = _near_cluster(line)
        raise NotUnderstood(f"Cancel what? {_instead(line, near) if near else _written(line)}")
    found = _as_id(line.next)
    if _OPERATION.fullmatch(found):
        line.take(found)
        return Cancel(operation=found, reason=_free_reason(line))
    return Cancel(cluster=_cluster(line), reason=_free_reason(line))


def _hold(line: Line) -> Hold:
    cluster, reason = _cluster(line), _free_reason(line)
    if not reason:
        raise NotUnderstood(f"Why? Everybody who is refused reads it. {_written(line)}")
    return Hold(cluster, reason)


def _release(line: Line) -> Release:
    cluster = _cluster(line)
    _refuse_rest(line)
    return Release(cluster)


def _approve(line: Line) -> Approve:
    identity = _identity(line)
    if line.ended:
        raise NotUnderstood(f"Which cluster is it about? Type its name once more. {_written(line)}")
    name = line.next
    line.skip()
    _refuse_rest(line)
    return Approve(identity, name)


def _deny(line: Line) -> Deny:
    return Deny(_identity(line), _reason(line))


def _withdraw(line: Line) -> Withdraw:
    identity = _identity(line)
    _refuse_rest(line)
    return Withdraw(identity)


def _approvals(line: Line) -> Approvals:
    _refuse_rest(line)
    return Approvals()


def _identity(line: Line) -> str:
    """The approval's id that has to stand here."""
    typed = line.next
    if line.ended:
        raise NotUnderstood(f"Which approval? {PREFIX} approvals lists those that wait. {_written(line)}")
    found = _as_id(line.next)
    if not _ID.fullmatch(found):
        named = line.clusters.get(line.next)
        line.skip()
        swapped = _as_id(line.next) if named and line.verb == "approve" else ""
        answer = _did_you_mean([*line.said, swapped, named]) if named and _ID.fullmatch(swapped) else _written(line)
        raise NotUnderstood(f"'{echo(typed)}' is no approval's id, such as ap-7k2m9x. {answer}")
    line.take(found)
    return found


def _as_id(word: str) -> str:
    return word.strip(_MARKUP + QUOTES)


def _component(line: Line) -> Component:
    """The component that stands here: any other word is refused, or all of the cluster would be restarted."""
    if line.next in _COMPONENTS:
        return _COMPONENTS[line.next]
    near = _nearest(line.next, _COMPONENTS)
    answer = _instead(line, near) if near else f"{_known_components()} {_as_reason(line)}"
    raise NotUnderstood(f"There is no component '{echo(line.next)}'. {answer}")


def _known_components() -> str:
    return f"Components: {', '.join(_COMPONENTS)}."


USAGES: tuple[Usage, ...] = (
    Usage("help", "help", "What can be typed.", ("help", ""), _help),
    Usage("list", "list", "The clusters you may see, and how they are.", ("list",), _list),
    Usage(
        "status", "status CLUSTER", "How a cluster is, and what keeps it from being ready.", ("status prod",), _status
    ),
    Usage(
        "plan",
        "plan stop|start|restart|snapshot|verify|delete|restore|purge CLUSTER [...]",
        "What a command would do; changes nothing.",
        ("plan stop prod", "plan start prod reporting=1", "plan restart prod tm --downtime"),
        _plan,
    ),
    Usage(
        "stop",
        "stop CLUSTER [--snapshot|--no-snapshot] [--remove [--keep-services|--release-services]] [because REASON]",
        "Takes every component down, in order; volumes stay. With --snapshot they are cut while it is down; "
        "--remove takes the objects away, too, until the start.",
        (
            "stop prod",
            "stop prod because of the network maintenance",
            "stop prod --remove network maintenance",
            "stop prod --snapshot because of the upgrade",
        ),
        _stop,
    ),
    Usage(
        "start",
        "start CLUSTER [COMPONENT=N ...] [--overwrite] [because REASON]",
        "Brings every component back to the count it had, or to N; after stop --remove also the objects.",
        ("start prod", "start prod reporting=1 nosql=3", "start prod reporting=1 because the maintenance is over"),
        _start,
    ),
    Usage(
        "restart",
        "restart CLUSTER [COMPONENT] [--downtime] [because REASON]",
        "Restarts all components or one, each ready before the next.",
        ("restart prod", "restart prod tm because of new certificates", "restart prod sql --downtime"),
        _restart,
    ),
    Usage(
        "snapshot",
        "snapshot CLUSTER [cold|hot] [because REASON]",
        "Cuts every volume into a set: cold with the cluster stopped for it, hot while it runs.",
        ("snapshot prod", "snapshot prod cold because of the upgrade", "snapshot prod hot"),
        _snapshot,
    ),
    Usage(
        "verify",
        "verify CLUSTER [SET] [because REASON]",
        "Tests that a snapshot set, else the newest one, can be restored: on clones, which are removed again.",
        ("verify prod", "verify prod op-7k2m9x because an auditor asks"),
        _verify,
    ),
    Usage(
        "snapshots",
        "snapshots CLUSTER",
        "The snapshot sets and kept volumes that there are.",
        ("snapshots prod",),
        _snapshots,
    ),
    Usage(
        "delete",
        "delete CLUSTER [--keep-services|--release-services] because REASON",
        "Asks a second person to take the cluster away; its data are kept, and restore brings it back.",
        ("delete prod because it moves to another region", "delete prod --release-services because it is not needed"),
        _delete,
    ),
    Usage(
        "restore",
        "restore CLUSTER [SET|kept] [because REASON]",
        "Brings back what the last delete took away, on the volumes it kept; with a SET's id goes back to that set.",
        ("restore prod", "restore prod because it was the wrong one", "restore prod op-7k2m9x because of bad data"),
        _restore,
    ),
    Usage(
        "purge",
        "purge CLUSTER because REASON",
        "Asks a second person to let go for good what is kept and nobody needs: volumes of deletes, old snapshot sets.",
        ("purge prod because the disks are full",),
        _purge,
    ),
    Usage(
        "cancel",
        "cancel OP|CLUSTER [because REASON]",
        "Ends what runs where it is: no new step is taken, and what is done and what not is told.",
        ("cancel prod", "cancel op-7k2m9x because it was the wrong cluster"),
        _cancel,
    ),
    Usage(
        "hold",
        "hold CLUSTER REASON",
        "Lets nothing begin on a cluster, whoever asks, until somebody releases it; what runs goes on.",
        ("hold prod nobody touches it during the audit",),
        _hold,
    ),
    Usage("release", "release CLUSTER", "Lets go of a cluster that is held.", ("release prod",), _release),
    Usage("approvals", "approvals", "What waits for a second person.", ("approvals",), _approvals),
    Usage(
        "approve",
        "approve ID CLUSTER",
        "Your yes to what somebody else asked for; the cluster's name again, to be sure.",
        ("approve ap-7k2m9x prod",),
        _approve,
    ),
    Usage("deny", "deny ID [REASON]", "Your no to it; one is enough.", ("deny ap-7k2m9x not today",), _deny),
    Usage("withdraw", "withdraw ID", "Takes back what you asked for.", ("withdraw ap-7k2m9x",), _withdraw),
    Usage("history", "history [CLUSTER]", "What was done, by whom and why.", ("history", "history prod"), _history),
    Usage("whoami", "whoami", "Who Slack says you are, and what you may do.", ("whoami",), _whoami),
)
"""Every command there is: help shows this table, and suggestions come from it."""
_BY_NAME: Mapping[str, Usage] = {usage.name: usage for usage in USAGES}
_ONE_CLUSTER = frozenset(usage.name for usage in USAGES if usage.usage.startswith(f"{usage.name} CLUSTER")) | {"cancel"}
_ONE_APPROVAL = frozenset({"approve", "deny", "withdraw"})
RESERVED = frozenset({*_BY_NAME, *BECAUSE})
"""Words that no cluster can be called."""
