-- What learning needs of a rated request: the prompt's features (φ, no text), why the model was
-- chosen, and its place among the outcomes of its model (later ones have faded it).
ALTER TABLE router.outcomes ALTER COLUMN difficulty DROP NOT NULL;
ALTER TABLE router.outcomes
    ADD COLUMN features  bytea,
    ADD COLUMN role      text NOT NULL DEFAULT 'plain',  -- plain, treated, control, explored
    ADD COLUMN place     bigint;
CREATE INDEX outcomes_compared ON router.outcomes (applied_at DESC)
    WHERE role IN ('treated', 'control');

-- Faded sums over router.outcomes. Not checked here: a bad cell must not stop what follows the
-- ledger; readers refuse it and use the prior. It takes the place of router.learned.
CREATE TABLE router.evidence (
    model       text         PRIMARY KEY,
    state       bytea        NOT NULL,
    updated_at  timestamptz  NOT NULL DEFAULT now()
);

-- What the last re-fit added to the prior of each model.
CREATE TABLE router.corrections (
    model       text         PRIMARY KEY,
    correction  bytea        NOT NULL,
    outcomes    bigint       NOT NULL,  -- that the re-fit saw
    fitted_at   timestamptz  NOT NULL DEFAULT now()
);
