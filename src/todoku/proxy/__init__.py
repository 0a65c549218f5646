"""The room `proxy`; see README.md beside this file."""
