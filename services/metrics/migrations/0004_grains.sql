-- What requests have in common, told once: rollups and durations name it by its number. Only grows.
CREATE TABLE metrics.labels (
    id          integer  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    strategy    text     NOT NULL,
    provider    text     NOT NULL,
    model       text     NOT NULL,
    tenant      text     NOT NULL,
    arm         text     NOT NULL,  -- "3/test": of experiment 3; empty: in none
    confidence  text     NOT NULL,  -- empty: any; histograms do not tell them apart
    outcome     text     NOT NULL,
    cache_hit   boolean  NOT NULL,
    UNIQUE (strategy, provider, model, tenant, arm, confidence, outcome, cache_hit)
);

ALTER TABLE metrics.rollups RENAME TO rollups_before;
ALTER INDEX metrics.rollups_pkey RENAME TO rollups_before_pkey;
ALTER TABLE metrics.durations RENAME TO durations_before;
ALTER INDEX metrics.durations_pkey RENAME TO durations_before_pkey;
ALTER TABLE metrics.requests RENAME TO requests_before;
ALTER INDEX metrics.requests_pkey RENAME TO requests_before_pkey;
ALTER INDEX metrics.idx_requests_minute RENAME TO idx_requests_before_minute;

-- Tenants and arms were not kept: `make rebuild-metrics` tells them, as far back as the ledger goes.
INSERT INTO metrics.labels
    (strategy, provider, model, tenant, arm, confidence, outcome, cache_hit)
SELECT strategy, provider, model, '', '', confidence, outcome, cache_hit
  FROM metrics.rollups_before
UNION
SELECT strategy, provider, model, '', '', confidence, outcome, cache_hit
  FROM metrics.requests_before
UNION
SELECT strategy, provider, model, '', '', '', outcome, cache_hit
  FROM metrics.durations_before;

-- Sums of stretches of time: by the minute, the quarter of an hour, the hour and the quarter of a day.
-- All say the same; the longest that fit are read. Three populations: all requests; the priced
-- (cost_nano_usd); the compared (compared_cost_nano_usd and baseline_cost_nano_usd, over the same).
CREATE TABLE metrics.rollups (
    grain_s                 integer      NOT NULL CHECK (grain_s IN (60, 900, 3600, 21600)),
    start                   timestamptz  NOT NULL,
    labels_id               integer      NOT NULL,
    requests                bigint       NOT NULL CHECK (requests >= 0),
    priced                  bigint       NOT NULL,
    compared                bigint       NOT NULL,
    cost_nano_usd           bigint       NOT NULL,
    compared_cost_nano_usd  bigint       NOT NULL,
    baseline_cost_nano_usd  bigint       NOT NULL,
    input_tokens            bigint       NOT NULL,
    output_tokens           bigint       NOT NULL,
    cached_input_tokens     bigint       NOT NULL,
    fell_back               bigint       NOT NULL,
    PRIMARY KEY (grain_s, start, labels_id)
);

INSERT INTO metrics.rollups
SELECT grain_s, date_bin(make_interval(secs => grain_s), minute, 'epoch'), id,
       sum(requests), sum(priced), sum(compared), sum(cost_nano_usd), sum(compared_cost_nano_usd),
       sum(baseline_cost_nano_usd), sum(input_tokens), sum(output_tokens),
       sum(cached_input_tokens), coalesce(sum(fell_back), 0)
  FROM metrics.rollups_before
  JOIN metrics.labels USING (strategy, provider, model, confidence, outcome, cache_hit),
       (VALUES (60), (900), (3600), (21600)) AS grain (grain_s)
 WHERE tenant = '' AND arm = ''
 GROUP BY 1, 2, 3;

CREATE TABLE metrics.durations (
    grain_s    integer      NOT NULL CHECK (grain_s IN (60, 900, 3600, 21600)),
    start      timestamptz  NOT NULL,
    labels_id  integer      NOT NULL,  -- of any confidence
    measure    smallint     NOT NULL,  -- 1: latency, 2: time to the first token
    bucket     smallint     NOT NULL CHECK (bucket >= 0),
    requests   bigint       NOT NULL CHECK (requests > 0),
    PRIMARY KEY (grain_s, start, labels_id, measure, bucket)
);

INSERT INTO metrics.durations
SELECT grain.grain_s, date_bin(make_interval(secs => grain.grain_s), start, 'epoch'), id, measure,
       bucket, sum(requests)
  FROM metrics.durations_before AS old
  JOIN metrics.labels USING (strategy, provider, model, outcome, cache_hit),
       (VALUES (60), (900), (3600), (21600)) AS grain (grain_s)
 WHERE old.grain_s = 60 AND tenant = '' AND arm = '' AND confidence = ''
 GROUP BY 1, 2, 3, 4, 5;

CREATE TABLE metrics.requests (
    request_id              uuid         PRIMARY KEY,
    minute                  timestamptz  NOT NULL,
    labels_id               integer      NOT NULL,
    cost_nano_usd           bigint,      -- NULL: unpriced, which is not free
    baseline_cost_nano_usd  bigint
);

INSERT INTO metrics.requests
SELECT request_id, minute, id, cost_nano_usd, baseline_cost_nano_usd
  FROM metrics.requests_before
  JOIN metrics.labels USING (strategy, provider, model, confidence, outcome, cache_hit)
 WHERE tenant = '' AND arm = '';

CREATE INDEX idx_requests_minute ON metrics.requests (minute);

DROP TABLE metrics.rollups_before, metrics.durations_before, metrics.requests_before;
