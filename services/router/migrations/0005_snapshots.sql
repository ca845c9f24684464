-- What was learned at a moment that somebody gave a name to, such as the start of an experiment:
-- every replica and every restart decides with the same state. Never changed; forgotten after 400
-- days.
CREATE TABLE router.learned_snapshots (
    name      text         PRIMARY KEY,
    state     bytea        NOT NULL,  -- services/router/store/snapshot_format.py says of what
    taken_at  timestamptz  NOT NULL DEFAULT now()
);
CREATE INDEX learned_snapshots_by_time ON router.learned_snapshots (taken_at);
