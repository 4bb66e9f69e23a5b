-- Schema 1. `events` is the truth, append-only and chained by hash; the other tables are what replaying it gives,
-- kept so that nothing has to be replayed at a start.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE events (
    seq     INTEGER PRIMARY KEY,
    at      TEXT NOT NULL,
    pairing INTEGER,
    counter INTEGER,
    name    TEXT NOT NULL,
    data    TEXT NOT NULL,
    hash    BLOB NOT NULL
);
CREATE INDEX events_of_tender ON events (pairing, counter);

CREATE TABLE tenders (
    pairing           INTEGER NOT NULL,
    counter           INTEGER NOT NULL,
    terminal          TEXT NOT NULL,
    kind              TEXT NOT NULL,
    merchant          TEXT NOT NULL,
    amount_minor      INTEGER NOT NULL,
    state             TEXT NOT NULL,
    code              TEXT,
    stored            INTEGER NOT NULL,
    reversal          TEXT NOT NULL,
    reference         TEXT,
    order_id          TEXT,
    order_number      TEXT,
    gateway_reference TEXT NOT NULL,
    accepted_at       TEXT NOT NULL,
    original_counter  INTEGER,
    live              INTEGER NOT NULL,
    opened            INTEGER NOT NULL,
    form              TEXT NOT NULL,
    PRIMARY KEY (pairing, counter)
) WITHOUT ROWID;
CREATE INDEX tenders_live ON tenders (live) WHERE live = 1;
CREATE INDEX tenders_opened ON tenders (pairing, opened);
CREATE INDEX tenders_at ON tenders (accepted_at);
CREATE INDEX refunds_of ON tenders (pairing, original_counter) WHERE original_counter IS NOT NULL;

CREATE TABLE attempts (
    gateway_reference TEXT PRIMARY KEY,
    pairing           INTEGER NOT NULL,
    counter           INTEGER NOT NULL,
    number            INTEGER NOT NULL,
    order_id          TEXT,
    order_number      TEXT
) WITHOUT ROWID;
CREATE INDEX attempts_order ON attempts (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX attempts_number ON attempts (order_number) WHERE order_number IS NOT NULL;

CREATE TABLE attention (
    entry           INTEGER PRIMARY KEY,
    at              TEXT NOT NULL,
    pairing         INTEGER,
    counter         INTEGER,
    code            TEXT NOT NULL,
    text            TEXT NOT NULL,
    acknowledged_at TEXT,
    acknowledged_by TEXT
);
CREATE UNIQUE INDEX attention_once ON attention (ifnull(pairing, -1), ifnull(counter, -1), code, text)
    WHERE acknowledged_at IS NULL;
