"""One call under way: what it answers, how fast, and what it has generated so far."""

from dataclasses import dataclass, field
from typing import Any

from sandbox.answers import Reply
from sandbox.bill import Bill, Entry
from sandbox.faults import BREAKS, Fault
from sandbox.http import Exchange
from sandbox.models import CHAT_MODELS
from sandbox.request import ChatRequest

FINGERPRINT = "fp_sandbox"
_ABSURD_TOKENS = 9_007_199_254_740_993  # no double holds it, no answer has it


@dataclass(slots=True)
class Call:
    exchange: Exchange
    request: ChatRequest
    reply: Reply
    fault: Fault | None
    scale: float  # of every delay
    response_id: str
    created: int  # Unix time
    generated: int = 0  # tokens of the answer, sent or about to be
    entry: Entry | None = field(default=None)  # on the bill

    @property
    def fault_kind(self) -> str | None:
        return self.fault.kind if self.fault else None

    @property
    def model(self) -> str:
        """The name that the answer reports."""
        if self.fault and self.fault.kind == "reports_model":
            return self.fault.text
        return self.request.model.name

    @property
    def first_token_s(self) -> float:
        """The time to the first token, up to a fifth faster or slower by the draw."""
        if self.fault and self.fault.kind == "first_token_s":
            return self.fault.number
        spread = 0.8 + 0.4 * (self.reply.draw & 0xFF) / 0xFF
        return self.request.model.first_token_s * spread * self.scale

    @property
    def token_s(self) -> float:
        """The time between two tokens."""
        if self.fault and self.fault.kind == "tokens_per_s":
            return 1 / self.fault.number
        return self.scale / self.request.model.tokens_per_s

    @property
    def tool_call_id(self) -> str:
        return f"call_{self.response_id[-12:]}"

    @property
    def truth(self) -> dict[str, Any]:
        """What only a sandbox can say of its answers."""
        return {"correct": self.reply.correct, "difficulty": self.reply.difficulty}

    @property
    def usage(self) -> dict[str, Any]:
        absurd = self.fault_kind == "absurd_usage"
        output_tokens = _ABSURD_TOKENS if absurd else self.generated
        return {
            "prompt_tokens": self.request.input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": self.request.input_tokens + output_tokens,
            "prompt_tokens_details": {"cached_tokens": self.request.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }

    @property
    def stillborn(self) -> bool:
        """True when the fault strikes before anything is generated: then nothing is owed."""
        fault = self.fault
        return fault is not None and (
            fault.kind == "heartbeats" or (fault.kind in BREAKS and fault.after == 0)
        )

    def charge(self, bill: Bill) -> None:
        """Put what was generated on the bill, once; at the price of the model that is reported."""
        if self.entry is not None or (self.stillborn and self.fault and not self.fault.billed):
            return
        request = self.request
        price = CHAT_MODELS.get(self.model, request.model)
        tokens = (request.input_tokens, request.cached_tokens, self.generated)
        self.entry = bill.add(
            response_id=self.response_id,
            client_request_id=self.exchange.header(b"x-client-request-id"),
            model=price.name,
            tokens=tokens,
            cost_nano_usd=price.cost_nano_usd(*tokens),
            streamed=request.streamed,
        )

    def deliver(self) -> None:
        """Note that everything was sent, if the client is still there to read it."""
        if self.entry is not None:
            self.entry.delivered = not self.exchange.gone
