-- What this owner's functions have handled, with what they answered: a repeated event gets the same answer.
CREATE TABLE inbox (
    function   text        NOT NULL,
    source     text        NOT NULL,
    id         text        NOT NULL,
    subject    text        NOT NULL,
    reply      text,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (function, source, id)
);

-- Old rows are deleted order by order.
CREATE INDEX inbox_subject ON inbox (subject);
