-- How far this service has read the ledger. Moves in the transaction that stores the effects.
CREATE TABLE metrics.cursor (
    name      text  PRIMARY KEY,
    position  text  NOT NULL
);

-- Requests by the minute. Three populations: all requests; the priced (cost_nano_usd); the compared
-- (compared_cost_nano_usd and baseline_cost_nano_usd, over the same requests). Corrections may lower
-- money and tokens, so these have no lower bound here.
CREATE TABLE metrics.rollups (
    minute                  timestamptz  NOT NULL,
    strategy                text         NOT NULL,
    provider                text         NOT NULL,
    model                   text         NOT NULL,
    confidence              text         NOT NULL,
    outcome                 text         NOT NULL,
    cache_hit               boolean      NOT NULL,
    requests                bigint       NOT NULL CHECK (requests >= 0),
    priced                  bigint       NOT NULL CHECK (priced BETWEEN 0 AND requests),
    compared                bigint       NOT NULL CHECK (compared BETWEEN 0 AND priced),
    cost_nano_usd           bigint       NOT NULL,
    compared_cost_nano_usd  bigint       NOT NULL,
    baseline_cost_nano_usd  bigint       NOT NULL,
    input_tokens            bigint       NOT NULL,
    output_tokens           bigint       NOT NULL,
    cached_input_tokens     bigint       NOT NULL,
    PRIMARY KEY (minute, strategy, provider, model, confidence, outcome, cache_hit)
);

-- Where each request is counted, and with how much: what a later correction needs, and a second
-- guard against counting one twice. Kept for as long as corrections are accepted.
CREATE TABLE metrics.requests (
    request_id              uuid         PRIMARY KEY,
    minute                  timestamptz  NOT NULL,
    strategy                text         NOT NULL,
    provider                text         NOT NULL,
    model                   text         NOT NULL,
    confidence              text         NOT NULL,
    outcome                 text         NOT NULL,
    cache_hit               boolean      NOT NULL,
    cost_nano_usd           bigint,      -- NULL: unpriced, which is not free
    baseline_cost_nano_usd  bigint
);

CREATE INDEX idx_requests_minute ON metrics.requests (minute);
