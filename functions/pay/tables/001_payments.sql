-- One payment of a type per order; a REFUND needs a SALE of the same amount to stand on.
CREATE TABLE payments (
    order_id   text          NOT NULL,
    type       text          NOT NULL CHECK (type IN ('SALE', 'REFUND')),
    username   varchar(50)   NOT NULL,
    amount     numeric(12,2) NOT NULL CHECK (amount > 0),
    currency   char(3)       NOT NULL DEFAULT '933',
    created_at timestamptz   NOT NULL DEFAULT now(),
    undoes     text          GENERATED ALWAYS AS (CASE type WHEN 'REFUND' THEN 'SALE' END) STORED,
    PRIMARY KEY (order_id, type),
    UNIQUE (order_id, type, amount),
    CONSTRAINT a_refund_undoes_a_sale FOREIGN KEY (order_id, undoes, amount) REFERENCES payments (order_id, type, amount)
);

CREATE INDEX payments_username ON payments (username);
