"""The ground floor: files that are whole or absent, SQLite tables, locks, cache folders."""
