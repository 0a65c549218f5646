"""The room `reach`; see README.md beside this file."""
