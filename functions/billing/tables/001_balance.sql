CREATE TABLE clients (
    username   varchar(50)   PRIMARY KEY,
    opening    numeric(12,2) NOT NULL DEFAULT 0 CHECK (opening >= 0),
    balance    numeric(12,2) NOT NULL DEFAULT 0 CONSTRAINT balance_not_negative CHECK (balance >= 0),
    created_at timestamptz   NOT NULL DEFAULT now()
);

-- What billing decided about an order's money. A refusal is kept too: an old event that comes back long after
-- must not find money that was not there when it was asked for.
CREATE TABLE charges (
    order_id    text          PRIMARY KEY,
    username    varchar(50)   NOT NULL,
    amount      numeric(12,2) NOT NULL CHECK (amount > 0),
    status      text          NOT NULL CHECK (status IN ('Ok', 'NotEnoughMoney', 'ClientNotFound')),
    decided_at  timestamptz   NOT NULL DEFAULT now(),
    refunded_at timestamptz,
    CONSTRAINT only_taken_money_goes_back CHECK (refunded_at IS NULL OR status = 'Ok')
);

-- Every change of a balance. Of an order there is one of a kind at the most.
CREATE TABLE movements (
    id       bigint        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username varchar(50)   NOT NULL REFERENCES clients,
    kind     text          NOT NULL CHECK (kind IN ('add', 'withdraw', 'sale', 'refund')),
    amount   numeric(12,2) NOT NULL CHECK (amount > 0),
    order_id text          REFERENCES charges,
    moved_at timestamptz   NOT NULL DEFAULT now(),
    CONSTRAINT orders_have_sales_and_refunds CHECK ((order_id IS NOT NULL) = (kind IN ('sale', 'refund'))),
    CONSTRAINT one_movement_per_order_and_kind UNIQUE (order_id, kind)
);

CREATE INDEX movements_username ON movements (username);
