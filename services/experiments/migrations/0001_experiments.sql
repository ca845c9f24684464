-- How far this service has read the ledger. Moves in the transaction that stores the effects.
CREATE TABLE experiments.cursor (
    name      text  PRIMARY KEY,
    position  text  NOT NULL
);

CREATE TABLE experiments.experiments (
    id            bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text         NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    description   text,
    arms          jsonb        NOT NULL CHECK (jsonb_array_length(arms) BETWEEN 2 AND 8),
    sample_size   bigint       NOT NULL CHECK (sample_size > 0),
    status        text         NOT NULL DEFAULT 'running'
                               CHECK (status IN ('running', 'completed', 'cancelled')),
    created_at    timestamptz  NOT NULL DEFAULT now(),
    completed_at  timestamptz,
    CHECK ((status = 'running') = (completed_at IS NULL))
);

CREATE INDEX idx_experiment_status ON experiments.experiments (status);

-- One row for each request that an arm served: also for a failed one (intention to treat).
-- A correction may lower a cost, so it has no lower bound here.
CREATE TABLE experiments.experiment_results (
    id                 bigint            GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id         text              NOT NULL UNIQUE,
    experiment_id      bigint            NOT NULL REFERENCES experiments.experiments (id),
    arm                text              NOT NULL CHECK (arm <> ''),
    user_id            text              NOT NULL CHECK (user_id <> ''),
    provider           text              NOT NULL,
    model              text              NOT NULL,
    outcome            text              NOT NULL,
    success            boolean           NOT NULL,
    cost_nano_usd      bigint,           -- NULL: unpriced, which is not free
    latency_ms         double precision  NOT NULL CHECK (latency_ms >= 0 AND latency_ms < 'Infinity'),
    quality_score      smallint          CHECK (quality_score BETWEEN 1 AND 5),
    feedback_revision  integer           NOT NULL DEFAULT -1,  -- the one quality_score came with
    answered_at        timestamptz       NOT NULL
);

CREATE INDEX idx_experiment_results_exp_id ON experiments.experiment_results (experiment_id);
CREATE INDEX idx_experiment_results_user ON experiments.experiment_results (user_id, experiment_id);
