"""OpenAPI documents made from resources: v3 for each group and version, v2 as a whole (JSON and protobuf)."""

from todoku.api.openapi.documents import v2_document, v3_document, v3_path
from todoku.api.openapi.gnostic import v2_protobuf

__all__ = ["v2_document", "v2_protobuf", "v3_document", "v3_path"]
