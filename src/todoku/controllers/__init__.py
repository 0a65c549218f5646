"""The room `controllers`; see README.md beside this file."""
