"""The ground floor: files that are whole or absent, bounded readers, SQLite tables, locks, cache
folders.
"""
