"""Redis: one module per kind of key. Multi-key changes are WATCH/MULTI, never Lua, so that every backend serves."""
