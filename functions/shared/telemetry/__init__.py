"""Telemetry of every function and trigger: log lines, metrics, traces, health probes."""
