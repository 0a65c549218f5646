"""Codecs without sockets: Kubernetes protobuf bodies and SPDY/3.1 frames."""
