"""Probes: small generated datasets that show which variant can use which cause of a sound."""
