-- Users whose tokens were revoked. Tickets and connections remember when their token was issued.
-- Safe for the code that runs: it leaves the new columns null, which means that the time is not known.

CREATE TABLE revocations (
    user_id    text   NOT NULL PRIMARY KEY,
    revoked_at bigint NOT NULL -- the latest one; kept for 400 days, longer than any token lives
);

CREATE INDEX revocations_revoked_at ON revocations (revoked_at);

-- In seconds since 1970, as tokens have it.
ALTER TABLE tickets ADD COLUMN token_issued_at bigint;
ALTER TABLE connections ADD COLUMN token_issued_at bigint;
