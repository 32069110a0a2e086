"""The saga as a Restate service."""
