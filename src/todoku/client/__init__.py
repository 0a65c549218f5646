"""The room `client`; see README.md beside this file."""
