-- What Interlink keeps in PostgreSQL. Unsigned 64-bit values are stored with the same bits:
-- epochs and offsets stay positive and sort, chains and hashes are only compared.
-- Times are microseconds since 1970, days are whole days since 1970 in UTC.

-- The events of every channel. One partition a day; what is older than the retention goes
-- by dropping a partition. Frames are stored as they came; the position in these columns is
-- the one that counts and is written into the frame when it is read.
CREATE TABLE history (
    kept_day integer NOT NULL,          -- day of accepted_us, moved into the days that are kept
    channel text COLLATE "C" NOT NULL,
    position_offset bigint NOT NULL,
    epoch bigint NOT NULL,
    chain bigint NOT NULL,
    previous_chain bigint NOT NULL,
    record uuid NOT NULL,
    class smallint NOT NULL,
    accepted_us bigint NOT NULL,
    stored_us bigint NOT NULL,
    frame bytea NOT NULL,
    PRIMARY KEY (channel, position_offset, epoch, kept_day)
) PARTITION BY RANGE (kept_day);

-- Which records were accepted, for eight days, and the newest position of each.
CREATE TABLE record_id (
    kept_day integer NOT NULL,
    record uuid NOT NULL,
    payload_hash bigint NOT NULL,
    class smallint NOT NULL,
    channel text COLLATE "C" NOT NULL,
    epoch bigint,                       -- these four are null until a position is known
    position_offset bigint,
    chain bigint,
    previous_chain bigint,
    PRIMARY KEY (record, kept_day)
) PARTITION BY RANGE (kept_day);

-- Events that came without a position; they move to history when it follows.
CREATE TABLE unplaced (
    record uuid PRIMARY KEY,
    class smallint NOT NULL,
    accepted_us bigint NOT NULL,
    stored_us bigint NOT NULL,
    frame bytea NOT NULL
);

-- The newest position of each channel.
CREATE TABLE channel_top (
    channel text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL,
    position_offset bigint NOT NULL,
    chain bigint NOT NULL,
    moved_us bigint NOT NULL
) WITH (fillfactor = 60);

-- How far a consumer group has come in a partition of a topic. Moved in the transaction that
-- stores the effect, and only from the offset that the consumer believes to be the next.
CREATE TABLE consumer_offset (
    group_name text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    part integer NOT NULL,
    next_offset bigint NOT NULL,
    through_us bigint NOT NULL,         -- everything in the topic up to this time was consumed
    PRIMARY KEY (group_name, topic, part)
) WITH (fillfactor = 50);

-- The same for a lane of a journal.
CREATE TABLE lane_offset (
    group_name text COLLATE "C" NOT NULL,
    shard integer NOT NULL,
    kind smallint NOT NULL,
    boot bigint NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (group_name, shard, kind)
);

-- The highest sequence that a group has consumed of each source; lower ones are repeats.
CREATE TABLE source_sequence (
    group_name text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    part integer NOT NULL,
    node text COLLATE "C" NOT NULL,
    boot bigint NOT NULL,
    shard integer NOT NULL,
    class smallint NOT NULL,
    highest bigint NOT NULL,
    moved_us bigint NOT NULL,
    PRIMARY KEY (group_name, topic, part, node, boot, shard, class)
) WITH (fillfactor = 50);

-- How far each device of a user has acknowledged a channel.
CREATE TABLE delivery_cursor (
    user_name text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    position_offset bigint NOT NULL,
    chain bigint NOT NULL,
    record uuid NOT NULL,
    moved_us bigint NOT NULL,
    PRIMARY KEY (user_name, channel, device)
) WITH (fillfactor = 60);

-- Until when an event has to be acknowledged by a device of the user.
CREATE TABLE deadline (
    record uuid PRIMARY KEY,
    user_name text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    epoch bigint,                       -- null until a position is known
    position_offset bigint,
    accepted_us bigint NOT NULL,
    due_us bigint NOT NULL
);
CREATE INDEX deadline_due ON deadline (due_us);

-- Events that nobody acknowledged in time.
CREATE TABLE escalation (
    record uuid PRIMARY KEY,
    user_name text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    epoch bigint,
    position_offset bigint,
    accepted_us bigint NOT NULL,
    due_us bigint NOT NULL,
    escalated_us bigint NOT NULL,
    frame bytea                         -- the event, when it was archived by then
);
CREATE INDEX escalation_time ON escalation (escalated_us);

-- Records that could not be processed, as they were in their topic.
CREATE TABLE dead_letter (
    group_name text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    part integer NOT NULL,
    topic_offset bigint NOT NULL,
    key bytea,
    header_names text[] NOT NULL,
    header_values bytea[] NOT NULL,
    value bytea,
    error text NOT NULL,
    attempts integer NOT NULL,
    failed_us bigint NOT NULL,
    PRIMARY KEY (group_name, topic, part, topic_offset)
);
