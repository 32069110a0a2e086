-- The event is made from its order when it is sent: the row says which event of which order. Rows with a ready event
-- come from functions of the version before, as long as some of them run.
ALTER TABLE outbox
    ALTER COLUMN event DROP NOT NULL,
    ADD COLUMN type text,
    ADD COLUMN order_id text,
    ADD CONSTRAINT an_event_or_its_order CHECK (num_nonnulls(event, order_id) = 1);

COMMENT ON COLUMN orders.purged_at IS 'not used any more; read by functions of the version before';

-- An order's row is written again when its saga begins and when it ends: with room on its page its indexes stay.
ALTER TABLE orders SET (fillfactor = 60);
