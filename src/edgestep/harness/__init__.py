"""Reference bundles, parity, latency, report."""
