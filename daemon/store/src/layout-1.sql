CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE environment (
    source  TEXT NOT NULL,
    name    TEXT NOT NULL,
    uid     TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL,
    PRIMARY KEY (source, name)
) STRICT, WITHOUT ROWID;

-- `record` is the whole truth of a run; the columns beside it are for queries.
CREATE TABLE run (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    source    TEXT NOT NULL,
    name      TEXT NOT NULL,
    committed INTEGER NOT NULL DEFAULT 0,
    finished  INTEGER NOT NULL DEFAULT 0,
    record    TEXT NOT NULL
) STRICT;
CREATE INDEX run_by_environment ON run (source, name, id);
CREATE INDEX run_unfinished ON run (source, name) WHERE finished = 0;

CREATE TABLE run_plan (
    run  INTEGER PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
    plan TEXT NOT NULL
) STRICT;

CREATE TABLE journal (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    run   INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    at    TEXT NOT NULL,
    entry TEXT NOT NULL
) STRICT;
CREATE INDEX journal_by_run ON journal (run, id);

CREATE TABLE applied (
    source  TEXT NOT NULL,
    name    TEXT NOT NULL,
    applied TEXT NOT NULL,
    PRIMARY KEY (source, name)
) STRICT, WITHOUT ROWID;

-- Git blobs as they are in Git, and the texts of plain files.
CREATE TABLE blob (
    digest TEXT PRIMARY KEY,
    bytes  BLOB NOT NULL
) STRICT;

CREATE TABLE kept (
    run      INTEGER PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
    source   TEXT NOT NULL,
    name     TEXT NOT NULL,
    revision TEXT NOT NULL
) STRICT;
CREATE INDEX kept_by_environment ON kept (source, name, run);

CREATE TABLE kept_input (
    run    INTEGER NOT NULL REFERENCES kept (run) ON DELETE CASCADE,
    path   TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES blob (digest),
    PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_input_by_blob ON kept_input (digest);

CREATE TABLE kept_plain (
    run    INTEGER NOT NULL REFERENCES kept (run) ON DELETE CASCADE,
    digest TEXT NOT NULL REFERENCES blob (digest),
    PRIMARY KEY (run, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_plain_by_blob ON kept_plain (digest);

CREATE TABLE job_done (
    source TEXT NOT NULL,
    name   TEXT NOT NULL,
    inputs TEXT NOT NULL,
    PRIMARY KEY (source, name, inputs)
) STRICT, WITHOUT ROWID;

-- `held` is the digest of a desired state, or empty for a person's hold.
CREATE TABLE hold (
    source TEXT NOT NULL,
    name   TEXT NOT NULL,
    held   TEXT NOT NULL,
    hold   TEXT NOT NULL,
    PRIMARY KEY (source, name, held)
) STRICT, WITHOUT ROWID;

CREATE TABLE suspended (
    source    TEXT NOT NULL,
    name      TEXT NOT NULL,
    suspended TEXT NOT NULL,
    PRIMARY KEY (source, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE drift (
    source   TEXT NOT NULL,
    name     TEXT NOT NULL,
    resource TEXT NOT NULL,
    since    TEXT NOT NULL,
    PRIMARY KEY (source, name, resource)
) STRICT, WITHOUT ROWID;

CREATE TABLE observation (
    source      TEXT NOT NULL,
    name        TEXT NOT NULL,
    observation TEXT NOT NULL,
    PRIMARY KEY (source, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     TEXT NOT NULL,
    who    TEXT NOT NULL,
    source TEXT,
    name   TEXT,
    what   TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_environment ON audit (source, name, id);
