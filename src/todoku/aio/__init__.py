"""The room `aio`; see README.md beside this file."""
