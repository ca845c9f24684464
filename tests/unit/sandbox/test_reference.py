"""What is written about the sandbox elsewhere: its reference page, and the shipped catalog."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from common.money import nano_usd
from sandbox.faults import KINDS
from sandbox.models import MODELS
from sandbox.settings import SandboxSettings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "sandbox.md").read_text()
CATALOG = yaml.safe_load((ROOT / "services" / "router" / "catalog.yaml").read_text())
LISTED = {m["upstream"]: m for m in CATALOG["models"] if m["provider"] == "sandbox"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_is_on_the_page(kind):
    assert f"`{kind}" in PAGE


@pytest.mark.parametrize(("name", "field"), SandboxSettings.model_fields.items())
def test_every_setting_is_on_the_page_with_its_default(name, field):
    assert f"| `SANDBOX_{name.upper()}` | `{field.default}` |" in PAGE


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_page_and_the_catalog_say_what_a_model_costs(model):
    prices = LISTED[model.name]["price_usd_per_million"]

    assert f"| `{model.name}` |" in PAGE
    assert f"| {model.context_tokens:,} |" in PAGE
    assert (model.input_price, model.output_price) == (
        nano_usd(Decimal(str(prices["input"]))),
        nano_usd(Decimal(str(prices.get("output", 0)))),
    )
    if "cached_input" in prices:
        assert model.cached_price == nano_usd(Decimal(str(prices["cached_input"])))
    assert model.context_tokens == LISTED[model.name]["context_tokens"]


def test_the_catalog_lists_every_model_and_no_other():
    assert MODELS.keys() == LISTED.keys()
