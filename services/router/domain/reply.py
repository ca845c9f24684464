"""What a provider answered, in OpenAI's words, and which model of ours it was. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.router.domain.catalog import Model
from services.router.domain.request import Usage


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    body: bytes  # an OpenAI chat.completion as JSON; `model` is the catalog's name
    answered: Model  # the one that answered, which is the one that is paid
    usage: Usage | None  # None: the provider did not say, or said nonsense
    response_id: str  # the id on the provider's bill
    finish_reason: str
    written_bytes: int  # of the answer's text, for counting when there is no usage


@dataclass(frozen=True, slots=True)
class Naming:
    """Turns the provider's word for a model into ours."""

    asked: Model
    siblings: Mapping[str, Model] = field(
        default_factory=dict
    )  # upstream name: model, same provider

    def answered(self, word: str) -> Model:
        """
        Return the model that *word* means; the one we asked for if the word is not in the catalog.

        Providers answer with a dated name ("large-2026-01-15") for the one that was asked
        ("large"): the longest name that *word* begins with wins.
        """
        word = word.removeprefix("models/")
        if word in {"", self.asked.upstream}:
            return self.asked
        if found := self.siblings.get(word):
            return found
        begun = [u for u in (*self.siblings, self.asked.upstream) if _dated(word, u)]
        if not begun:
            return self.asked
        longest = max(begun, key=len)
        return self.asked if longest == self.asked.upstream else self.siblings[longest]


def _dated(word: str, upstream: str) -> bool:
    return word.startswith(upstream) and word[len(upstream)] in "-@:"
