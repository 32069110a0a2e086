"""The saga as a DBOS workflow."""
