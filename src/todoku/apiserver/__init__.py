"""The room `apiserver`; see README.md beside this file."""
