"""Fused samplers: the tiers as one kernel, each held to the scan by an equality test."""
