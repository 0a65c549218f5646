"""Todoku: a Kubernetes lab on one Linux machine that shows who can reach a Service, and how."""

__version__ = "0.1.0"
KUBERNETES_VERSION = "v1.36.0"
