"""The room `wire`; see README.md beside this file."""
