"""Names for Services and pods.  See README.md beside this file.

Little is imported here: the pod's entry point pays for every module in memory.
"""

from todoku.api.meta import Object


def manifest(*, address: str = "10.96.0.10", domain: str = "cluster.local") -> list[Object]:
    """The objects that run the name server as a pod, to be applied in this order."""
    from importlib.resources import files

    import yaml

    import todoku

    text = files(__name__).joinpath("manifest.yaml").read_text(encoding="utf-8")
    for name, value in (("ADDRESS", address), ("DOMAIN", domain), ("VERSION", todoku.__version__)):
        text = text.replace(name, value)
    return list(yaml.safe_load_all(text))
