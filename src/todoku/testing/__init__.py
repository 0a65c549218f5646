"""The room `testing`; see README.md beside this file."""
