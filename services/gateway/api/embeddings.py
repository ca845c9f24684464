"""POST /v1/embeddings, on the OpenAI wire, with a pinned model."""

from optimizer.router.v1 import router_pb2
from starlette.types import Receive, Scope, Send

from common.errors import Invalid
from services.gateway.api.body import BodyReader, parse_object
from services.gateway.api.context import caller_of, context_of
from services.gateway.api.hangup import StopOnHangUp
from services.gateway.api.outcome import cost_header, headers
from services.gateway.api.respond import send_json
from services.gateway.domain.openai_wire import MAX_USER_CHARACTERS, choose_model, read_embedding
from services.gateway.usecases import Completions, Placement


class Embeddings:
    route_path = "/v1/embeddings"

    def __init__(self, completions: Completions, *, read_body: BodyReader) -> None:
        self._completions = completions
        self._read_body = read_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        raw = await self._read_body(receive)
        wanted = read_embedding(parse_object(raw))
        if not choose_model(wanted.model).pinned:
            raise Invalid(
                "Vectors of different models cannot be compared: pin a model for embeddings.",
                code="invalid_value",
                param="model",
            )
        ask = router_pb2.Ask(
            request_id=context.request_id,
            tenant=caller_of(scope).tenant,
            user_id=wanted.user[:MAX_USER_CHARACTERS],
            model=wanted.model,
            body=raw,
        )
        async with StopOnHangUp(receive):
            response = await self._completions.embed(ask)
        context.outcome = response.outcome
        told = [*headers(response.outcome, _NO_ARM), cost_header(response.outcome)]
        await send_json(send, 200, response.body, told)


_NO_ARM = Placement(router_pb2.Strategy())
