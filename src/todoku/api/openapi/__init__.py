"""OpenAPI documents made from resources: v3 for each group and version, v2 as a whole (JSON and protobuf)."""
