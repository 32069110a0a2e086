"""The contract as models: every event and every REST body and answer. The documents beside them are generated."""
