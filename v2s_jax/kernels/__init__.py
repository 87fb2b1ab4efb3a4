"""Sampling engines other than the scan. Tests compare each of them with the scan."""
