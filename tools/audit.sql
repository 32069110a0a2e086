-- What must always hold, as questions: each one asks for the rows that contradict it, so no row is a good answer.
-- "settled" marks those that are only true when every order has ended and been told; the others are true at any time.
-- All are asked in one snapshot, in which the parts of an ended order are complete.

-- name: balance_differs_from_what_moved
-- opening + added - withdrawn - SALE + REFUND is the balance. An order under way counts by what billing has moved.
WITH lines AS (
    SELECT username, opening AS amount FROM billing.clients
    UNION ALL
    SELECT username, CASE kind WHEN 'add' THEN amount ELSE -amount END
      FROM billing.movements WHERE kind IN ('add', 'withdraw')
    UNION ALL
    SELECT p.username, CASE p.type WHEN 'SALE' THEN -p.amount ELSE p.amount END
      FROM pay.payments p JOIN "order".orders o USING (order_id) WHERE o.ended_at IS NOT NULL
    UNION ALL
    SELECT m.username, CASE m.kind WHEN 'sale' THEN -m.amount ELSE m.amount END
      FROM billing.movements m LEFT JOIN "order".orders o USING (order_id)
     WHERE m.kind IN ('sale', 'refund') AND o.ended_at IS NULL
)
SELECT c.username, c.balance, coalesce(sum(l.amount), 0) AS expected
  FROM billing.clients c LEFT JOIN lines l USING (username)
 GROUP BY c.username, c.balance
HAVING c.balance <> coalesce(sum(l.amount), 0);

-- name: balance_below_zero
-- A balance is never negative.
SELECT username, balance FROM billing.clients WHERE balance < 0;

-- name: refund_does_not_fit
-- Whatever is held for orders could go back now: the column of balances has digits enough for both.
WITH held AS (
    SELECT username, sum(amount) AS held FROM billing.charges
     WHERE status = 'Ok' AND refunded_at IS NULL GROUP BY username
)
SELECT username, c.balance, h.held
  FROM billing.clients c JOIN held h USING (username)
  JOIN information_schema.columns d
    ON (d.table_schema, d.table_name, d.column_name) = ('billing', 'clients', 'balance')
 WHERE c.balance + h.held >= power(CAST(10 AS numeric), d.numeric_precision - d.numeric_scale);

-- name: charge_differs_from_movements
-- An order whose money was taken has one sale movement; one whose money went back has one refund; others have none.
SELECT order_id, c.status, c.amount, c.refunded_at, s.amount AS sale, r.amount AS refund
  FROM billing.charges c
  FULL JOIN (SELECT order_id, username, sum(amount) AS amount, count(*) AS times
               FROM billing.movements WHERE kind = 'sale' GROUP BY order_id, username) s USING (order_id)
  FULL JOIN (SELECT order_id, username, sum(amount) AS amount, count(*) AS times
               FROM billing.movements WHERE kind = 'refund' GROUP BY order_id, username) r USING (order_id)
 WHERE c.status IS NULL
    OR (c.status = 'Ok') <> (s.order_id IS NOT NULL)
    OR (c.refunded_at IS NOT NULL) <> (r.order_id IS NOT NULL)
    OR (s.amount, s.username, s.times) <> (c.amount, c.username, 1)
    OR (r.amount, r.username, r.times) <> (c.amount, c.username, 1);

-- name: payment_differs_from_movement
-- Of an ended order pay and billing tell the same: SALE and sale, REFUND and refund, same client, same amount.
WITH paid AS (
    SELECT order_id, lower(type) AS kind, username, amount FROM pay.payments
), moved AS (
    SELECT order_id, kind, username, amount FROM billing.movements WHERE kind IN ('sale', 'refund')
)
SELECT order_id, kind, paid.username AS payer, paid.amount AS paid, moved.username AS client, moved.amount AS moved
  FROM paid FULL JOIN moved USING (order_id, kind) JOIN "order".orders o USING (order_id)
 WHERE o.ended_at IS NOT NULL
   AND (paid.username, paid.amount) IS DISTINCT FROM (moved.username, moved.amount);

-- name: refund_without_its_sale
-- A REFUND undoes a SALE of the same client, amount and currency.
SELECT r.order_id, r.username, r.amount, s.amount AS sale
  FROM pay.payments r LEFT JOIN pay.payments s ON s.order_id = r.order_id AND s.type = 'SALE'
 WHERE r.type = 'REFUND'
   AND (s.username, s.amount, s.currency) IS DISTINCT FROM (r.username, r.amount, r.currency);

-- name: stock_differs_from_bookings
-- In stock + held = what there was, and stock is never negative.
WITH held AS (
    SELECT b.dish_id, sum(b.count) AS count
      FROM store.bookings b JOIN store.reservations r USING (order_id)
     WHERE r.status = 'Ok' AND r.canceled_at IS NULL
     GROUP BY b.dish_id
)
SELECT d.id AS dish_id, d.in_stock, coalesce(h.count, 0) AS held, d.opening_stock
  FROM store.dishes d LEFT JOIN held h ON h.dish_id = d.id
 WHERE d.in_stock + coalesce(h.count, 0) <> d.opening_stock OR d.in_stock < 0;

-- name: courier_has_two_orders
-- A courier has at most one order per day and hour.
SELECT courier_id, delivery_date, delivery_hour, array_agg(order_id ORDER BY order_id) AS orders
  FROM delivery.bookings
 WHERE status = 'Ok' AND canceled_at IS NULL
 GROUP BY courier_id, delivery_date, delivery_hour
HAVING count(*) > 1;

-- name: canceled_order_holds_something
-- A canceled order holds no money, no food and no courier.
SELECT o.order_id,
       c.order_id IS NOT NULL AS charged, s.order_id IS NOT NULL AS sold,
       f.order_id IS NOT NULL AS food, d.order_id IS NOT NULL AS courier
  FROM "order".orders o
  LEFT JOIN billing.charges c ON c.order_id = o.order_id AND c.status = 'Ok' AND c.refunded_at IS NULL
  LEFT JOIN pay.payments s ON s.order_id = o.order_id AND s.type = 'SALE'
        AND NOT EXISTS (SELECT FROM pay.payments r WHERE r.order_id = o.order_id AND r.type = 'REFUND')
  LEFT JOIN store.reservations f ON f.order_id = o.order_id AND f.status = 'Ok' AND f.canceled_at IS NULL
  LEFT JOIN delivery.bookings d ON d.order_id = o.order_id AND d.status = 'Ok' AND d.canceled_at IS NULL
 WHERE o.status = 'Canceled'
   AND num_nonnulls(c.order_id, s.order_id, f.order_id, d.order_id) > 0;

-- name: completed_order_not_paid_once
-- A completed order has exactly one SALE, of its amount and its client, and no REFUND.
SELECT o.order_id, o.amount, count(p.order_id) FILTER (WHERE p.type = 'SALE') AS sales,
       count(p.order_id) FILTER (WHERE p.type = 'REFUND') AS refunds, sum(p.amount) AS paid
  FROM "order".orders o LEFT JOIN pay.payments p USING (order_id)
 WHERE o.status = 'Completed'
 GROUP BY o.order_id
HAVING (count(p.order_id), min(p.type), sum(p.amount), min(p.username))
       IS DISTINCT FROM (CAST(1 AS bigint), 'SALE', o.amount, o.username);

-- name: completed_order_without_its_food
-- A completed order holds every dish that was ordered, as often as it was ordered, and no other.
WITH wanted AS (
    SELECT o.order_id, CAST(dish ->> 'menuId' AS integer) AS dish_id, sum(CAST(dish ->> 'count' AS integer)) AS count
      FROM "order".orders o, jsonb_array_elements(CAST(o.request AS jsonb) -> 'dishs') AS dish
     WHERE o.status = 'Completed'
     GROUP BY 1, 2
), held AS (
    SELECT b.order_id, b.dish_id, sum(b.count) AS count
      FROM store.bookings b JOIN store.reservations r USING (order_id) JOIN "order".orders o USING (order_id)
     WHERE r.status = 'Ok' AND r.canceled_at IS NULL AND o.status = 'Completed'
     GROUP BY 1, 2
)
SELECT order_id, dish_id, wanted.count AS wanted, held.count AS held
  FROM wanted FULL JOIN held USING (order_id, dish_id)
 WHERE wanted.count IS DISTINCT FROM held.count;

-- name: order_paid_another_price
-- Where the store's prices bound an order, its client pays what its dishes cost, less the store's own discounts.
SELECT o.order_id, o.amount, sum((b.price - b.discount) * b.count) AS price
  FROM "order".orders o JOIN store.reservations r USING (order_id) JOIN store.bookings b USING (order_id)
 WHERE r.status = 'Ok' AND r.prices_bind
 GROUP BY o.order_id, o.amount
HAVING o.amount <> sum((b.price - b.discount) * b.count);

-- name: completed_order_without_its_courier
-- A completed order has a courier for the day and hour that were ordered.
SELECT o.order_id, b.courier_id, b.delivery_date, b.delivery_hour, b.status, b.canceled_at
  FROM "order".orders o LEFT JOIN delivery.bookings b USING (order_id)
 WHERE o.status = 'Completed'
   AND (b.status, b.canceled_at IS NULL, to_char(b.delivery_date, 'DD.MM.YYYY'), CAST(b.delivery_hour AS text))
       IS DISTINCT FROM
       ('Ok', true, CAST(o.request AS jsonb) ->> 'deliveryDate', CAST(o.request AS jsonb) ->> 'deliveryHour');

-- name: end_differs_from_its_statuses
-- An order is Completed when all three steps said Ok, and Canceled, with a reason, when one did not.
SELECT order_id, status, pay_status, store_status, delivery_status, reason
  FROM "order".orders
 WHERE ended_at IS NOT NULL
   AND (reason IS NULL OR num_nulls(pay_status, store_status, delivery_status) > 0
        OR (status = 'Completed') <> ((pay_status, store_status, delivery_status) = ('Ok', 'Ok', 'Ok')));

-- name: order_has_not_ended (settled)
-- Every order ends.
SELECT order_id, status, accepted_at, redrives, needs_attention_at FROM "order".orders WHERE ended_at IS NULL;

-- name: event_was_not_sent (settled)
-- What is still in the outbox has been sent: its order was created, its mail is there. It is crossed out soon after.
SELECT q.id, q.written_at, q.refusal
  FROM "order".outbox q
  LEFT JOIN "order".orders o USING (order_id)
  LEFT JOIN notification.emails m USING (order_id)
 WHERE CASE q.type WHEN 'homework.arch.order.newOrder' THEN o.created_at IS NULL
                   WHEN 'homework.arch.notification.email' THEN m.order_id IS NULL
                   ELSE true END;

-- name: event_was_refused
-- The broker takes every event of the outbox; a refused one stays there until somebody has looked.
SELECT id, written_at, refusal FROM "order".outbox WHERE refusal IS NOT NULL;

-- name: ended_order_without_mail (settled)
-- Every ended order is told to its client.
SELECT o.order_id, o.status, o.ended_at
  FROM "order".orders o
 WHERE o.ended_at IS NOT NULL AND NOT EXISTS (SELECT FROM notification.emails e WHERE e.order_id = o.order_id);

-- name: order_was_notified_twice
-- One order, one notification.
SELECT order_id, count(*) AS mails FROM notification.emails GROUP BY order_id HAVING count(*) > 1;

-- name: mail_differs_from_its_order
-- A mail goes to the order's client, when the order has ended, and says how.
SELECT e.order_id, e.message, o.reason, o.ended_at
  FROM notification.emails e JOIN "order".orders o USING (order_id)
 WHERE o.ended_at IS NULL
    OR (e.message, e.username, e.email) IS DISTINCT FROM (o.reason, o.username, o.email);

-- name: effect_without_an_order
-- Money, food, couriers and mails belong to orders. A single step that was injected by hand shows up here.
SELECT effect.what, effect.order_id
  FROM (SELECT 'charge' AS what, order_id FROM billing.charges WHERE status = 'Ok' AND refunded_at IS NULL
        UNION ALL SELECT 'payment', order_id FROM pay.payments
        UNION ALL SELECT 'food', order_id FROM store.reservations WHERE status = 'Ok' AND canceled_at IS NULL
        UNION ALL SELECT 'courier', order_id FROM delivery.bookings WHERE status = 'Ok' AND canceled_at IS NULL
        UNION ALL SELECT 'mail', order_id FROM notification.emails) AS effect
 WHERE NOT EXISTS (SELECT FROM "order".orders o WHERE o.order_id = effect.order_id);

-- name: user_without_a_balance
-- Whoever can log in as a client has a billing account. The other direction is no fault: an account is opened
-- before its user is confirmed, it outlives a deleted user, and the internal endpoint opens one without any user.
SELECT username FROM auth.accounts
 WHERE 'ROLE_USER' = ANY(authorities)
   AND NOT EXISTS (SELECT FROM billing.clients c WHERE c.username = accounts.username);
