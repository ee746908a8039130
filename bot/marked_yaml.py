"""YAML as plain data that remembers the line of every key and item."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Location = tuple[str | int, ...]
"""The way to a value: keys of mappings, indexes of lists."""

QUOTING_HINTS = {"'@'": 'a group goes in quotes: "@S…"', "scanning an alias": 'a star goes in quotes: "*"'}
"""What people forget in this file: YAML gives `@` and `*` a meaning of their own."""


class Unreadable(Exception):
    """The text is no YAML document; ``line`` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True)
class Double:
    """A key that is written twice in one mapping; the first one counts."""

    location: Location
    line: int
    first_line: int


@dataclass
class Document:
    """Plain data (keys are always text, as written), and where each part of it stands."""

    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    doubles: list[Double] = field(default_factory=list)

    def line_of(self, location: Location) -> int:
        """The line of that value, or of the nearest one around it that is there."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read(text: str) -> Document:
    """The one document in ``text``; raises Unreadable. Tags build no objects, merge keys are ordinary keys."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            return _document(loader, loader.get_single_node())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise Unreadable(line, f"the character #x{ord(text[error.position]):04x} is not allowed in YAML") from None
    except RecursionError:
        raise Unreadable(1, "nested too deeply, or an alias that contains itself") from None


def _unreadable(error: yaml.MarkedYAMLError) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    hints = [hint for sign, hint in QUOTING_HINTS.items() if sign in said]
    return Unreadable(mark.line + 1 if mark else 1, "; ".join([f"not YAML: {said}", *hints]))


def _document(loader: yaml.SafeLoader, root: yaml.Node | None) -> Document:
    document = Document()
    if root is not None:
        document.data = _value(loader, root, (), document)
    return document


def _value(loader: yaml.SafeLoader, node: yaml.Node, location: Location, document: Document) -> Any:
    document.lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return {
            key: _value(loader, value, (*location, key), document) for key, value in _pairs(node, location, document)
        }
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, (*location, index), document) for index, item in enumerate(node.value)]
    return _scalar(loader, node)


def _pairs(node: yaml.MappingNode, location: Location, document: Document) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Unreadable(line, "a key has to be one word")
        here = (*location, key.value)
        if here in document.lines:
            document.doubles.append(Double(here, line, document.lines[here]))
        else:
            document.lines[here] = line
            yield key.value, value


def _scalar(loader: yaml.SafeLoader, node: yaml.Node) -> Hashable:
    try:
        value: Hashable = loader.construct_object(node)
    except (ValueError, KeyError, AttributeError):  # a date that does not exist; `!!bool x`, `!!timestamp x`
        return str(node.value)
    return value
