"""Checkpoint and contract -> captured torch graphs, their weights not in memory."""
