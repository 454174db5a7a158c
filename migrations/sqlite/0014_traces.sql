-- Sends and messages keep the span of the call that they came with, so that what the drain pushes later is found by its trace.

ALTER TABLE sends ADD COLUMN traceparent TEXT;    -- as the header of that name; null: without a trace
ALTER TABLE messages ADD COLUMN traceparent TEXT; -- likewise
