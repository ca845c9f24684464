-- What each tenant spent on each day (UTC, of the request), derived from the router's ledger.
CREATE TABLE gateway.spend (
    day            date         NOT NULL,
    tenant         text         NOT NULL,
    cost_nano_usd  bigint       NOT NULL DEFAULT 0, -- settled and corrected rows
    requests       bigint       NOT NULL DEFAULT 0, -- closed rows
    unpriced       bigint       NOT NULL DEFAULT 0, -- of these, without a price: not in the cost
    latest_at      timestamptz  NOT NULL,           -- when the newest row in here was recorded
    PRIMARY KEY (day, tenant)
);

-- How far the ledger was followed; moves in the transaction that moves the spend.
CREATE TABLE gateway.cursor (
    name      text  PRIMARY KEY,
    position  text  NOT NULL
);
