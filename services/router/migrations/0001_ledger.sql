-- The only truth about money: append-only, read in the order (epoch, xact_id, seq). No prompts.

-- An epoch is a span in which transaction ids only grow. A restore, a failover or an upgrade ends
-- it, because the ids may begin again below what readers have already passed. An epoch is named
-- by the Unix second it began in, so that two restores of one backup do not share a name.
CREATE TABLE router.ledger_epochs (
    epoch              bigint       PRIMARY KEY,
    system_identifier  bigint       NOT NULL,
    timeline_id        integer      NOT NULL,
    started_at         timestamptz  NOT NULL DEFAULT now()
);

CREATE SEQUENCE router.ledger_seq;

-- The columns before recorded_at say where a row stands, the others what services/router/domain/
-- entries.py says of them. Partitions are days of attempt_id, whose first 48 bits are Unix
-- milliseconds; the service makes them ahead.
CREATE TABLE router.ledger (
    attempt_id              uuid              NOT NULL,
    kind                    smallint          NOT NULL CHECK (kind BETWEEN 1 AND 5),
    revision                integer           NOT NULL,
    request_id              uuid              NOT NULL,
    epoch                   bigint            NOT NULL,
    xact_id                 xid8              NOT NULL DEFAULT pg_current_xact_id(),
    seq                     bigint            NOT NULL DEFAULT nextval('router.ledger_seq'),
    recorded_at             timestamptz       NOT NULL,
    deadline_at             timestamptz,
    tenant                  text              NOT NULL,
    user_id                 text,
    experiment_id           bigint,
    arm                     text,
    strategy                text,
    confidence              text,
    provider                text,
    model                   text,
    outcome                 text,
    input_tokens            bigint            NOT NULL,
    output_tokens           bigint            NOT NULL,
    cached_input_tokens     bigint            NOT NULL,
    cost_nano_usd           bigint,
    pricing                 text,
    price_version           bigint,
    baseline_cost_nano_usd  bigint,
    latency_ms              double precision  NOT NULL,
    time_to_first_token_ms  double precision,
    cache_hit               boolean           NOT NULL,
    streamed                boolean           NOT NULL,
    estimated               boolean           NOT NULL,
    fallbacks               integer           NOT NULL,
    provider_response_id    text,
    details                 json, -- kept as it came: it is written often and searched rarely
    PRIMARY KEY (attempt_id, kind, revision)
) PARTITION BY RANGE (attempt_id);

CREATE INDEX ledger_order ON router.ledger (epoch, xact_id, seq);

-- Feedback is rare, and learning reads nothing else.
CREATE INDEX ledger_feedback_order ON router.ledger (epoch, xact_id, seq) WHERE kind = 5;

CREATE FUNCTION router.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON router.ledger
    FOR EACH ROW EXECUTE FUNCTION router.refuse_change();

-- The rows behind a position, in order. The planner takes a cursor near the end for one at the
-- very end, and would then read and sort all that follows for every page: sorting is forbidden.
-- Stable, so that it sees what the calling statement sees.
CREATE FUNCTION router.ledger_behind(
    behind_epoch bigint, behind_xact_id xid8, behind_seq bigint, most bigint)
    RETURNS SETOF router.ledger LANGUAGE sql STABLE
    SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
    SELECT ledger FROM router.ledger AS ledger
     WHERE (epoch, xact_id, seq) > (behind_epoch, behind_xact_id, behind_seq)
     ORDER BY epoch, xact_id, seq
     LIMIT most
$$;

-- How far each reader has durably come: retention waits for the slowest.
CREATE TABLE router.ledger_readers (
    consumer  text         PRIMARY KEY,
    epoch     bigint       NOT NULL,
    xact_id   xid8         NOT NULL,
    seq       bigint       NOT NULL,
    seen_at   timestamptz  NOT NULL DEFAULT now()
);

-- Attempts that were not settled, or whose request was not closed, when the reaper came by.
CREATE TABLE router.ledger_unfinished (
    attempt_id   uuid         PRIMARY KEY,
    request_id   uuid         NOT NULL,
    deadline_at  timestamptz  NOT NULL
);
