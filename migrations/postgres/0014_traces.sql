-- Sends and messages keep the span of the call that they came with, so that what the drain pushes later is found by its trace.
-- Safe for the code that runs: it leaves the columns null, which means that there is no trace. A column without a default
-- changes no row, but waits for the transactions that use its table.

ALTER TABLE sends ADD COLUMN traceparent text;    -- as the header of that name; null: without a trace
ALTER TABLE messages ADD COLUMN traceparent text; -- likewise
