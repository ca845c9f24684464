"""The models on offer: price, speed, context and skill. Nothing here is a real model."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.money import cost_nano_usd, nano_usd


@dataclass(frozen=True, slots=True)
class SandboxModel:
    """Prices are integer nano-USD per million tokens, as in the router's price table."""

    name: str
    input_price: int
    cached_price: int
    output_price: int
    context_tokens: int
    skill: float  # 0 to 1; at a prompt's difficulty it is right four times in five
    first_token_s: float
    tokens_per_s: float

    def cost_nano_usd(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> int:
        """Say what a call costs. *input_tokens* includes the cached ones."""
        return cost_nano_usd(
            (input_tokens - cached_tokens, self.input_price),
            (cached_tokens, self.cached_price),
            (output_tokens, self.output_price),
        )


def _model(
    name: str,
    usd_per_million: tuple[str, str, str],
    context_tokens: int,
    skill: float,
    speed: tuple[float, float],
) -> SandboxModel:
    input_price, cached_price, output_price = map(nano_usd, usd_per_million)
    return SandboxModel(
        name, input_price, cached_price, output_price, context_tokens, skill, *speed
    )


CHAT_MODELS: Mapping[str, SandboxModel] = {
    model.name: model
    for model in (
        _model("tiny", ("0.05", "0.005", "0.20"), 8_192, 0.35, (0.08, 300)),
        _model("small", ("0.15", "0.015", "0.60"), 32_768, 0.55, (0.12, 200)),
        _model("medium", ("0.80", "0.08", "3.20"), 131_072, 0.70, (0.25, 120)),
        _model("large", ("2.50", "0.25", "10"), 200_000, 0.85, (0.45, 80)),
        _model("frontier", ("10", "1", "40"), 1_000_000, 0.95, (0.80, 50)),
    )
}
EMBEDDING_MODELS: Mapping[str, SandboxModel] = {
    "embed": _model("embed", ("0.02", "0.02", "0"), 8_192, 0.0, (0.03, 1_000))
}
MODELS: Mapping[str, SandboxModel] = {**CHAT_MODELS, **EMBEDDING_MODELS}
