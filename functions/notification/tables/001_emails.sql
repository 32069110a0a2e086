-- A user's mails: one for each ended order.
CREATE TABLE emails (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id     text        NOT NULL CONSTRAINT one_mail_per_order UNIQUE,
    username     varchar(50) NOT NULL,
    email        text        NOT NULL,
    message      text        NOT NULL,
    status       text        NOT NULL DEFAULT 'DELIVERED',
    delivered_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX emails_username ON emails (username, id);
