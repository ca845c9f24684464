-- How long requests took, as counts in fixed buckets (services/metrics/domain/durations.py says which):
-- of any stretch of time they add up, which percentiles do not. By the minute for short stretches, by
-- the hour for long ones; both say the same.
CREATE TABLE metrics.durations (
    grain_s    integer      NOT NULL CHECK (grain_s IN (60, 3600)),
    start      timestamptz  NOT NULL,
    strategy   text         NOT NULL,
    provider   text         NOT NULL,
    model      text         NOT NULL,
    outcome    text         NOT NULL,
    cache_hit  boolean      NOT NULL,
    measure    smallint     NOT NULL,  -- 1: latency, 2: time to the first token
    bucket     smallint     NOT NULL CHECK (bucket >= 0),
    requests   bigint       NOT NULL CHECK (requests > 0),
    PRIMARY KEY (grain_s, start, strategy, provider, model, outcome, cache_hit, measure, bucket)
);

-- Requests that were answered only after other candidates had failed. NULL: counted before this was.
ALTER TABLE metrics.rollups ADD COLUMN fell_back bigint;
