"""The room `web`; see README.md beside this file."""
