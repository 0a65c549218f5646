"""The plugins in the order in which they are asked; one line per plugin."""

from __future__ import annotations

from todoku.scheduler.framework import Filter, Scorer
from todoku.scheduler.plugins.image_locality import ImageLocality
from todoku.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from todoku.scheduler.plugins.node_affinity import NodeAffinity
from todoku.scheduler.plugins.node_name import NodeName
from todoku.scheduler.plugins.node_ports import NodePorts
from todoku.scheduler.plugins.node_resources import BalancedAllocation, NodeResourcesFit
from todoku.scheduler.plugins.node_unschedulable import NodeUnschedulable
from todoku.scheduler.plugins.pod_topology_spread import PodTopologySpread
from todoku.scheduler.plugins.taint_toleration import TaintToleration
from todoku.scheduler.plugins.volume_binding import VolumeBinding

FILTERS: tuple[Filter, ...] = (
    NodeUnschedulable(),
    NodeName(),
    TaintToleration(),
    NodeAffinity(),
    NodePorts(),
    NodeResourcesFit(),
    VolumeBinding(),
    PodTopologySpread(),
    InterPodAffinity(),
)

SCORERS: tuple[Scorer, ...] = (
    TaintToleration(),
    NodeAffinity(),
    NodeResourcesFit(),
    PodTopologySpread(),
    InterPodAffinity(),
    BalancedAllocation(),
    ImageLocality(),
)
