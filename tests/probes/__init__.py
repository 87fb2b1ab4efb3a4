"""Probes: small generated sets that tell which variant can use which cause of a sound."""
