"""Drawings of a report: the LAN with its machines, and the ways into a Service."""
