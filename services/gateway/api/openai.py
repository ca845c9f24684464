"""The OpenAI wire: chat completions, plain and streamed; models. Plain ASGI, for its speed."""

from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.router.v1 import router_pb2
from starlette.types import Receive, Scope, Send

from common.errors import Invalid, NotFound
from common.strategies import STRATEGIES
from services.gateway.api.body import BodyReader, check_text, parse_object
from services.gateway.api.context import Context, caller_of, context_of
from services.gateway.api.hangup import StopOnHangUp
from services.gateway.api.outcome import cost_header, headers
from services.gateway.api.respond import send_json
from services.gateway.api.stream import StreamAnswer
from services.gateway.comparisons import Comparisons
from services.gateway.domain import defaults
from services.gateway.domain import options as names
from services.gateway.domain.openai_wire import (
    MAX_USER_CHARACTERS,
    ChatRequest,
    ModelChoice,
    choose_model,
    read_chat,
    unknown_model,
)
from services.gateway.domain.options import Options, read_options
from services.gateway.usecases import Completions, Placement


class ChatCompletions:
    """POST /v1/chat/completions."""

    route_path = "/v1/chat/completions"

    def __init__(
        self,
        completions: Completions,
        comparisons: Comparisons,
        *,
        read_body: BodyReader,
        heartbeat_s: float,
    ) -> None:
        self._completions = completions
        self._comparisons = comparisons
        self._read_body = read_body
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        raw = await self._read_body(receive)
        chat = read_chat(parse_object(raw))
        choice = choose_model(chat.model)
        options = read_options(context.headers, strategies=STRATEGIES)
        tenant = caller_of(scope).tenant
        placement = await self._place(chat, choice, options, tenant)
        ask = router_pb2.Ask(
            request_id=context.request_id,
            tenant=tenant,
            user_id=(options.user_id or chat.user)[:MAX_USER_CHARACTERS],
            model=choice.pinned,
            strategy=placement.strategy,
            body=raw,
            use_cache=bool(options.use_cache),
            experiment_id=placement.experiment_id,
            arm=placement.arm,
        )
        with _parameters_named(placement):
            if chat.stream:
                answer = StreamAnswer(send, placement, context, heartbeat_s=self._heartbeat_s)
                await answer.serve(self._completions, ask, receive)
            else:
                await self._plain(ask, placement, context, receive, send)

    async def _place(
        self, chat: ChatRequest, choice: ModelChoice, options: Options, tenant: str
    ) -> Placement:
        if choice.strategy and choice.strategy not in STRATEGIES:
            raise unknown_model(chat.model)
        if choice.strategy and options.strategy and choice.strategy != options.strategy:
            raise Invalid(
                f"`{names.STRATEGY}` contradicts the model `{chat.model}`; send one of them.",
                code="invalid_value",
                param=names.STRATEGY,
            )
        if choice.pinned and options.parameters_json:
            raise Invalid(
                f"`{names.PARAMETERS}` says how a strategy chooses, and a pinned model leaves"
                ' nothing to choose: send the model "auto", or no parameters.',
                code="invalid_value",
                param=names.PARAMETERS,
            )
        user_id = options.user_id or chat.user
        if options.experiment_id:
            _check_experiment(choice, user_id)
        try:
            return await self._completions.place(
                router_pb2.Strategy(
                    name=choice.strategy or options.strategy,
                    parameters_json=options.parameters_json,
                ),
                experiment_id=options.experiment_id,
                user_id=user_id,
                undecided=None
                if _decided(choice, options)
                else defaults.Scope(tenant, options.tag),
            )
        except NotFound as failure:
            failure.param = names.EXPERIMENT
            raise

    async def _plain(
        self,
        ask: router_pb2.Ask,
        placement: Placement,
        context: Context,
        receive: Receive,
        send: Send,
    ) -> None:
        async with StopOnHangUp(receive):
            response = await self._completions.complete(ask)
        context.outcome = response.outcome
        told = [*headers(response.outcome, placement), cost_header(response.outcome)]
        await send_json(send, 200, response.body, told)
        self._comparisons.offer(ask, placement, response)


@contextmanager
def _parameters_named(placement: Placement) -> Iterator[None]:
    """Name the header of parameters that the router refuses: it does not know where they stood."""
    try:
        yield
    except Invalid as failure:
        if not placement.arm and (failure.param or "").startswith("strategy"):
            failure.param = names.PARAMETERS
        raise


def _decided(choice: ModelChoice, options: Options) -> bool:
    """Return whether the caller said who is to choose, or how."""
    return bool(choice.pinned or choice.strategy or options.strategy or options.parameters_json)


def _check_experiment(choice: ModelChoice, user_id: str) -> None:
    if choice.pinned:
        raise Invalid(
            "An experiment compares strategies, and a pinned model leaves nothing to choose:"
            ' send the model "auto", or no experiment.',
            code="invalid_value",
            param="model",
        )
    if not user_id:
        raise Invalid(names.NEEDS_USER, code="user_id_required", param=names.USER)
    if len(user_id) > MAX_USER_CHARACTERS:  # cut, two users might become one
        raise Invalid(
            f"`user` must have at most {MAX_USER_CHARACTERS} characters to be assigned an arm.",
            code="invalid_value",
            param="user",
        )
    check_text(user_id, names.USER)
