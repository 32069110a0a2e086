-- Events that no retry could get handled: what, where, why, how often; kept until somebody replays them.
CREATE TABLE dead_letters (
    number      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    function    text        NOT NULL,
    source      text        NOT NULL,
    id          text        NOT NULL,
    type        text        NOT NULL,
    subject     text,
    event       text        NOT NULL,
    reason      text        NOT NULL,
    attempts    integer     NOT NULL,
    times       integer     NOT NULL DEFAULT 1,
    first_at    timestamptz NOT NULL DEFAULT now(),
    last_at     timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    UNIQUE (function, source, id)
);
