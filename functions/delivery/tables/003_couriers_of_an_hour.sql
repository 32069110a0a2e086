-- Everybody asks for a day and an hour, and then for who is free: the key begins with what is asked for.
CREATE UNIQUE INDEX one_order_per_hour_and_courier
    ON bookings (delivery_date, delivery_hour, courier_id) WHERE canceled_at IS NULL;

DROP INDEX one_order_per_courier_and_hour;
