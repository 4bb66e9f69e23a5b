-- A registry as the first release made it; never to be changed.
CREATE TABLE about (environment TEXT NOT NULL) STRICT;
CREATE TABLE merchants (
    merchant_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    client_id TEXT,
    client_secret_file TEXT,
    callback_key_file TEXT,
    retired INTEGER NOT NULL
) STRICT;
CREATE TABLE pairings (
    pairing INTEGER PRIMARY KEY AUTOINCREMENT,
    terminal_id TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    port TEXT NOT NULL,
    dialect TEXT NOT NULL,
    baud INTEGER NOT NULL,
    merchants TEXT NOT NULL,          -- a JSON array, the first one for tenders that name none
    profile TEXT,
    display TEXT,
    retired INTEGER NOT NULL,
    UNIQUE (terminal_id, serial_number)
) STRICT;
CREATE UNIQUE INDEX one_device_a_terminal_id ON pairings (terminal_id) WHERE retired = 0;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,                 -- ISO 8601, UTC
    who TEXT NOT NULL,
    uid INTEGER NOT NULL,
    action TEXT NOT NULL,             -- add, set, remove
    kind TEXT NOT NULL,               -- merchant, terminal
    subject TEXT NOT NULL,            -- a merchant id, or the number of a pairing
    was TEXT,                         -- JSON, null where it was not there
    became TEXT NOT NULL
) STRICT;
INSERT INTO about VALUES ('sandbox');
INSERT INTO merchants VALUES ('m-1', 'Shoes', NULL, NULL, NULL, 0);
INSERT INTO pairings VALUES (7, 'T1', 'S1', '/dev/ttyUSB0', 'classic', 9600, '["m-1"]', 'mono-128x64', NULL, 0);
PRAGMA user_version = 1;
