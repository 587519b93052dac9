"""Documents into adapters: learned, kept in a library, and what is recalled of them measured."""
