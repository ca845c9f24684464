"""Values of labels: what is not in the set is "other". A label must not grow with what is typed."""

from collections.abc import Iterable

NONE = "none"  # there is none: nothing was asked, or nobody answered
OTHER = "other"


class ClosedSet:
    """
    The only values a label may have, beside "none" and "other".

    Args:
        names: None known yet: then everything is "other".
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._values: dict[str, str] = {}
        self.hold(names)

    def hold(self, names: Iterable[str]) -> None:
        """Know these from now on, and no others."""
        self._values = {"": NONE, **{name: name for name in names if name}}

    def value_of(self, name: str) -> str:
        """Return *name* if it is known."""
        return self._values.get(name, OTHER)
