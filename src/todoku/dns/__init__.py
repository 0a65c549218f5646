"""The room `dns`; see README.md beside this file."""
