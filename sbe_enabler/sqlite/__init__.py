"""SQLite with a queue for its write lock."""
