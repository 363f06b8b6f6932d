-- The transactional outbox of Interlink: what a back end wants published, in its own database.
-- A back end inserts into the table `outbox` in the transaction of the change that the event
-- tells of; `interlink-workers run realtime` publishes what is committed and deletes it.
-- This text may be applied again at any time. `@schema@` stands for the schema.

CREATE SCHEMA IF NOT EXISTS @schema@;

CREATE TABLE IF NOT EXISTS @schema@.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The idempotency key, unless `publish` has one of its own.
    record uuid NOT NULL DEFAULT gen_random_uuid(),
    -- What orders the event: a user or a channel; without one its channel does.
    order_key text COLLATE "C" CHECK (octet_length(order_key) <= 255),
    -- What POST /v1/publish of the server API takes.
    publish jsonb NOT NULL CHECK (octet_length(publish::text) <= 1048576),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Since when a node may know the event; written by workers only.
    attempted_at timestamptz,
    -- Events of one key are in one lane, and one worker at a time has a lane.
    lane smallint NOT NULL GENERATED ALWAYS AS (
        get_byte(decode(md5(coalesce(nullif(order_key, ''), publish ->> 'channel', '')), 'hex'), 0)
        % 64
    ) STORED
);

CREATE INDEX IF NOT EXISTS outbox_by_lane ON @schema@.outbox (lane, id);

-- Who publishes a lane, and until when nobody else does.
CREATE TABLE IF NOT EXISTS @schema@.outbox_lane (
    lane smallint PRIMARY KEY,
    claim text NOT NULL DEFAULT '',
    taken_until timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

INSERT INTO @schema@.outbox_lane (lane) SELECT generate_series(0, 63) ON CONFLICT DO NOTHING;
