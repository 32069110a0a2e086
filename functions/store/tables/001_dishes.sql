CREATE TABLE dishes (
    id            integer       PRIMARY KEY,
    name          text          NOT NULL,
    description   text          NOT NULL DEFAULT '',
    weight_grams  integer       NOT NULL CHECK (weight_grams > 0),
    price         numeric(12,2) NOT NULL CHECK (price > 0),
    opening_stock integer       NOT NULL CHECK (opening_stock >= 0),
    in_stock      integer       NOT NULL CONSTRAINT stock_not_negative CHECK (in_stock >= 0),
    CONSTRAINT stock_not_above_opening CHECK (in_stock <= opening_stock)
);

-- What the store decided about an order. A refusal is kept too: an old event that comes back long after must not
-- reserve food for an order that has ended without it.
CREATE TABLE reservations (
    order_id    text        PRIMARY KEY,
    status      text        NOT NULL CHECK (status IN ('Ok', 'NotAvailable', 'WrongPrice')),
    decided_at  timestamptz NOT NULL DEFAULT now(),
    canceled_at timestamptz,
    CONSTRAINT only_reserved_food_goes_back CHECK (canceled_at IS NULL OR status = 'Ok')
);

-- The dishes of a reservation; held unless the reservation was canceled.
CREATE TABLE bookings (
    order_id text          NOT NULL REFERENCES reservations,
    dish_id  integer       NOT NULL REFERENCES dishes,
    count    integer       NOT NULL CHECK (count > 0),
    price    numeric(12,2) NOT NULL,
    PRIMARY KEY (order_id, dish_id)
);

CREATE INDEX bookings_dish ON bookings (dish_id);
