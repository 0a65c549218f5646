"""Pods on this node: containers, volumes, probes, logs, exec.  See README.md beside this file."""

from todoku.kubelet.config import KUBERNETES, KubeletConfig, Timings
from todoku.kubelet.images import Credentials, ImageService
from todoku.kubelet.kubelet import Kubelet
from todoku.kubelet.network import HostPort, PodAddresses, PodNetwork, PodRef

__all__ = [
    "KUBERNETES",
    "Credentials",
    "HostPort",
    "ImageService",
    "Kubelet",
    "KubeletConfig",
    "PodAddresses",
    "PodNetwork",
    "PodRef",
    "Timings",
]
