"""A kept state of what was learned: read again it decides alike; what is corrupt is the prior."""

import zlib

import numpy as np
import pytest

from services.router.domain.beliefs import NOTHING_LEARNED, Beliefs
from services.router.domain.complexity import FIXED, Thresholds, complexity_of
from services.router.domain.vector import SIZE, vector_of
from services.router.store.snapshot_format import VERSION, pack, unpack
from tests.router_builders import a_model, evidence_of

EASY, HARD = (
    vector_of(complexity_of(text))
    for text in ("What is the capital of France?", "Prove it, step by step. " * 9)
)
ONE, TWO = a_model("acme/one"), a_model("acme/two")
BELIEFS = Beliefs(
    evidence={"acme/one": evidence_of(EASY, 0.3, 40), "acme/two": evidence_of(HARD, 0.9, 7)},
    faults={"acme/one": evidence_of(EASY, 0.2, 30)},
    corrections={"acme/two": np.linspace(-0.1, 0.1, SIZE)},
    output_tokens={"acme/one": 123.456, "acme/two": 1 / 3},
    lengths=evidence_of(EASY, 0.5, 30).learn(HARD, 0.7),
    usual_cost_nano_usd=98_765.4321,
    thresholds=Thresholds(0.123, 0.777, 1_000),
    fallen_back=True,
    verdicts=evidence_of(HARD, 0.5, 5),
)


def packed(facts, states=b""):
    """Pack as `pack` does, whatever it is."""
    return VERSION + zlib.compress(facts + b"\n" + states)


def test_what_is_read_again_is_believed_to_the_last_bit():
    read, refused = unpack(pack(BELIEFS))

    assert 0 == refused
    for model in (ONE, TWO):
        for phi in (EASY, HARD):
            assert BELIEFS.of(model).expect(phi) == read.of(model).expect(phi)
            assert BELIEFS.fault_ratio(model, phi) == read.fault_ratio(model, phi)
        assert BELIEFS.answer_tokens(model) == read.answer_tokens(model)
    assert BELIEFS.length_ratio(HARD) == read.length_ratio(HARD) != 1
    assert BELIEFS.verdict.expect(HARD) == read.verdict.expect(HARD)
    assert BELIEFS.usual_cost_nano_usd == read.usual_cost_nano_usd
    assert BELIEFS.thresholds == read.thresholds
    assert read.fallen_back
    assert pack(BELIEFS) == pack(read)


def test_nothing_learned_is_a_state_as_well():
    read, refused = unpack(pack(NOTHING_LEARNED))

    assert (0, pack(NOTHING_LEARNED)) == (refused, pack(read))


def test_an_absurd_part_is_left_out_and_the_others_stay():
    absurd = Beliefs(
        evidence={**BELIEFS.evidence, "acme/one": evidence_of(EASY * np.nan, 0.3, 1)},
        corrections={"acme/two": np.full(SIZE, 99.0)},
        output_tokens={"acme/one": float("nan"), "acme/two": 20.0},
        usual_cost_nano_usd=float("inf"),
        thresholds=Thresholds(0.9, 0.1, 500),
    )

    read, refused = unpack(pack(absurd))

    assert 2 == refused
    assert {"acme/two"} == set(read.evidence)
    assert {} == read.corrections
    assert {"acme/two": 20.0} == read.output_tokens
    assert (None, FIXED) == (read.usual_cost_nano_usd, read.thresholds)


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"garbage",
        VERSION,
        VERSION + b"garbage",
        b"beliefs 2\n" + pack(BELIEFS)[len(VERSION) :],
        pack(BELIEFS)[:-1],  # the checksum's last byte
        pack(BELIEFS)[:-9] + b"\xff" + pack(BELIEFS)[-8:],
        packed(b"not json"),
        packed(b"[]"),
        packed(b"{}"),
        packed(b'{"parts": [["evidence", "acme/one"]]}'),
        packed(b'{"parts": [["evidence", "acme/one", -5]]}'),
        packed(b'{"parts": [["evidence", "acme/one", 1e99]]}'),
        packed(b'{"parts": [[{}, [], 1]]}'),
    ],
)
def test_what_cannot_be_read_is_the_prior(kept):
    assert (NOTHING_LEARNED, 1) == unpack(kept)


@pytest.mark.parametrize(
    "facts",
    [
        b'{"parts": [], "output_tokens": [], "thresholds": {}, "usual_cost_nano_usd": "x"}',
        b'{"parts": [], "output_tokens": {"a/b": "9", "a/c": -1, "a/d": true}}',
        b'{"parts": [], "thresholds": [1, 2], "fallen_back": "yes", "usual_cost_nano_usd": true}',
        b'{"parts": [], "thresholds": [0.1, 0.2, -3], "usual_cost_nano_usd": -1}',
    ],
)
def test_odd_facts_are_the_prior(facts):
    read, _ = unpack(packed(facts))

    assert pack(NOTHING_LEARNED) == pack(read)


@pytest.mark.parametrize("part", [b'["evidence", "a/b", 9]', b'["unheard of", "a/b", 0]'])
def test_parts_that_are_cut_or_unknown_are_refused(part):
    read, refused = unpack(packed(b'{"parts": [' + part + b"]}", b"cut"))

    assert (1, pack(NOTHING_LEARNED)) == (refused, pack(read))


def test_it_takes_little_room():
    many = Beliefs(evidence={f"acme/{n}": evidence_of(HARD, 0.5, 50) for n in range(20)})

    assert len(pack(many)) < 20 * 10_000
