"""Which models could serve a request at all, and what is expected of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from common.errors import Invalid, NotFound, Unavailable
from common.money import cost_nano_usd
from services.router.domain.beliefs import Beliefs
from services.router.domain.catalog import Catalog, Model
from services.router.domain.complexity import Complexity, complexity_of
from services.router.domain.decision import Candidate
from services.router.domain.needs import Needs, needs_of, question_text
from services.router.domain.request import Ask
from services.router.domain.vector import Floats, vector_of

MAX_CANDIDATES = 6  # the choice and its fallbacks: more would only make a dead client wait


@dataclass(frozen=True, slots=True)
class Question:
    """One request as a strategy sees it."""

    ask: Ask
    text: str  # what must be answered
    needs: Needs
    complexity: Complexity
    phi: Floats
    beliefs: Beliefs
    catalog: Catalog
    length_ratio: float  # how many times longer than usual answers to such a prompt are

    def expect(self, model: Model) -> Candidate:
        """Say what *model* would cost and how well it would do."""
        belief = self.beliefs.of(model)
        quality, spread = belief.expect(self.phi)
        faults = self.beliefs.fault_ratio(model, self.phi)
        return Candidate(
            model,
            self.expected_cost(model),
            max(0.0, min(quality, 1.0)) * (1 - faults),
            spread * (1 - faults),
            belief.evidence,
            faults,
        )

    def expected_cost(self, model: Model, *, cached: bool = True) -> int | None:
        """Predict the cost of *model*; what its provider still holds of the talk is cheaper."""
        if model.price is None:
            return None
        output = round(self.beliefs.answer_tokens(model) * self.length_ratio)
        if self.needs.max_output_tokens is not None:
            output = min(output, self.needs.max_output_tokens)
        held = self._held_tokens(model) if cached else 0
        return cost_nano_usd(
            (self.needs.input_tokens - held, model.price.input),
            (held, model.price.cached_input),
            (output * self.needs.choices, model.price.output),
        )

    def switch_cost(self, model: Model) -> int | None:
        """Return what leaving *model* gives away; None: nothing of the talk is held there."""
        if not self._held_tokens(model):
            return None
        full, staying = self.expected_cost(model, cached=False), self.expected_cost(model)
        if full is None or staying is None or full == staying:
            return None
        return full - staying

    def _held_tokens(self, model: Model) -> int:
        talk = self.ask.conversation
        if talk is None or talk.model != model.name:
            return 0
        return max(0, min(talk.cached_tokens, self.needs.input_tokens))


def read(ask: Ask, catalog: Catalog, beliefs: Beliefs) -> Question:
    """Read *ask* once, for every strategy."""
    text = question_text(ask.body)
    complexity = complexity_of(text, beliefs.thresholds)
    phi = vector_of(complexity)
    return Question(
        ask,
        text,
        needs_of(ask),
        complexity,
        phi,
        beliefs,
        catalog,
        beliefs.length_ratio(phi),
    )


def fitting(question: Question) -> list[Candidate]:
    """
    List what routing may choose from, in catalog order; at least one.

    Raises:
        Unavailable: no provider is on.
        NotFound: no model accepts this request.
    """
    fits = [model for model in routable(question.catalog) if not question.needs.missing(model)]
    if not fits:
        raise NotFound(
            f"no enabled model offers what this request needs: {question.needs}",
            code="no_suitable_model",
        )
    return [question.expect(model) for model in fits]


def routable(catalog: Catalog) -> list[Model]:
    """
    List the chat models that are on, in catalog order; at least one.

    Simulated answers never mix with real ones: the sandbox is routed to only while no real
    provider is on.

    Raises:
        Unavailable: no provider is on.
    """
    chat = [model for model in _servable(catalog) if "embeddings" not in model.capabilities]
    real = [model for model in chat if not catalog.providers[model.provider].sandbox]
    return real or chat


def find(name: str, catalog: Catalog, *, embeddings: bool = False) -> Model:
    """
    Find a model that a client pins.

    Raises:
        Unavailable: no provider is on.
        NotFound: there is no such model, or it is off.
        Invalid: it does something else than what is asked.
    """
    servable = {model.name: model for model in _servable(catalog)}
    model = servable.get(name)
    if model is None:
        raise NotFound(_why_absent(name, catalog, servable), code="model_not_found", param="model")
    if embeddings != ("embeddings" in model.capabilities):
        does = "chat completions" if embeddings else "embeddings"
        raise Invalid(f"the model {name} makes {does}", code="wrong_model_kind", param="model")
    return model


def fallbacks_of(model: Model, question: Question) -> list[Candidate]:
    """Return the declared fallbacks of *model* that are on, of its kind, and accept the request."""
    embeds = "embeddings" in model.capabilities
    by_name = {
        servable.name: servable
        for servable in question.catalog.servable()
        if embeds == ("embeddings" in servable.capabilities)
    }
    return [
        question.expect(by_name[name])
        for name in model.fallbacks
        if name in by_name and name != model.name and not question.needs.missing(by_name[name])
    ]


def cost_order(candidate: Candidate) -> tuple[bool, int, float, str]:
    """Sort cheapest first; what has no price comes after all that has one."""
    cost = candidate.expected_cost_nano_usd
    return (cost is None, cost or 0, -candidate.expected_quality, candidate.model.name)


def capability_order(candidate: Candidate) -> tuple[float, bool, int, str]:
    """Sort by declared capability, the best first; among equals the cheapest."""
    unpriced, cost, _, name = cost_order(candidate)
    return (-candidate.model.capability, unpriced, cost, name)


def with_fallbacks(
    ranked: Sequence[Candidate], *rest: Sequence[Candidate], question: Question
) -> tuple[Candidate, ...]:
    """
    Put fallbacks behind the choice: its declared ones, then the others in their groups' order.

    Within a group, providers take turns: when the chosen one is down, its other models are too.
    """
    chosen = ranked[0]
    allowed = {candidate.model.name for group in (ranked, *rest) for candidate in group}
    declared = [c for c in fallbacks_of(chosen.model, question) if c.model.name in allowed]
    result = {chosen.model.name: chosen, **{c.model.name: c for c in declared}}
    for group in (ranked, *rest):
        for candidate in _by_turns(group, first=chosen):
            result.setdefault(candidate.model.name, candidate)
    return tuple(result.values())[:MAX_CANDIDATES]


def _by_turns(group: Iterable[Candidate], *, first: Candidate) -> list[Candidate]:
    seen = {first.model.provider: 1}
    turns = []
    for candidate in group:
        if candidate.model.name == first.model.name:
            continue
        turn = seen.get(candidate.model.provider, 0)
        seen[candidate.model.provider] = turn + 1
        turns.append((turn, candidate))
    return [candidate for _, candidate in sorted(turns, key=lambda pair: pair[0])]


def _servable(catalog: Catalog) -> list[Model]:
    servable = catalog.servable()
    if servable:
        return servable
    if any(provider.enabled for provider in catalog.providers.values()):
        raise Unavailable("every model is switched off in the catalog", code="no_provider")
    reasons = dict.fromkeys(p.why_off for p in catalog.providers.values() if p.why_off)
    raise Unavailable(
        f"no provider is enabled ({'; '.join(reasons)}): set one of these variables and restart",
        code="no_provider",
    )


def _why_absent(name: str, catalog: Catalog, servable: Iterable[str]) -> str:
    known = catalog.models.get(name)
    if known is not None:
        why = catalog.providers[known.provider].why_off or "it is switched off in the catalog"
        return f"the model {name} is off: {why}"
    close = get_close_matches(name, list(servable), n=1)
    hint = f"; did you mean {close[0]}?" if close else "; GET /v1/models lists those there are"
    return f"there is no model {name[:100]!r}{hint}"
