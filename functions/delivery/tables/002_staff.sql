INSERT INTO couriers (name) VALUES ('Борис'), ('Сергей'), ('Илья');
