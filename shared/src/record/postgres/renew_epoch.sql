-- Gives the database and all its inboxes another epoch, and returns it. One request of the simple protocol, so that it is
-- one transaction behind any pooler, and a failure leaves none open.
-- A large database takes longer than any call, and another transaction may have to end first.
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = 0;
-- A new inbox gets the epoch that its statement sees. Statements that have begun end before this one goes on, and the next
-- ones see what it commits; reads need not wait. A weaker lock would let a transaction lock the row of an inbox that it
-- could not change afterwards.
LOCK TABLE inboxes IN EXCLUSIVE MODE;
UPDATE epoch SET epoch = ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 17))::bit(64)::bigint;
UPDATE inboxes SET epoch = (SELECT epoch FROM epoch);
SELECT epoch FROM epoch
