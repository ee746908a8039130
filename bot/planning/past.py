"""What the records say about how a cluster is now, and what there is to bring it back from."""

from lifecycle.model import Verb
from lifecycle.operation import Operation, State
from lifecycle.snapshots import Ending, ending
from storage.memory import Memory


def ended_so(last: Operation | None, *verbs: Verb) -> Operation | None:
    """The operation if it is why the cluster is there; None when somebody did it without the bot."""
    return last if last and last.verb in verbs and last.state is State.DONE else None


def ended_how(last: Operation | None) -> Ending | None:
    """How the databases of a cluster that is down had ended, where its last operation saw it; None where not."""
    if last is None or last.outcome is None or last.state is not State.DONE:
        return None
    if last.verb is Verb.SNAPSHOT and last.goal.cutting:
        return last.goal.cutting.before
    return ending(last.outcome.exits, last.outcome.unseen) if last.verb is Verb.STOP else None


async def hint_at_sets(cluster: str, memory: Memory) -> str:
    """What else there is to restore from."""
    kept = await memory.sets.of(cluster)
    return f"There is a snapshot set: `/tml restore {cluster} {kept[0].content.id}`." if kept else ""
