"""The models that can be asked, and who serves them. Pure: the file is read in `store/`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Wire = Literal["openai", "anthropic", "gemini"]
Tier = Literal["simple", "moderate", "complex"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect_s: float = 3
    first_token_s: float = 30
    idle_s: float = 30  # between two pieces of a stream
    total_s: float = 600
    failover_s: float = 10  # without a first word for so long, the next candidate is asked as well


@dataclass(frozen=True, slots=True)
class Price:
    """Integer nano-USD per million tokens, and the version of the price table it was taken from."""

    input: int
    cached_input: int
    output: int
    version: int
    source: str = "catalog"  # or the price list it was found in


FREE = Price(0, 0, 0, version=0)


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    wire: Wire
    base_url: str
    api_key_env: str | None = None  # None: needs no key
    timeouts: Timeouts = field(default_factory=Timeouts)
    sandbox: bool = False  # its answers are simulated
    why_off: str | None = None  # None: on

    @property
    def enabled(self) -> bool:
        return self.why_off is None


@dataclass(frozen=True, slots=True)
class Model:
    name: str  # "provider/model": what clients pin
    provider: str
    upstream: str  # what the provider calls it
    tier: Tier
    capability: float  # prior probability of a good enough answer, 0 to 1
    context_tokens: int
    capabilities: frozenset[str]  # tools, vision, json_schema, streaming, embeddings
    price: Price | None  # None: unpriced
    fallbacks: tuple[str, ...] = ()
    enabled: bool = True  # the provider may be off all the same: see `Catalog.servable`


@dataclass(frozen=True, slots=True)
class Catalog:
    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    default_strategy: str = "hybrid"
    baseline_model: str | None = None  # None: the most capable priced model
    preset: str = "balanced"  # economy, balanced, quality

    def servable(self) -> list[Model]:
        """Return the models that are enabled and whose provider is on, in catalog order."""
        return [m for m in self.models.values() if m.enabled and self.providers[m.provider].enabled]

    def baseline(self) -> Model | None:
        """
        Return the model that savings are measured against; None: there is nothing to compare with.

        Without a named baseline it is the most capable priced model; of simulated ones only while
        no real one is on.
        """
        if self.baseline_model is not None:
            return self.models[self.baseline_model]
        priced = [m for m in self.servable() if m.price and "embeddings" not in m.capabilities]
        real = [m for m in priced if not self.providers[m.provider].sandbox]
        return max(real or priced, key=lambda m: m.capability, default=None)

    def baseline_price(self) -> Price | None:
        """Return what the baseline costs; None: there is none, or it is unpriced."""
        baseline = self.baseline()
        return baseline.price if baseline else None
