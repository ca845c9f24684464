"""The catalog's YAML → `Catalog`. Pure: text, environment, prices in; catalog or complaints out."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast, get_args
from urllib.parse import urlsplit

from common.money import nano_usd
from services.router.domain.catalog import Catalog, Model, Price, Provider, Tier, Timeouts, Wire
from services.router.domain.preference import PRICE_OF_QUALITY
from services.router.domain.strategies import PARAMETERS
from services.router.store.price_list import FindPrice, with_version
from services.router.store.yaml_section import Problems, Section, read_yaml

CAPABILITIES = ("tools", "vision", "json_schema", "streaming", "embeddings")
MOST_TOKENS = 100_000_000
MOST_USD_PER_MILLION = 1_000_000
MOST_SECONDS = 3_600

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL_NAME = re.compile(r"[A-Za-z0-9._:/@+-]{1,200}")
_PROVIDER_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def parse_catalog(
    text: str, environ: Mapping[str, str], find_price: FindPrice, *, file_name: str = "catalog"
) -> Catalog:
    """
    Read a catalog.

    Args:
        text: YAML as in docs/reference/catalog.md.
        environ: Says which keys and addresses are set; no value of it but addresses is kept.
        find_price: Gives the price of models that name none.
        file_name: What complaints call the file.

    Raises:
        Invalid: with the line and what to change, for each problem found.
    """
    problems = Problems()
    reader = _Reader(environ, find_price)
    read_yaml(text, file_name, reader.read, problems)
    problems.refuse(file_name)
    return reader.catalog()


def reprice(catalog: Catalog, find_price: FindPrice) -> Catalog:
    """Return *catalog* with the prices of this moment where its file names none."""
    models = with_version(
        model
        if model.price is not None and model.price.source == "catalog"
        else replace(
            model,
            price=_listed_price(
                catalog.providers[model.provider], model.upstream, model.capabilities, find_price
            ),
        )
        for model in catalog.models.values()
    )
    return replace(catalog, models={model.name: model for model in models})


class _Reader:
    def __init__(self, environ: Mapping[str, str], find_price: FindPrice) -> None:
        self._environ = environ
        self._find_price = find_price
        self._providers: dict[str, Provider] = {}
        self._models: dict[str, Model] = {}
        self._routing: dict[str, Any] = {}

    def read(self, file: Section) -> None:
        for section in file.sections("providers", "provider"):
            provider = self._provider(section)
            if provider.name in self._providers:
                section.complain("name", f"there is a provider {provider.name} already")
            self._providers[provider.name] = provider
        sections = list(file.sections("models", "model"))
        for section in sections:
            model = self._model(section)
            if model.name in self._models:
                section.complain("name", f"there is a model {model.name} already")
            self._models[model.name] = model
        for section in sections:  # again, now that every name is known
            section.texts("fallbacks", among=self._models)
        if routing := file.section("routing"):
            self._routing = self._read_routing(routing)

    def catalog(self) -> Catalog:
        models = with_version(self._models.values())
        return Catalog(self._providers, {model.name: model for model in models}, **self._routing)

    def _provider(self, section: Section) -> Provider:
        name = section.text("name")
        if name and not _PROVIDER_NAME.fullmatch(name):
            section.complain("name", "name may have letters, digits, dots, dashes, underscores")
        wire = section.choice("wire", get_args(Wire))
        base_url, why_off = self._base_url(section)
        key = section.optional_text("api_key_env")
        if key is not None and not _ENV_NAME.fullmatch(key):
            section.complain(
                "api_key_env", "api_key_env must name an environment variable, not hold the key"
            )
        elif key is not None and not self._environ.get(key, "").strip():
            why_off = why_off or f"{key} is not set"
        provider = Provider(
            name=name,
            wire=cast("Wire", wire),
            base_url=base_url,
            api_key_env=key,
            timeouts=_timeouts(section.section("timeouts_s")),
            sandbox=section.flag("sandbox", default=False),
            why_off=why_off,
        )
        section.finish()
        return provider

    def _base_url(self, section: Section) -> tuple[str, str | None]:
        """Return the address, and why the provider is off if its variable says so."""
        written = section.text("base_url")
        unset = [
            found["name"]
            for found in _VARIABLE.finditer(written)
            if not self._environ.get(found["name"]) and found["default"] is None
        ]
        if unset:
            return "", f"{unset[0]} is not set"
        url = _VARIABLE.sub(
            lambda found: self._environ.get(found["name"]) or found["default"], written
        ).rstrip("/")
        problem = _url_problem(url)
        if not problem or not written:
            return url, None
        if found := _VARIABLE.search(written):  # the file is right, the environment is not
            return "", f"{found['name']} {problem}"
        section.complain("base_url", f"base_url {problem}")
        return "", None

    def _model(self, section: Section) -> Model:
        name = section.text("name")
        provider = section.text("provider")
        if provider and provider not in self._providers:
            known = ", ".join(self._providers)
            section.complain("provider", f"there is no provider {provider!r}; there are {known}")
        elif name and provider and not name.startswith(f"{provider}/"):
            section.complain("name", f"name must start with its provider: {provider}/{name}")
        elif name and not _MODEL_NAME.fullmatch(name):
            section.complain("name", "name may have letters, digits and any of . _ : / @ + -")
        upstream = section.text("upstream")
        capabilities = frozenset(section.texts("capabilities", among=CAPABILITIES))
        price = _price(section.section("price_usd_per_million"), capabilities)
        if price is None and provider in self._providers:
            price = _listed_price(
                self._providers[provider], upstream, capabilities, self._find_price
            )
        model = Model(
            name=name,
            provider=provider,
            upstream=upstream,
            tier=cast("Tier", section.choice("tier", get_args(Tier))),
            capability=float(section.number("capability", low=0, high=1)),
            context_tokens=_tokens(section, "context_tokens"),
            capabilities=capabilities,
            price=price,
            fallbacks=tuple(section.texts("fallbacks")),
            enabled=section.flag("enabled", default=True),
        )
        section.finish()
        return model

    def _read_routing(self, section: Section) -> dict[str, Any]:
        routing: dict[str, Any] = {
            "default_strategy": section.choice("default_strategy", list(PARAMETERS), "hybrid"),
            "preset": section.choice("preset", list(PRICE_OF_QUALITY), "balanced"),
        }
        if section.optional_text("baseline_model"):
            routing["baseline_model"] = section.choice("baseline_model", list(self._models))
        section.finish()
        return routing


def _timeouts(section: Section | None) -> Timeouts:
    if section is None:
        return Timeouts()
    default = Timeouts()
    seconds = {
        name: float(
            section.number(
                name, low=0.001, high=MOST_SECONDS, default=getattr(default, f"{name}_s")
            )
        )
        for name in ("connect", "first_token", "idle", "total", "failover")
    }
    section.finish()
    return Timeouts(**{f"{name}_s": value for name, value in seconds.items()})


def _price(section: Section | None, capabilities: frozenset[str]) -> Price | None:
    if section is None:
        return None

    def usd(name: str, default: str | None = None) -> int:
        return nano_usd(section.number(name, low=0, high=MOST_USD_PER_MILLION, default=default))

    given = section.number("input", low=0, high=MOST_USD_PER_MILLION)
    price = Price(
        input=nano_usd(given),
        cached_input=usd("cached_input", str(given)),
        output=usd("output", "0" if "embeddings" in capabilities else None),
        version=0,
    )
    section.finish()
    return price


def _listed_price(
    provider: Provider, upstream: str, capabilities: frozenset[str], find_price: FindPrice
) -> Price | None:
    price = find_price(provider.name, provider.base_url, upstream)
    if price is not None and price.input and not price.output and "embeddings" not in capabilities:
        return None  # a list that does not know what answers cost does not know the price
    return price


def _tokens(section: Section, name: str) -> int:
    value = section.number(name, low=1, high=MOST_TOKENS)
    if value != int(value):
        section.complain(name, f"{name} must be a whole number")
    return int(value)


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        return "must be an address such as https://api.acme.example/v1"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must hold no user, password, query or fragment: keys go to api_key_env"
    return None
