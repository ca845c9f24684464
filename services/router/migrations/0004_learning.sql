-- What was said or seen of one model's answer to one request, as it was last applied: a later
-- revision applies the difference. No prompt: φ is 48 numbers. It takes the place of
-- router.outcomes, which holds no φ to learn from.
CREATE TABLE router.judgements (
    request_id   uuid              NOT NULL,
    model        text              NOT NULL,
    source       text              NOT NULL,  -- stars, votes, failed, empty, refused, ...
    revision     integer           NOT NULL,  -- of the feedback; 0: nobody said it, it was seen
    outcome      double precision  NOT NULL,  -- 0 to 1
    weight       double precision  NOT NULL,  -- with which it was learned
    features     bytea             NOT NULL,  -- φ
    role         text              NOT NULL,  -- why this model: plain, treated, control, explored
    pattern      text              NOT NULL,  -- what the prompt is about
    who          text,                        -- a hash of the user; null: nobody was named
    place        bigint            NOT NULL,  -- among the outcomes of the model: later ones faded it
    occurred_at  timestamptz       NOT NULL,  -- when it was answered
    applied_at   timestamptz       NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, model)
);
CREATE INDEX judgements_compared ON router.judgements (applied_at DESC)
    WHERE role IN ('treated', 'control');
CREATE INDEX judgements_by_time ON router.judgements (occurred_at);

-- Faded sums over router.judgements. Not checked here: a bad cell must not stop what follows the
-- ledger; readers refuse it and use the prior. It takes the place of router.learned.
CREATE TABLE router.evidence (
    name        text         PRIMARY KEY,  -- of a model: quality; faults:<model>; output_tokens; ...
    state       bytea        NOT NULL,
    updated_at  timestamptz  NOT NULL DEFAULT now()
);

-- How much of some evidence comes from one user.
CREATE TABLE router.evidence_shares (
    name        text              NOT NULL,  -- of the evidence
    who         text              NOT NULL,
    weight      double precision  NOT NULL,  -- faded up to `place`
    place       bigint            NOT NULL,
    updated_at  timestamptz       NOT NULL DEFAULT now(),
    PRIMARY KEY (name, who)
);

-- What the last re-fit added to the prior of each model.
CREATE TABLE router.corrections (
    model       text         PRIMARY KEY,
    correction  bytea        NOT NULL,
    outcomes    bigint       NOT NULL,  -- that the re-fit saw
    fitted_at   timestamptz  NOT NULL DEFAULT now()
);

-- The last question of each user, for some minutes: asked again, its answer did not do.
CREATE TABLE router.last_asked (
    tenant      text         NOT NULL,
    user_id     text         NOT NULL,
    request_id  uuid         NOT NULL,
    model       text         NOT NULL,
    features    bytea        NOT NULL,
    role        text         NOT NULL,
    pattern     text         NOT NULL,
    asked_at    timestamptz  NOT NULL,
    PRIMARY KEY (tenant, user_id)
);
CREATE INDEX last_asked_by_time ON router.last_asked (asked_at);

-- Votes on answers in the response cache.
CREATE TABLE router.votes (
    vote_id     bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cache_key   text         NOT NULL,
    request_id  uuid         NOT NULL,  -- that was answered first
    model       text         NOT NULL,
    rating      smallint     NOT NULL CHECK (rating IN (-1, 1)),
    comment     text,
    spent       boolean      NOT NULL DEFAULT false,  -- its answer was forgotten for it
    voted_at    timestamptz  NOT NULL DEFAULT now()
);
CREATE INDEX votes_that_count ON router.votes (cache_key) WHERE NOT spent;
CREATE INDEX votes_spent ON router.votes (request_id) WHERE spent;
CREATE INDEX votes_by_time ON router.votes (voted_at);
