"""Tokens times price. Pure; None means unpriced, which never becomes 0."""

from dataclasses import replace

from common.money import cost_nano_usd
from services.router.domain.catalog import Price
from services.router.domain.request import Usage

MOST_TOKENS = (
    10_000_000  # in one call; no model reads or writes as many, so more is a provider's slip
)


def cost_of(usage: Usage, price: Price | None) -> int | None:
    """Return what *usage* costs in nano-USD; None when there is no price for it."""
    if price is None:
        return None
    return cost_nano_usd(
        (usage.input_tokens - usage.cached_input_tokens, price.input),
        (usage.cached_input_tokens, price.cached_input),
        (usage.output_tokens, price.output),
    )


def plausible(usage: Usage) -> Usage:
    """Return *usage* within what one call can use, flagged as estimated where it was not."""
    input_tokens = min(max(usage.input_tokens, 0), MOST_TOKENS)
    output_tokens = min(max(usage.output_tokens, 0), MOST_TOKENS)
    cached_input_tokens = min(max(usage.cached_input_tokens, 0), input_tokens)
    if (input_tokens, output_tokens, cached_input_tokens) == (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
    ):
        return usage
    return replace(
        usage,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        estimated=True,
    )
