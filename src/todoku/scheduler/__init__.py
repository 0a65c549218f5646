"""The room `scheduler`; see README.md beside this file."""
