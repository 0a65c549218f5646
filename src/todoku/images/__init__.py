"""The room `images`; see README.md beside this file."""
