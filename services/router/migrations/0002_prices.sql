-- Price sets as they were when requests were priced: a ledger row's price_version names its set.
CREATE TABLE router.prices (
    version                bigint       NOT NULL CHECK (version >= 0),
    model                  text         NOT NULL,
    input_nano_usd         bigint       NOT NULL CHECK (input_nano_usd >= 0),  -- per million tokens
    cached_input_nano_usd  bigint       NOT NULL CHECK (cached_input_nano_usd >= 0),
    output_nano_usd        bigint       NOT NULL CHECK (output_nano_usd >= 0),
    source                 text         NOT NULL,  -- 'catalog', or a price list and its version
    taken_at               timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (version, model)
);
