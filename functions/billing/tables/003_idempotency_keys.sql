-- What was answered to requests that came with an Idempotency-Key, so that the same one is answered alike and moves no
-- money again. The caller is a user's name, or empty for the internal endpoints. Purged when they are old.
CREATE TABLE idempotency_keys (
    caller    text        NOT NULL,
    key       text        NOT NULL,
    operation text        NOT NULL CHECK (operation IN ('add', 'withdraw')),
    request   text        NOT NULL,
    answer    text        NOT NULL,
    kept_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);

CREATE INDEX idempotency_keys_kept_at ON idempotency_keys (kept_at);
