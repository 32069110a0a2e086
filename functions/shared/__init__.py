"""What every function stands on: settings, database, events, answers. No business word lives here."""
