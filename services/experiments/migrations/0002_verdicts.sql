ALTER TABLE experiments.experiments
    ADD COLUMN options  jsonb             NOT NULL DEFAULT '{}',
    ADD COLUMN verdict  jsonb,            -- once there is one it never changes
    -- Of its layer's users it may enrol those from low up to high; of an experiment that enrols.
    ADD COLUMN low      double precision,
    ADD COLUMN high     double precision,
    ADD CHECK (verdict IS NULL OR status = 'completed'),
    ADD CHECK ((low IS NULL) = (high IS NULL) AND low >= 0 AND low < high AND high <= 1.000001);

-- What the looks at an experiment have found, and the sums over its users that they look at.
CREATE TABLE experiments.looks (
    experiment_id  bigint  PRIMARY KEY REFERENCES experiments.experiments (id),
    totals         jsonb,  -- NULL: to be summed up from `users`
    looks          jsonb   NOT NULL DEFAULT '{}'
);

INSERT INTO experiments.looks (experiment_id) SELECT id FROM experiments.experiments;

ALTER TABLE experiments.experiment_results
    ADD COLUMN prompt_words  bigint   CHECK (prompt_words >= 0),  -- NULL: unknown
    ADD COLUMN fallbacks     integer  NOT NULL DEFAULT 0 CHECK (fallbacks >= 0),
    -- False: it came when the verdict was frozen, or its arm stopped.
    ADD COLUMN counted       boolean  NOT NULL DEFAULT true,
    ADD COLUMN source        text     NOT NULL DEFAULT 'ledger' CHECK (source IN ('ledger', 'import'));

-- Users are randomised, so users are compared: what each did, kept up with the results.
CREATE TABLE experiments.users (
    experiment_id  bigint  NOT NULL REFERENCES experiments.experiments (id),
    arm            text    NOT NULL CHECK (arm <> ''),
    user_id        text    NOT NULL CHECK (user_id <> ''),
    results        bigint  NOT NULL,
    priced         bigint  NOT NULL,
    cost_nano_usd  bigint  NOT NULL,
    good           bigint  NOT NULL,
    prompt_words   bigint  NOT NULL,
    measured       bigint  NOT NULL,
    failures       bigint  NOT NULL,
    latency_us     bigint  NOT NULL,
    slow           bigint  NOT NULL,
    rated          bigint  NOT NULL,
    quality        bigint  NOT NULL,
    fallbacks      bigint  NOT NULL,
    PRIMARY KEY (experiment_id, arm, user_id)
);

INSERT INTO experiments.users
SELECT experiment_id, arm, user_id,
       count(*), count(cost_nano_usd), coalesce(sum(cost_nano_usd), 0),
       count(cost_nano_usd) FILTER (WHERE success AND coalesce(quality_score, 5) > 2),
       0, 0, count(*) FILTER (WHERE NOT success), sum(round(latency_ms * 1000)),
       0, count(quality_score), coalesce(sum(quality_score), 0), 0
FROM experiments.experiment_results
GROUP BY experiment_id, arm, user_id;

-- The interval over time: a point now and then, for a chart.
CREATE TABLE experiments.series (
    experiment_id  bigint            NOT NULL REFERENCES experiments.experiments (id),
    arm            text              NOT NULL,
    results        bigint            NOT NULL,  -- of all arms, at that look
    at             timestamptz       NOT NULL,
    lift           double precision  NOT NULL,  -- of the cost per successful request
    low            double precision,            -- NULL: no bound on that side
    high           double precision,
    p_value        double precision,
    PRIMARY KEY (experiment_id, arm, results)
);

-- Every move of an experiment: who made it, when and why. Also what is yet to be told to others.
CREATE TABLE experiments.transitions (
    id             bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment_id  bigint       NOT NULL REFERENCES experiments.experiments (id),
    status         text         NOT NULL,
    by             text         NOT NULL,
    reason         text         NOT NULL,
    at             timestamptz  NOT NULL DEFAULT clock_timestamp(),
    told_at        timestamptz,  -- NULL: to be told
    claimed_until  timestamptz   -- until then somebody is at it
);

CREATE INDEX transitions_of ON experiments.transitions (experiment_id, id);
CREATE INDEX transitions_to_tell ON experiments.transitions (id) WHERE told_at IS NULL;

-- Which strategy is the default of which scope: the newest that is not reverted.
CREATE TABLE experiments.promotions (
    id             bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant         text         NOT NULL DEFAULT '',  -- '': everyone
    tag            text         NOT NULL DEFAULT '',
    experiment_id  bigint       NOT NULL REFERENCES experiments.experiments (id),
    arm            jsonb        NOT NULL,
    by             text         NOT NULL,
    reason         text         NOT NULL,
    promoted_at    timestamptz  NOT NULL DEFAULT clock_timestamp(),
    reverted_at    timestamptz,
    reverted_by    text,
    CHECK ((reverted_at IS NULL) = (reverted_by IS NULL))
);

CREATE UNIQUE INDEX promotions_once ON experiments.promotions (experiment_id)
    WHERE reverted_at IS NULL;

-- What the deployment's users are like, day by day: what planning starts from.
CREATE TABLE experiments.traffic (
    day            date    NOT NULL,
    user_id        text    NOT NULL,
    requests       bigint  NOT NULL,
    cost_nano_usd  bigint  NOT NULL,
    prompt_words   bigint  NOT NULL,
    measured       bigint  NOT NULL,
    PRIMARY KEY (day, user_id)
);

-- What a judge said of two answers to one request. The answers are not kept.
CREATE TABLE experiments.comparisons (
    experiment_id      bigint       NOT NULL REFERENCES experiments.experiments (id),
    request_id         text         NOT NULL,
    reserved_nano_usd  bigint       NOT NULL CHECK (reserved_nano_usd >= 0),
    arm                text,
    other              text,
    preferred          text[],      -- once with each answer first; '' is a tie
    cost_nano_usd      bigint,      -- NULL: unpriced, or not told yet
    failure            text,
    reserved_at        timestamptz  NOT NULL DEFAULT clock_timestamp(),
    recorded_at        timestamptz,
    PRIMARY KEY (experiment_id, request_id)
);
