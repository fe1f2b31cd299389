"""Filling a simulated VergeOS by seed."""
