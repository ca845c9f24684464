"""
Money is an integer of nano-USD; prices are integer nano-USD per million tokens.

None means unpriced, which is different from free: it never becomes 0 here.
"""

from decimal import ROUND_HALF_EVEN, Decimal

NANO_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000


def cost_nano_usd(*items: tuple[int, int]) -> int:
    """
    Sum (tokens, nano-USD per million tokens) and round once, half-even.

    The sandbox bills with this function too, so that ledger and bill can be equal to the nano.
    """
    numerator = sum(tokens * price for tokens, price in items)
    quotient, remainder = divmod(numerator, TOKENS_PER_PRICE)
    twice = 2 * remainder
    if twice > TOKENS_PER_PRICE or (twice == TOKENS_PER_PRICE and quotient % 2):
        quotient += 1
    return quotient


def nano_usd(usd: Decimal | str | float) -> int:
    """Turn USD into nano-USD, half-even. A float is taken at its shortest decimal form."""
    exact = Decimal(str(usd)) * NANO_PER_USD
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def usd(nano: int | None) -> float | None:
    """Turn nano-USD into a number for JSON; None stays None."""
    return None if nano is None else nano / NANO_PER_USD
