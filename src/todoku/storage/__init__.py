"""The room `storage`; see README.md beside this file."""
