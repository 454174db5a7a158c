-- Whether fast accepts are in use: processes look into the logs of Redis only then.

CREATE TABLE fast_accepts (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    since    INTEGER NOT NULL -- when the first was asked for
) STRICT;
