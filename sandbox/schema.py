"""The smallest value that a JSON schema allows, for answers in JSON mode and tool calls. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

_DEEPEST = 16  # a schema may refer to itself
_MOST_CHARACTERS = 10_000  # of one string
_MOST_ITEMS = 100
_MOST_BYTES = 100_000  # of an instance, give or take its last part: bounds may multiply
_HIGHEST = 2**53 - 1  # every reader of JSON knows it exactly
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "sandbox@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
}


def smallest(schema: Any) -> Any:
    """Return the smallest instance of *schema*; what is beyond its known keywords is ignored."""
    return _Instance(schema).of(schema, _DEEPEST)


class _Instance:
    """One instance in the making: it has room for so much, whatever the schema asks for."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._room = _MOST_BYTES

    def of(self, schema: Any, depth: int) -> Any:
        self._room -= 1
        if self._room < 0 or depth == 0:
            return None
        return self._by_keyword(schema, depth) if isinstance(schema, Mapping) else {}

    def _by_keyword(self, schema: Mapping[str, Any], depth: int) -> Any:  # noqa: PLR0911  # one each
        if "const" in schema:
            return self._given(schema["const"])
        for keyword in ("enum", "examples"):
            if isinstance(schema.get(keyword), list) and schema[keyword]:
                return self._given(schema[keyword][0])
        if "default" in schema:
            return self._given(schema["default"])
        if isinstance(schema.get("$ref"), str):
            return self.of(_resolved(schema["$ref"], self._root), depth - 1)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(schema.get(keyword), list) and schema[keyword]:
                return self.of(schema[keyword][0], depth - 1)
        if isinstance(schema.get("allOf"), list):
            return self._all_of(schema["allOf"], depth)
        return self._by_type(schema, depth)

    def _given(self, value: Any) -> Any:
        self._room -= len(orjson.dumps(value))
        return value

    def _by_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            return _least(schema)
        if kind == "boolean":
            return False
        if kind == "null":
            return None
        if kind == "array":
            wanted = _count(schema, "minItems", most=_MOST_ITEMS)
            return [self.of(schema.get("items"), depth - 1) for _ in range(wanted)]
        return self._object(schema, depth)

    def _string(self, schema: Mapping[str, Any]) -> str:
        text = _FORMATS.get(str(schema.get("format")), "sandbox")
        text = text.ljust(_count(schema, "minLength"), "x")
        return str(self._given(text[: _count(schema, "maxLength", _MOST_CHARACTERS)]))

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        instance: dict[str, Any] = {}
        for name in map(str, required if isinstance(required, list) else []):
            if self._room < 0:
                break
            self._room -= len(name)
            instance[name] = self.of(properties.get(name, {"type": "string"}), depth - 1)
        return instance

    def _all_of(self, schemas: list[Any], depth: int) -> Any:
        parts = [self.of(schema, depth - 1) for schema in schemas]
        if all(isinstance(part, dict) for part in parts):
            return {key: value for part in parts for key, value in part.items()}
        return parts[0] if parts else {}


def _resolved(reference: str, root: Any) -> Any:
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step) if isinstance(found, Mapping) and step else found
    return found


def _least(schema: Mapping[str, Any]) -> int | float:
    for keyword, above in (("minimum", 0), ("exclusiveMinimum", 1)):
        value = schema.get(keyword)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return min(value + above, _HIGHEST)
    most = schema.get("maximum")
    return most if isinstance(most, int | float) and most < 0 else 0


def _count(
    schema: Mapping[str, Any], keyword: str, default: int = 0, *, most: int = _MOST_CHARACTERS
) -> int:
    value = schema.get(keyword)
    count = value if isinstance(value, int) and not isinstance(value, bool) else default
    return max(0, min(most, count))
