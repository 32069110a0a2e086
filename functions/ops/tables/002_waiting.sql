-- What waits for a person is counted every few seconds; what was replayed stays, and may be much more.
CREATE INDEX dead_letters_waiting ON dead_letters (function, first_at) WHERE replayed_at IS NULL;
