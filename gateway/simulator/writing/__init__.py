"""Creating, changing and deleting rows: the checks that hold for all tables, and the rules of single ones."""
