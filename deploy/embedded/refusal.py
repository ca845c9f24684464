"""Why the stack does not start, in words that say what to do about it."""


class Refusal(Exception):  # noqa: N818  it refuses; nothing went wrong
    """Shown to the user as it is, without a traceback."""
