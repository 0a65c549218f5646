"""The room `kubelet`; see README.md beside this file."""
