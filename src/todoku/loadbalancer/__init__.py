"""The room `loadbalancer`; see README.md beside this file."""
