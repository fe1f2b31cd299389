"""The thin client of VergeOS: one way to ask, one tree of failures, rows turned into the core's shapes."""
