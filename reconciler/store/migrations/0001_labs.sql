-- Pools and their machines, codes and claims, and the log of what changed.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('events', 0);

CREATE TABLE events (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    namespace TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX events_by_subject ON events (namespace, subject, id);

-- What was asked for, as JSON of the schema; what it may not show is sealed. `written` is how the user wrote it down,
-- without secrets, so that it can be read back as it was. `maker` is who makes it, as long as who asked for it has not
-- written down that it is there.
CREATE TABLE pools (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    secrets BYTEA,
    generation BIGINT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('active', 'draining')),
    failures BIGINT NOT NULL DEFAULT 0,
    retry_at BIGINT,
    cause TEXT,
    next_number BIGINT NOT NULL DEFAULT 1,
    written TEXT NOT NULL DEFAULT '{}',
    maker TEXT,
    PRIMARY KEY (namespace, name)
);

CREATE TABLE codes (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    written TEXT NOT NULL DEFAULT '{}',
    maker TEXT,
    PRIMARY KEY (namespace, name)
);

-- The values of a code: one, or a batch of one-time values. Found by keyed hash, sealed for printing.
CREATE TABLE code_values (
    hash BYTEA PRIMARY KEY,
    code TEXT NOT NULL REFERENCES codes (id) ON DELETE CASCADE ON UPDATE CASCADE,
    label TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    max_uses BIGINT,
    uses BIGINT NOT NULL DEFAULT 0,
    revoked_at BIGINT,
    CHECK (uses >= 0),
    CHECK (max_uses IS NULL OR uses <= max_uses),
    UNIQUE (code, label)
);

-- What only a claim may use: the user's own key, or what was made for it, sealed.
CREATE TABLE claims (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    code TEXT NOT NULL,
    value_hash BYTEA NOT NULL,
    user_name TEXT NOT NULL,
    idempotency_hash BYTEA NOT NULL,
    secret_hash BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('queued', 'bound', 'ready', 'paused', 'expired', 'released', 'failed')),
    wants TEXT NOT NULL,
    place BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    bound_at BIGINT,
    expires_at BIGINT,
    latest_at BIGINT,
    paused_at BIGINT,
    seen_at BIGINT,
    -- When it is over if nothing happens, of all that ends it.
    over_at BIGINT,
    wait_until BIGINT,
    ended_at BIGINT,
    reason TEXT,
    public_key TEXT,
    made BYTEA,
    worker TEXT,
    worker_until BIGINT,
    attempt BIGINT NOT NULL DEFAULT 0,
    tries BIGINT NOT NULL DEFAULT 0,
    not_before BIGINT,
    admitted_at BIGINT,
    guests TEXT NOT NULL DEFAULT 'run' CHECK (guests IN ('run', 'hold', 'held')),
    -- The network that it has to itself, as JSON, from before that is made until it is gone from its host.
    network TEXT,
    UNIQUE (value_hash, idempotency_hash)
);
CREATE INDEX claims_by_phase ON claims (phase, over_at);
CREATE INDEX claims_by_queue ON claims (phase, place);
CREATE INDEX claims_by_user ON claims (code, user_name);
-- Few have one, and it is looked for in each turn.
CREATE INDEX claims_by_network ON claims (place) WHERE network IS NOT NULL;

-- Machines of pools. One that is claimed says by which claim, for which of its wishes; no two may say the same. Its
-- identity is what a worker has to know to find it again or take it away.
CREATE TABLE members (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    pool TEXT NOT NULL,
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    host TEXT,
    state TEXT NOT NULL CHECK (state IN ('building', 'free', 'claimed', 'recycling', 'retiring', 'failed')),
    generation BIGINT NOT NULL,
    claim TEXT REFERENCES claims (id),
    slot BIGINT,
    since BIGINT NOT NULL,
    touched BIGINT NOT NULL DEFAULT 0,
    worker TEXT,
    worker_until BIGINT,
    attempt BIGINT NOT NULL DEFAULT 0,
    detail TEXT NOT NULL,
    identity TEXT,
    addresses TEXT,
    not_before BIGINT,
    trouble TEXT,
    CHECK ((claim IS NULL) = (slot IS NULL)),
    CHECK ((state = 'claimed') = (claim IS NOT NULL)),
    FOREIGN KEY (namespace, pool) REFERENCES pools (namespace, name),
    UNIQUE (namespace, pool, number),
    UNIQUE (namespace, name),
    UNIQUE (claim, slot)
);
-- The machine that a claim gets next is the first of its pool here.
CREATE INDEX members_by_turn ON members (namespace, pool, state, generation DESC, since, number);

-- What namespaces may have, as JSON, and what is held of it by what: all that it may become.
CREATE TABLE quotas (
    namespace TEXT PRIMARY KEY,
    quota TEXT NOT NULL
);
CREATE TABLE holds (
    namespace TEXT NOT NULL,
    subject TEXT NOT NULL,
    machines BIGINT NOT NULL,
    cpus BIGINT NOT NULL,
    memory_mib BIGINT NOT NULL,
    PRIMARY KEY (namespace, subject)
);

-- What each generation of a pool was made of, without secrets.
CREATE TABLE templates (
    pool TEXT NOT NULL REFERENCES pools (id) ON DELETE CASCADE ON UPDATE CASCADE,
    generation BIGINT NOT NULL,
    template TEXT NOT NULL,
    PRIMARY KEY (pool, generation)
);

-- What the operator wants of a host, and since when it has not answered.
CREATE TABLE hosts (
    name TEXT PRIMARY KEY,
    wish TEXT NOT NULL CHECK (wish IN ('open', 'cordoned', 'draining')),
    silent_since BIGINT,
    lost_since BIGINT,
    why TEXT
);

-- Who may ask the daemon for what. A token is found by its keyed hash; its text is kept nowhere.
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    hash BYTEA NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('redeem', 'viewer', 'operator', 'admin')),
    namespaces TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

-- What was asked for, how far it is, what became of it. The number is the order in which it was asked for.
CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('pool.put', 'pool.delete', 'code.put', 'code.delete', 'vm.put', 'vm.delete',
                                         'vm.capture', 'network.put', 'network.delete', 'image.delete')),
    subject TEXT NOT NULL,
    -- The identity of the object, where another of its name may take its place.
    object TEXT,
    actor TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    stage TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    error TEXT,
    -- The caller's own name of the request: the same one is the same operation.
    idempotency TEXT,
    -- A hash under the store's key of what was asked for by that name; none where the key has changed since.
    asked BYTEA,
    -- The process that does it, and until when it is believed to; none where any may follow it to its end.
    holder TEXT,
    held_until BIGINT,
    -- Who wants it ended.
    cancel_by TEXT,
    -- As engines write it: how far it came, what was made, what was met.
    reached TEXT,
    result TEXT,
    failure TEXT,
    CHECK ((state = 'running') = (ended_at IS NULL)),
    CHECK ((holder IS NULL) = (held_until IS NULL)),
    UNIQUE (namespace, actor, idempotency)
);
CREATE INDEX operations_by_state ON operations (state, number);
CREATE INDEX operations_by_subject ON operations (namespace, subject, number);

CREATE TABLE operation_lines (
    operation TEXT NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    line BIGINT NOT NULL,
    at BIGINT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (operation, line)
);
