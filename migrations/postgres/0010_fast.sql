-- Whether fast accepts are in use: processes look into the logs of Redis only then.
-- Safe for the code that runs, which knows nothing of the table and accepts nothing fast.

CREATE TABLE fast_accepts (
    only_row integer NOT NULL PRIMARY KEY CHECK (only_row = 1),
    since    bigint  NOT NULL -- when the first was asked for
);
