"""Schemathesis' hooks: requests that reach objects, and come to an end."""

import schemathesis

NAMES = ("one", "two", "three")


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Most names are such that other requests have made them; some stay as odd as they were drawn."""
    for name, value in (path_parameters or {}).items():
        odd = sum(map(ord, str(value)))
        if odd % 5:
            path_parameters[name] = "default" if name == "namespace" else NAMES[odd % len(NAMES)]
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    """No watches: they end when the server says so, which is tested elsewhere."""
    for name in ("watch", "timeoutSeconds"):
        (query or {}).pop(name, None)
    return query


@schemathesis.hook
def map_body(context, body):
    """Most bodies carry a name, or every create would be refused for the lack of it."""
    if isinstance(body, dict) and len(str(body)) % 4:
        metadata = body.get("metadata")
        if not isinstance(metadata, dict):
            metadata = body["metadata"] = {}
        metadata["name"] = NAMES[len(str(body)) % len(NAMES)]
        for key in ("namespace", "uid", "resourceVersion"):
            metadata.pop(key, None)
        for key in ("kind", "apiVersion"):
            body.pop(key, None)
    return body
