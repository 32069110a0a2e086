-- What the store takes off a portion; where its prices bind no other discount counts.
ALTER TABLE dishes ADD COLUMN discount numeric(12,2) NOT NULL DEFAULT 0,
    ADD CONSTRAINT discount_below_price CHECK (discount >= 0 AND discount < price);

-- The discount of a portion as it was booked, and whether the order had to match the store's prices.
ALTER TABLE bookings ADD COLUMN discount numeric(12,2) NOT NULL DEFAULT 0;
ALTER TABLE reservations ADD COLUMN prices_bind boolean NOT NULL DEFAULT false;
