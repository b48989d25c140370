-- The newest commit of each source. An observation that `follows` was compared with it, whatever its own text says:
-- so a commit that says nothing new of most environments is one row, not one an environment.
CREATE TABLE newest (
    source   TEXT PRIMARY KEY,
    revision TEXT NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE observation ADD COLUMN follows INTEGER NOT NULL DEFAULT 0;
