"""The main job: checkpoint + targets -> artifacts, parity, latency, report, resumed where it was stopped."""
