"""Every REST method and every saga step: one decorated function a file, one folder an owner."""
