"""YAML whose every complaint names its line: mappings read field by field, problems collected."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

import yaml
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from common.errors import Invalid

MOST_SHOWN = 10
MOST_LEVELS = 100  # libyaml composes by recursion in C, where depth without end ends the process
_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", None)  # a fifth of the time, where there is one


@dataclass
class Problems:
    """What is wrong with a file, by line."""

    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, node: Node, message: str) -> None:
        self.found.append((node.start_mark.line + 1, message))

    def refuse(self, file_name: str) -> None:
        """
        Refuse the file if anything was found.

        Raises:
            Invalid: with a line `file:line: what to change` for each of the first problems.
        """
        if not self.found:
            return
        lines = [f"{file_name}:{line}: {message}" for line, message in sorted(set(self.found))]
        if len(lines) > MOST_SHOWN:
            lines[MOST_SHOWN:] = [f"... and {len(lines) - MOST_SHOWN} more"]
        raise Invalid("\n".join(lines), code="invalid_catalog")


class Section:
    """
    One mapping of the file. Ask for each field once, then `finish` reports the fields left over.

    A wrong value is reported and read as the default (or a value of the right type), so that one
    pass finds every problem.
    """

    def __init__(self, node: Node, where: str, problems: Problems) -> None:
        self.node = node
        self.where = where
        self._problems = problems
        self._asked: set[str] = set()
        self._fields: dict[str, Node] = {}
        if not isinstance(node, MappingNode):
            problems.add(node, f"{where} must be a mapping of fields to values")
            return
        for key, value in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else "?"
            if name in self._fields:
                problems.add(key, f"{where} has {name} twice: remove one")
            self._fields[name] = value

    def complain(self, name: str, message: str) -> None:
        """Report a problem with the field *name*, or with the section where it is missing."""
        self._problems.add(self._fields.get(name, self.node), f"{self.where}: {message}")

    def has(self, name: str) -> bool:
        node = self._fields.get(name)
        return node is not None and not _is_null(node)

    def text(self, name: str, default: str | None = None) -> str:
        node = self._take(name, required=default is None)
        if node is None:
            return default or ""
        if isinstance(node, ScalarNode) and node.tag.endswith(":str") and node.value.strip():
            return str(node.value)
        self.complain(name, f"{name} must be text; put it in quotes")
        return default or ""

    def optional_text(self, name: str) -> str | None:
        self._asked.add(name)
        return self.text(name) if self.has(name) else None

    def choice(self, name: str, among: Collection[str], default: str | None = None) -> str:
        value = self.text(name, default)
        if value and value not in among:
            hint = _hint(value, among)
            self.complain(name, f"{name} must be one of {', '.join(among)}, not {value!r}{hint}")
            value = ""
        return value or default or next(iter(among), "")

    def number(
        self, name: str, *, low: float, high: float, default: float | str | None = None
    ) -> Decimal:
        node = self._take(name, required=default is None)
        fallback = Decimal(str(low if default is None else default))
        if node is None:
            return fallback
        try:
            value = Decimal(node.value) if isinstance(node, ScalarNode) else Decimal("nan")
        except InvalidOperation:
            value = Decimal("nan")
        if value.is_nan() or not Decimal(str(low)) <= value <= Decimal(str(high)):
            shown = repr(node.value) if isinstance(node, ScalarNode) else "what is there"
            self.complain(name, f"{name} must be a number from {low} to {high}, not {shown}")
            return fallback
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        node = self._take(name, required=False)
        if node is None:
            return default
        if isinstance(node, ScalarNode) and node.tag.endswith(":bool"):
            return str(node.value).lower() in ("true", "yes", "on")
        self.complain(name, f"{name} must be true or false")
        return default

    def texts(self, name: str, among: Collection[str] | None = None) -> list[str]:
        """Read a list of words; absent is empty."""
        found = []
        for item in self._items(name):
            if not (isinstance(item, ScalarNode) and item.tag.endswith(":str")):
                self._problems.add(item, f"{self.where}: {name} must list texts")
            elif among is not None and item.value not in among:
                hint = _hint(item.value, among) or f"; there are {', '.join(sorted(among))}"
                self._problems.add(item, f"{self.where}: {name}: no {item.value!r}{hint}")
            else:
                found.append(str(item.value))
        return found

    def section(self, name: str) -> "Section | None":
        node = self._take(name, required=False)
        return None if node is None else Section(node, f"{self.where}: {name}", self._problems)

    def sections(self, name: str, called: str) -> Iterator["Section"]:
        """Read a list of mappings, each called by its `name`; at least one."""
        items = list(self._items(name))
        if not items and (not self.has(name) or isinstance(self._fields[name], SequenceNode)):
            self.complain(name, f"{name} must list at least one {called}")
        for number, node in enumerate(items, 1):
            yield Section(node, f"{called} {_name_of(node) or number}", self._problems)

    def finish(self) -> None:
        """Report fields that nobody asked for."""
        for name, node in self._fields.items():
            if name not in self._asked:
                hint = _hint(name, self._asked) or f"; it has {', '.join(sorted(self._asked))}"
                self._problems.add(node, f"{self.where} has no field {name!r}{hint}")

    def _take(self, name: str, *, required: bool) -> Node | None:
        self._asked.add(name)
        if self.has(name):
            return self._fields[name]
        if required and isinstance(self.node, MappingNode):
            self.complain(name, f"{name} is missing")
        return None

    def _items(self, name: str) -> list[Node]:
        node = self._take(name, required=False)
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            self.complain(name, f"{name} must be a list")
            return []
        return list(node.value)


def read_yaml(text: str, where: str, read: Callable[[Section], None], problems: Problems) -> None:
    """
    Read the one mapping that *text* is.

    Raises:
        Invalid: it is no YAML; the message names the line.
    """
    try:
        root = _compose(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Invalid(f"{where}:{line}: {error.problem}", code="invalid_catalog") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid(f"{where}:1: this is no YAML", code="invalid_catalog") from error
    if root is None:
        raise Invalid(f"{where}:1: the file is empty", code="invalid_catalog")
    section = Section(root, "the file", problems)
    read(section)
    section.finish()


def _compose(text: str) -> Node | None:
    """
    Compose the document with libyaml, where there is one that can read it.

    What it refuses is asked of Python's own, which says better what is wrong, and in which line.

    Raises:
        RecursionError: it is nested too deep.
    """
    if _FAST_LOADER is not None:
        with suppress(yaml.YAMLError):
            _refuse_depth(text)
            return yaml.compose(text, Loader=_FAST_LOADER)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _refuse_depth(text: str) -> None:
    levels = 0
    for event in yaml.parse(text, Loader=_FAST_LOADER):  # one after the other: no recursion
        levels += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if levels > MOST_LEVELS:
            raise RecursionError(f"more than {MOST_LEVELS} levels")


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and str(node.tag).endswith(":null")


def _name_of(node: Node) -> str | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == "name" and isinstance(value, ScalarNode):
                return str(value.value)
    return None


def _hint(value: str, among: Collection[str]) -> str:
    close = get_close_matches(value, list(among), n=1)
    return f"; did you mean {close[0]}?" if close else ""
