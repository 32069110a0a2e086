CREATE TABLE orders (
    order_id            text          PRIMARY KEY,
    msg_id              text          NOT NULL,
    username            varchar(50)   NOT NULL,
    email               text          NOT NULL,
    request             text          NOT NULL,
    amount              numeric(12,2) NOT NULL CHECK (amount > 0),
    status              text          NOT NULL CHECK (status IN ('Accepted', 'Created', 'Completed', 'Canceled')),
    pay_status          text,
    store_status        text,
    delivery_status     text,
    reason              text,
    accepted_at         timestamptz   NOT NULL DEFAULT now(),
    created_at          timestamptz,
    ended_at            timestamptz,
    notified_at         timestamptz,
    redrives            integer       NOT NULL DEFAULT 0,
    redrive_at          timestamptz   NOT NULL,
    needs_attention_at  timestamptz,
    purged_at           timestamptz,
    CONSTRAINT one_order_per_message UNIQUE (username, msg_id),
    CONSTRAINT ended_means_final CHECK ((ended_at IS NOT NULL) = (status IN ('Completed', 'Canceled'))),
    CONSTRAINT completed_means_three_ok CHECK (
        status <> 'Completed' OR (pay_status, store_status, delivery_status) = ('Ok', 'Ok', 'Ok'))
);

CREATE INDEX orders_username ON orders (username, accepted_at);
CREATE INDEX orders_unsettled ON orders (redrive_at) WHERE notified_at IS NULL;
CREATE INDEX orders_unpurged ON orders (ended_at) WHERE purged_at IS NULL;

-- Events that are to leave: written with the state that they tell of, deleted after the broker confirmed them.
CREATE TABLE outbox (
    id         text        PRIMARY KEY,
    event      text        NOT NULL,
    position   bigint      GENERATED ALWAYS AS IDENTITY,
    written_at timestamptz NOT NULL DEFAULT now(),
    refusal    text
);

CREATE INDEX outbox_waiting ON outbox (position) WHERE refusal IS NULL;
