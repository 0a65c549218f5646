"""The room `network`; see README.md beside this file."""
