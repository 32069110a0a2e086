"""What every function and trigger tells about itself: log lines, metrics, traces, probes."""
