"""The page “Queue”: runs one after another, and sweeps."""
