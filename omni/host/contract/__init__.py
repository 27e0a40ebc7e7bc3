"""The contract kit: what every plugin has to keep, as tests any plugin package can run."""
