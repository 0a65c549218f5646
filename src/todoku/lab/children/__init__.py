"""The mains of the supervisor's children; each only composes rooms."""
