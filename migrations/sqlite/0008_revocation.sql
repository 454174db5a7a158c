-- Users whose tokens were revoked. Tickets and connections remember when their token was issued.

CREATE TABLE revocations (
    user_id    TEXT    NOT NULL PRIMARY KEY,
    revoked_at INTEGER NOT NULL -- the latest one; kept for 400 days, longer than any token lives
) STRICT, WITHOUT ROWID;

CREATE INDEX revocations_revoked_at ON revocations (revoked_at);

-- In seconds since 1970, as tokens have it.
ALTER TABLE tickets ADD COLUMN token_issued_at INTEGER;
ALTER TABLE connections ADD COLUMN token_issued_at INTEGER;
