-- What is added stops at 9999999999.99; what is given back never does. A balance holds both: the column is as wide as
-- all the money that could ever be held for orders. Wider with the same scale is a change of the catalogue alone.
ALTER TABLE clients ALTER COLUMN balance TYPE numeric(38,2);
