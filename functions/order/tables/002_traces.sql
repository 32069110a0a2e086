-- The trace of the request that an event came from (W3C trace context), so that it goes on when the event is sent.
ALTER TABLE outbox ADD COLUMN traceparent text, ADD COLUMN tracestate text;
