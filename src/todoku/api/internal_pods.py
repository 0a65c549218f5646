"""How the internal types of pods print: what `internals` needs of a PodTemplateSpec and all below it.

Source: pkg/apis/core/types.go (names and order of fields).  Volume sources that nothing mounts any more, and those of
old cloud disks, print as they are on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from todoku.api.meta import Object

Fields: TypeAlias = tuple[tuple[str, str, str], ...]

# What an internal PodSecurityContext holds and a PodSpec has on the wire.
HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")


def _fields(text: str) -> Fields:
    """`Name:kind`, or `Name=wire:kind` where the wire name is more than the Go name with a small first letter."""
    found = []
    for word in text.split():
        name, _, kind = word.rpartition(":")
        name, _, wire = name.partition("=")
        found.append((name, wire or name[0].lower() + name[1:], _KINDS.get(kind, kind)))
    return tuple(found)


_KINDS = {"s": '""', "i": "0", "b": "false", "n": "null"}

STRUCTS: Mapping[str, Fields] = {
    name: _fields(text)
    for name, text in {
        "PodSpec": """
            Volumes:[]Volume InitContainers:[]Container Containers:[]Container EphemeralContainers:n RestartPolicy:s
            TerminationGracePeriodSeconds:n ActiveDeadlineSeconds:n DNSPolicy=dnsPolicy:s NodeSelector:n
            ServiceAccountName:s AutomountServiceAccountToken:n NodeName:s SecurityContext:*PodSecurityContext
            ImagePullSecrets:[]LocalObjectReference Hostname:s Subdomain:s SetHostnameAsFQDN:n Affinity:*Affinity
            SchedulerName:s Tolerations:[]DeviceToleration HostAliases:[]HostAlias PriorityClassName:s Priority:n
            PreemptionPolicy:n DNSConfig=dnsConfig:*PodDNSConfig ReadinessGates:[]PodReadinessGate RuntimeClassName:n
            Overhead:n EnableServiceLinks:n TopologySpreadConstraints:[]TopologySpreadConstraint OS=os:*PodOS
            SchedulingGates:[]PodSchedulingGate ResourceClaims:[]PodResourceClaim Resources:*ResourceRequirements
            HostnameOverride:n SchedulingGroup:n""",
        "PodSecurityContext": """
            HostNetwork:b HostPID:b HostIPC:b ShareProcessNamespace:n HostUsers:n
            SELinuxOptions=seLinuxOptions:*SELinuxOptions WindowsOptions:*WindowsSecurityContextOptions RunAsUser:n
            RunAsGroup:n RunAsNonRoot:n SupplementalGroups:n SupplementalGroupsPolicy:n FSGroup=fsGroup:n
            FSGroupChangePolicy=fsGroupChangePolicy:n Sysctls:[]Sysctl SeccompProfile:*SeccompProfile
            AppArmorProfile:*SeccompProfile SELinuxChangePolicy=seLinuxChangePolicy:n""",
        "Sysctl": "Name:s Value:s",
        "LocalObjectReference": "Name:s",
        "HostAlias": "IP=ip:s Hostnames:n",
        "PodDNSConfig": "Nameservers:n Searches:n Options:[]PodDNSConfigOption",
        "PodDNSConfigOption": "Name:s Value:n",
        "PodReadinessGate": "ConditionType:s",
        "PodSchedulingGate": "Name:s",
        "PodOS": "Name:s",
        "TopologySpreadConstraint": """
            MaxSkew:i TopologyKey:s WhenUnsatisfiable:s LabelSelector:n MinDomains:n NodeAffinityPolicy:n
            NodeTaintsPolicy:n MatchLabelKeys:n""",
        "Affinity": "NodeAffinity:*NodeAffinity PodAffinity:*PodAffinity PodAntiAffinity:*PodAffinity",
        "NodeAffinity": """
            RequiredDuringSchedulingIgnoredDuringExecution:*NodeSelector
            PreferredDuringSchedulingIgnoredDuringExecution:[]PreferredSchedulingTerm""",
        "PreferredSchedulingTerm": "Weight:i Preference:NodeSelectorTerm",
        "PodAffinity": """
            RequiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm
            PreferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm""",
        "WeightedPodAffinityTerm": "Weight:i PodAffinityTerm:PodAffinityTerm",
        "PodAffinityTerm": """
            LabelSelector:n Namespaces:n TopologyKey:s NamespaceSelector:n MatchLabelKeys:n MismatchLabelKeys:n""",
        "Container": """
            Name:s Image:s Command:n Args:n WorkingDir:s Ports:[]ContainerPort EnvFrom:[]EnvFromSource Env:[]EnvVar
            Resources:ResourceRequirements ResizePolicy:[]ContainerResizePolicy RestartPolicy:n
            RestartPolicyRules:[]ContainerRestartRule VolumeMounts:[]VolumeMount VolumeDevices:[]VolumeDevice
            LivenessProbe:*Probe ReadinessProbe:*Probe StartupProbe:*Probe Lifecycle:*Lifecycle
            TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:*SecurityContext
            Stdin:b StdinOnce:b TTY=tty:b""",
        "EnvFromSource": "Prefix:s ConfigMapRef:*EnvSource SecretRef:*EnvSource",
        "EnvSource": "Name:s Optional:n",
        "EnvVar": "Name:s Value:s ValueFrom:*EnvVarSource",
        "EnvVarSource": """
            FieldRef:*ObjectFieldSelector ResourceFieldRef:*ResourceFieldSelector ConfigMapKeyRef:*KeySelector
            SecretKeyRef:*KeySelector FileKeyRef:*FileKeySelector""",
        "ObjectFieldSelector": "APIVersion=apiVersion:s FieldPath:s",
        "ResourceFieldSelector": 'ContainerName:s Resource:s Divisor:"0"',
        "KeySelector": "Name:s Key:s Optional:n",
        "FileKeySelector": "VolumeName:s Path:s Key:s Optional:n",
        "ResourceRequirements": "Limits:n Requests:n Claims:[]ResourceClaim",
        "ResourceClaim": "Name:s Request:s",
        "ContainerResizePolicy": "ResourceName:s RestartPolicy:s",
        "ContainerRestartRule": "Action:s ExitCodes:*ContainerRestartRuleOnExitCodes",
        "ContainerRestartRuleOnExitCodes": "Operator:s Values:n",
        "VolumeMount": """
            Name:s ReadOnly:b RecursiveReadOnly:n MountPath:s SubPath:s MountPropagation:n SubPathExpr:s""",
        "VolumeDevice": "Name:s DevicePath:s",
        "Probe": """
            Exec:*ExecAction HTTPGet=httpGet:*HTTPGetAction TCPSocket=tcpSocket:*TCPSocketAction GRPC=grpc:*GRPCAction
            InitialDelaySeconds:i TimeoutSeconds:i PeriodSeconds:i SuccessThreshold:i FailureThreshold:i
            TerminationGracePeriodSeconds:n""",
        "ExecAction": "Command:n",
        "HTTPGetAction": "Path:s Port:i Host:s Scheme:s HTTPHeaders=httpHeaders:[]HTTPHeader",
        "HTTPHeader": "Name:s Value:s",
        "TCPSocketAction": "Port:i Host:s",
        "GRPCAction": "Port:i Service:n",
        "Lifecycle": "PostStart:*LifecycleHandler PreStop:*LifecycleHandler StopSignal:n",
        "LifecycleHandler": """
            Exec:*ExecAction HTTPGet=httpGet:*HTTPGetAction TCPSocket=tcpSocket:*TCPSocketAction Sleep:*SleepAction""",
        "SleepAction": "Seconds:i",
        "Volume": """
            Name:s HostPath:*HostPathVolumeSource EmptyDir:*EmptyDirVolumeSource GCEPersistentDisk=gcePersistentDisk:n
            AWSElasticBlockStore=awsElasticBlockStore:n GitRepo:*GitRepoVolumeSource Secret:*SecretVolumeSource
            NFS=nfs:*NFSVolumeSource ISCSI=iscsi:n Glusterfs:n PersistentVolumeClaim:*PersistentVolumeClaimVolumeSource
            RBD=rbd:n Quobyte:n FlexVolume:n Cinder:n CephFS=cephfs:n Flocker:n DownwardAPI:*DownwardAPIVolumeSource
            FC=fc:n AzureFile:n ConfigMap:*ConfigMapVolumeSource VsphereVolume:n AzureDisk:n PhotonPersistentDisk:n
            Projected:*ProjectedVolumeSource PortworxVolume:n ScaleIO:n StorageOS=storageos:n CSI=csi:*CSIVolumeSource
            Ephemeral:*EphemeralVolumeSource Image:*ImageVolumeSource""",
        "HostPathVolumeSource": "Path:s Type:n",
        "EmptyDirVolumeSource": "Medium:s SizeLimit:n",
        "GitRepoVolumeSource": "Repository:s Revision:s Directory:s",
        "SecretVolumeSource": "SecretName:s Items:[]KeyToPath DefaultMode:n Optional:n",
        "ConfigMapVolumeSource": "Name:s Items:[]KeyToPath DefaultMode:n Optional:n",
        "KeyToPath": "Key:s Path:s Mode:n",
        "NFSVolumeSource": "Server:s Path:s ReadOnly:b",
        "PersistentVolumeClaimVolumeSource": "ClaimName:s ReadOnly:b",
        "DownwardAPIVolumeSource": "Items:[]DownwardAPIVolumeFile DefaultMode:n",
        "DownwardAPIVolumeFile": """
            Path:s FieldRef:*ObjectFieldSelector ResourceFieldRef:*ResourceFieldSelector Mode:n""",
        "ProjectedVolumeSource": "Sources:[]VolumeProjection DefaultMode:n",
        "VolumeProjection": """
            Secret:*KeysProjection DownwardAPI:*DownwardAPIProjection ConfigMap:*KeysProjection
            ServiceAccountToken:*ServiceAccountTokenProjection ClusterTrustBundle:n PodCertificate:n""",
        "KeysProjection": "Name:s Items:[]KeyToPath Optional:n",
        "DownwardAPIProjection": "Items:[]DownwardAPIVolumeFile",
        "ServiceAccountTokenProjection": "Audience:s ExpirationSeconds:i Path:s",
        "CSIVolumeSource": """
            Driver:s ReadOnly:n FSType=fsType:n VolumeAttributes:n NodePublishSecretRef:*LocalObjectReference""",
        "EphemeralVolumeSource": "VolumeClaimTemplate:n",
        "ImageVolumeSource": "Reference:s PullPolicy:s",
    }.items()
}  # fmt: skip

# metav1.ObjectMeta has JSON names everywhere, and what is empty is left out.
_METADATA = (
    "name", "generateName", "namespace", "labels", "annotations", "ownerReferences", "finalizers",
)  # fmt: skip


def internal_spec(spec: Object) -> Object:
    """A PodSpec whose securityContext holds what the internal type keeps there."""
    hosts = {field: spec[field] for field in HOST_FIELDS if field in spec}
    return {**spec, "securityContext": (spec.get("securityContext") or {}) | hosts}


def template_metadata(template: Object) -> Object:
    """What a template's metadata prints; it is embedded, so that its fields stand beside `Spec`."""
    metadata = template.get("metadata") or {}
    return {field: metadata[field] for field in _METADATA if metadata.get(field)}
