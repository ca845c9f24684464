"""
Usage as FinOps tools read it, in the columns of FOCUS, and such records as rows of CSV. Pure.

Source:
    FinOps Open Cost and Usage Specification 1.1, focus.finops.org. Who is billed is the account
    with the provider; who spent it, the caller's key, is the sub account.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

COLUMNS = (
    "BillingAccountId",
    "SubAccountId",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ProviderName",
    "PublisherName",
    "InvoiceIssuerName",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "ResourceId",
    "ChargeCategory",
    "ChargeFrequency",
    "ChargeDescription",
    "ConsumedQuantity",
    "ConsumedUnit",
    "BilledCost",
    "EffectiveCost",
    "BillingCurrency",
    "Tags",
)
DECIMALS = 9  # of a cost in USD: it is exact to the nano
_WIDE = ("\uff1d", "\uff0b", "\uff0d", "\uff20")  # the same in full width, where one types so
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *_WIDE)  # OWASP, "CSV Injection"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one tenant used of one model within one hour."""

    start: datetime  # UTC
    provider: str
    model: str
    tenant: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cost_nano_usd: int | None  # None: unpriced, which is not free
    estimated: int  # attempts


Value = str | int | Decimal | datetime | None  # None: not known
Record = Mapping[str, Value]  # by column


def header() -> str:
    return _lines([COLUMNS])


def rows(usage: Sequence[Usage]) -> str:
    """Return the lines of CSV, one for each of *usage*."""
    records = map(record, usage)
    return _lines([[_text(one[column]) for column in COLUMNS] for one in records])


def exact_usd(nano_usd: int | None) -> Decimal | None:
    """Return USD with all nine decimals; None stays None."""
    return None if nano_usd is None else Decimal(nano_usd).scaleb(-DECIMALS)


def harmless(text: str) -> str:
    """Return *text* so that a spreadsheet does not take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def record(used: Usage) -> Record:
    month = used.start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    cost = exact_usd(used.cost_nano_usd)
    return {
        "BillingAccountId": used.provider,
        "SubAccountId": used.tenant,
        "BillingPeriodStart": month,
        "BillingPeriodEnd": (month + timedelta(days=31)).replace(day=1),
        "ChargePeriodStart": used.start,
        "ChargePeriodEnd": used.start + timedelta(hours=1),
        "ProviderName": used.provider,
        "PublisherName": used.provider,
        "InvoiceIssuerName": used.provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "LLM inference",
        "SkuId": used.model,
        "ResourceId": used.model,
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{used.attempts} calls of {used.model}",
        "ConsumedQuantity": used.input_tokens + used.output_tokens,
        "ConsumedUnit": "Tokens",
        "BilledCost": cost,
        "EffectiveCost": cost,
        "BillingCurrency": "USD",
        "Tags": json.dumps(
            {
                "pricing": "unpriced" if used.cost_nano_usd is None else "priced",
                "attempts": used.attempts,
                "estimated_attempts": used.estimated,
                "tokens_in": used.input_tokens,
                "tokens_in_cached": used.cached_input_tokens,
                "tokens_out": used.output_tokens,
            }
        ),
    }


def _text(value: Value) -> str:
    match value:
        case None:
            return ""
        case str():
            return harmless(value)
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case Decimal():
            return f"{value:f}"  # never an exponent
        case int():
            return str(value)


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
