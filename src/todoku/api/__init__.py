"""The room `api`; see README.md beside this file."""
