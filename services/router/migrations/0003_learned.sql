-- Feedback in ledger order, without reading past everything else.
CREATE INDEX ledger_feedback ON router.ledger (epoch, xact_id, seq) WHERE kind = 5;

-- Where learning stands in the ledger.
CREATE TABLE IF NOT EXISTS router.cursor (
    name      text  PRIMARY KEY,
    position  text  NOT NULL
);

-- The outcome of each rated request as it was last applied: a later revision applies the difference.
CREATE TABLE router.outcomes (
    request_id  uuid              PRIMARY KEY,
    revision    integer           NOT NULL,
    model       text              NOT NULL,
    difficulty  text              NOT NULL,
    outcome     double precision  NOT NULL,  -- 0 to 1
    weight      double precision  NOT NULL,
    applied_at  timestamptz       NOT NULL DEFAULT now()
);

-- Sums over router.outcomes. Not checked here: a bad cell must not stop what follows the ledger;
-- readers refuse it and use the prior.
CREATE TABLE router.learned (
    model       text              NOT NULL,
    difficulty  text              NOT NULL,  -- simple, moderate, complex
    weight      double precision  NOT NULL,
    total       double precision  NOT NULL,  -- sum of weight times outcome
    updated_at  timestamptz       NOT NULL DEFAULT now(),
    PRIMARY KEY (model, difficulty)
);
