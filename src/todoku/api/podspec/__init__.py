"""What Pods and all pod templates share: defaults and validation of a PodSpec (k8s.io/kubernetes pkg/apis/core)."""

from todoku.api.podspec.defaults import default_pod_spec, default_template
from todoku.api.podspec.spec import TemplateRules, validate_pod_spec, validate_template

__all__ = [
    "TemplateRules",
    "default_pod_spec",
    "default_template",
    "validate_pod_spec",
    "validate_template",
]
