"""The room `linux`; see README.md beside this file."""
