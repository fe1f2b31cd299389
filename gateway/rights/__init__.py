"""Who has which right now: the policy file, and the keys and tokens that callers bring."""
