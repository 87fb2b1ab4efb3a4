"""The doors: argv to config to one call."""
