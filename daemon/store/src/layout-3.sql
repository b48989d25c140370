-- The newest commit of each source. An observation that `follows` was compared with it, whatever its own text says:
-- so a commit that says nothing new of most environments is one row, not one an environment.
CREATE TABLE newest (
    source   TEXT PRIMARY KEY,
    revision TEXT NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE observation ADD COLUMN follows INTEGER NOT NULL DEFAULT 0;

-- Up to which time of its schedule a cron has run, in seconds: what was due and done, or left out on purpose.
CREATE TABLE cron_due (
    source   TEXT NOT NULL,
    name     TEXT NOT NULL,
    resource TEXT NOT NULL,
    schedule TEXT NOT NULL,
    due      INTEGER NOT NULL,
    PRIMARY KEY (source, name, resource)
) STRICT, WITHOUT ROWID;
