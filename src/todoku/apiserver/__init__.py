"""The Kubernetes API over the revisioned store: see README.md beside this file."""
