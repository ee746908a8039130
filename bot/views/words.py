"""The words for verbs, times and people that every view shares."""

from datetime import datetime, timedelta

from bot.views.blocks import escape
from lifecycle.model import Person, Verb
from lifecycle.operation import Goal

DOING = {Verb.STOP: "Stopping", Verb.START: "Starting", Verb.RESTART: "Restarting"}
DONE = {Verb.STOP: "Stopped", Verb.START: "Started", Verb.RESTART: "Restarted"}
ARRIVED = {Verb.STOP: "stopped", Verb.START: "ready", Verb.RESTART: "restarted and ready"}


def part_of(cluster: str, goal: Goal) -> str:
    """What an operation is about: the cluster, or of a restart the one component that it was asked for."""
    labels = {workload.component for workload in goal.scope}
    whole = {workload.component for workload in goal.topology} - {goal.topology[ref].component for ref in goal.left}
    return f"{labels.pop()} of {cluster}" if len(labels) == 1 < len(whole) else cluster


def mention(person: Person) -> str:
    return f"<@{escape(person.user)}>"


def when(moment: datetime) -> str:
    """A time in each reader's own zone, with UTC for clients that cannot."""
    fallback = moment.strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{int(moment.timestamp())}^{{date_short_pretty}} {{time_secs}}|{fallback}>"


def duration(span: timedelta) -> str:
    """Two units at most: 2h3m, 4m10s, 35s, 0.4s."""
    seconds = span.total_seconds()
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return "".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count)


def listed(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
