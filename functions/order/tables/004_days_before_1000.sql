-- A day before the year 1000 was kept with fewer than four digits, and its order could not be read any more.
UPDATE orders
   SET request = regexp_replace(request, '("deliveryDate":"\d\d\.\d\d\.)\d{1,3}"',
                                '\1' || lpad(substring(request, '"deliveryDate":"\d\d\.\d\d\.(\d{1,3})"'), 4, '0') || '"')
 WHERE request ~ '"deliveryDate":"\d\d\.\d\d\.\d{1,3}"';
