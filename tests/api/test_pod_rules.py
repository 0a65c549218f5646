"""Every rule of a pod's spec, one table: what is sent, and every refusal in its order and wording (v1.36)."""

import pytest

from todoku.api import validation
from todoku.api.meta import copy
from todoku.api.resources import registry

PODS = registry().find("pods")
TEXTS = {
    "LABEL": validation.dns1123_label("_")[0],
    "SUBDOMAIN": validation.dns1123_subdomain("_")[0],
    "NAME_PART": validation.qualified_name_problems("_")[0],
    "VALUE": validation.label_value_problems("_")[0],
    "UNDERSCORED": validation.dns1123_subdomain_with_underscore("-")[0],
}


def problems(spec=None, container=None, meta=None):
    first = {"name": "a", "image": "b", **(container or {})}
    pod = {
        "metadata": {"name": "web", "namespace": "default", **(meta or {})},
        "spec": {"containers": [first], **(spec or {})},
    }
    pod = copy(pod)
    PODS.strategy.default(pod)
    PODS.strategy.prepare_create(pod)
    return [str(one) for one in PODS.strategy.validate(pod, None)]


# what it is about, what is sent, what is refused
REFUSED = [
    (
        "two sources",
        {"spec": {'volumes': [{'name': 'v', 'hostPath': {'path': '/a/../b', 'type': 'X'}, 'emptyDir': {}}]}},
        [
            'spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type',
        ],
    ),
    (
        "two sources 2",
        {"spec": {'volumes': [{'name': 'v', 'nfs': {'path': 'a'}, 'downwardAPI': {}, 'cephfs': {}}]}},
        [
            'spec.volumes[0].nfs.server: Required value',
            'spec.volumes[0].nfs.path: Invalid value: "a": must be an absolute path',
            'spec.volumes[0].cephFS: Forbidden: may not specify more than 1 volume type',
            'spec.volumes[0].downwarAPI: Forbidden: may not specify more than 1 volume type',
        ],
    ),
    (
        "gce",
        {"spec": {'volumes': [{'name': 'v', 'gcePersistentDisk': {'partition': 300}}]}},
        [
            'spec.volumes[0].persistentDisk.pdName: Required value',
            'spec.volumes[0].persistentDisk.partition: Invalid value: 300: must be between 1 and 255, inclusive',
        ],
    ),
    (
        "iscsi",
        {"spec": {'volumes': [{'name': 'v', 'iscsi': {'iqn': 'x', 'lun': 300, 'chapAuthSession': True, 'initiatorName': 'iqn.bad'}}]}},
        [
            'spec.volumes[0].iscsi.targetPortal: Required value',
            'spec.volumes[0].iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
            'spec.volumes[0].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive',
            'spec.volumes[0].iscsi.secretRef: Required value',
            'spec.volumes[0].iscsi.initiatorname: Invalid value: "iqn.bad": must be valid format',
        ],
    ),
    (
        "fc",
        {"spec": {'volumes': [{'name': 'v', 'fc': {'targetWWNs': ['a'], 'wwids': ['b']}}]}},
        [
            'spec.volumes[0].fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously',
            'spec.volumes[0].fc.lun: Required value: lun is required if targetWWNs is specified',
        ],
    ),
    (
        "quobyte",
        {"spec": {'volumes': [{'name': 'v', 'quobyte': {'registry': 'a'}}]}},
        [
            'spec.volumes[0].quobyte.registry: Invalid value: "a": must be a host:port pair or multiple pairs separated by commas',
            'spec.volumes[0].quobyte.volume: Required value',
        ],
    ),
    (
        "csi",
        {"spec": {'volumes': [{'name': 'v', 'csi': {'driver': '-', 'nodePublishSecretRef': {'name': 'A'}}}]}},
        [
            'spec.volumes[0].csi.driver: Invalid value: "-": {SUBDOMAIN}',
            'spec.volumes[0].csi.name: Invalid value: "A": {SUBDOMAIN}',
        ],
    ),
    (
        "azure",
        {"spec": {'volumes': [{'name': 'v', 'azureDisk': {'kind': 'Managed', 'diskURI': 'x'}}]}},
        [
            'spec.volumes[0].azureDisk.diskName: Required value',
            'spec.volumes[0].azureDisk.diskURI: Unsupported value: "x": supported values: "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"',
        ],
    ),
    (
        "secret items",
        {"spec": {'volumes': [{'name': 'v', 'secret': {'items': [{'path': '/a'}, {'key': 'k', 'path': '..a', 'mode': 512}], 'defaultMode': -1}}]}},
        [
            'spec.volumes[0].secret.secretName: Required value',
            'spec.volumes[0].secret.defaultMode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive',
            'spec.volumes[0].secret.items[0].key: Required value',
            'spec.volumes[0].secret.items[0].path: Invalid value: "/a": must be a relative path',
            'spec.volumes[0].secret.items[1].path: Invalid value: "..a": must not start with \'..\'',
            'spec.volumes[0].secret.items[1].mode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive',
        ],
    ),
    (
        "downward",
        {"spec": {'volumes': [{'name': 'v', 'downwardAPI': {'items': [{'path': '', 'fieldRef': {'fieldPath': 'spec.nodeName'}}, {'path': 'x'}, {'path': 'y', 'resourceFieldRef': {'resource': 'limits.cpu', 'divisor': '2'}}]}}]}},
        [
            'spec.volumes[0].downwardAPI.path: Required value',
            'spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"',
            'spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required',
            'spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value',
            'spec.volumes[0].downwardAPI.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m and 1 are supported with the cpu resource',
        ],
    ),
    (
        "projected",
        {"spec": {'volumes': [{'name': 'v', 'projected': {'sources': [{'secret': {'name': 's', 'items': [{'key': 'k', 'path': 'p'}]}, 'configMap': {'items': [{'key': 'k', 'path': 'p'}]}}, {'serviceAccountToken': {'expirationSeconds': 1}}]}}]}},
        [
            'spec.volumes[0].projected.sources[0].configMap.name: Required value',
            'spec.volumes[0].projected: Invalid value: "": conflicting duplicate paths',
            'spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source',
            'spec.volumes[0].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes',
            'spec.volumes[0].projected.path: Required value',
            'spec.volumes[0].projected.sources[1].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set',
        ],
    ),
    (
        "ephemeral",
        {"spec": {'volumes': [{'name': 'v', 'ephemeral': {'volumeClaimTemplate': {'metadata': {'name': 'x', 'labels': {'a b': 'c'}}, 'spec': {'accessModes': ['X']}}}}]}},
        [
            'spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.labels: Invalid value: "a b": {NAME_PART}',
            'spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set',
            'spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Unsupported value: "X": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"',
            'spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value',
        ],
    ),
    (
        "image vol",
        {"spec": {'volumes': [{'name': 'v', 'image': {}}]}},
        [
            'spec.volumes[0].image.reference: Required value',
        ],
    ),
    (
        "mounts",
        {"spec": {'volumes': [{'name': 'v'}, {'name': 'v'}, {'name': 'Bad'}]}, "container": {'volumeMounts': [{'name': 'v', 'mountPath': '/a', 'subPath': '/x', 'subPathExpr': '../y', 'mountPropagation': 'Bidirectional'}, {'name': 'Bad', 'mountPath': '/a'}], 'volumeDevices': [{'name': 'v', 'devicePath': '/a'}]}},
        [
            'spec.volumes[1].name: Duplicate value: "v"',
            'spec.volumes[2].name: Invalid value: "Bad": {LABEL}',
            'spec.containers[0].volumeMounts[0].name: Invalid value: "v": must not already exist in volumeDevices',
            'spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/a": must not already exist as a path in volumeDevices',
            'spec.containers[0].volumeMounts.subPath: Invalid value: "/x": must be a relative path',
            'spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "../y": subPathExpr and subPath are mutually exclusive',
            'spec.containers[0].volumeMounts.subPathExpr: Invalid value: "../y": must not contain \'..\'',
            'spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers',
            'spec.containers[0].volumeMounts[1].name: Not found: "Bad"',
            'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
            'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must not already exist as a path in volumeDevices',
            'spec.containers[0].volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode',
            'spec.containers[0].volumeDevices[0].name: Invalid value: "v": must not already exist in volumeMounts',
            'spec.containers[0].volumeDevices[0].devicePath: Invalid value: "/a": must not already exist as a path in volumeMounts',
        ],
    ),
    (
        "env",
        {"container": {'env': [{'name': 'A=B'}, {'name': '', 'value': 'x'}, {'name': 'c', 'value': 'x', 'valueFrom': {'secretKeyRef': {'key': '!'}}}, {'name': 'd', 'valueFrom': {'fieldRef': {'fieldPath': 'metadata.labels'}}}, {'name': 'e', 'valueFrom': {'fieldRef': {'fieldPath': "metadata.name['x']"}}}, {'name': 'f', 'valueFrom': {'resourceFieldRef': {'resource': 'limits.gpu'}}}, {'name': 'g', 'valueFrom': {'fileKeyRef': {'path': '../x', 'volumeName': 'no'}}}], 'envFrom': [{'prefix': '=', 'configMapRef': {'name': 'A'}}, {}]}},
        [
            'spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than \'=\'',
            'spec.containers[0].env[1].name: Required value',
            'spec.containers[0].env[2].valueFrom.secretKeyRef.name: Invalid value: "": {SUBDOMAIN}',
            'spec.containers[0].env[2].valueFrom.secretKeyRef.key: Invalid value: "!": a valid config key must consist of alphanumeric characters, \'-\', \'_\' or \'.\' (e.g. \'key.name\',  or \'KEY_NAME\',  or \'key-name\', regex used for validation is \'[-._a-zA-Z0-9]+\')',
            'spec.containers[0].env[2].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
            'spec.containers[0].env[3].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"',
            'spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.name[\'x\']": error converting fieldPath: field label does not support subscript: metadata.name[\'x\']',
            'spec.containers[0].env[5].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"',
            'spec.containers[0].env[6].valueFrom.fileKeyRef.key: Required value',
            'spec.containers[0].env[6].valueFrom.fileKeyRef.path: Invalid value: "../x": must not contain \'..\'',
            'spec.containers[0].envFrom[0].prefix: Invalid value: "=": a valid environment variable name must consist only of printable ASCII characters other than \'=\'',
            'spec.containers[0].envFrom[0].configMapRef.name: Invalid value: "A": {SUBDOMAIN}',
            'spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
            'spec.containers[0].env[6].valueFrom.fileKeyRef.volumeName: Not found: "no"',
        ],
    ),
    (
        "resources",
        {"container": {'resources': {'limits': {'foo': '1', 'cpu': '-1', 'nvidia.com/gpu': '1500m', 'hugepages-2Mi': '3Mi'}, 'requests': {'nvidia.com/gpu': '1', 'memory': 'x'}, 'claims': [{'name': 'c'}, {'name': 'c'}, {}]}}},
        [
            'spec.containers[0].resources.limits[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
            'spec.containers[0].resources.limits[foo]: Invalid value: "foo": must be a standard resource for containers',
            'spec.containers[0].resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            'spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value: 1500m: must be an integer',
            'spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi',
            'spec.containers[0].resources.requests: Invalid value: "1": must be equal to nvidia.com/gpu limit of 1500m',
            'spec.containers[0].resources.requests[memory]: Invalid value: "x": quantities must match the regular expression \'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$\'',
            'spec.containers[0].resources.requests[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
            'spec.containers[0].resources.requests[foo]: Invalid value: "foo": must be a standard resource for containers',
            'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            'spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi',
            'spec.containers[0].resources.claims[0]: Not found: "c": must be one of the names in pod.spec.resourceClaims which is empty',
            'spec.containers[0].resources.claims[1]: Duplicate value: "c"',
            'spec.containers[0].resources.claims[1]: Not found: "c": must be one of the names in pod.spec.resourceClaims which is empty',
            'spec.containers[0].resources.claims[2]: Required value',
        ],
    ),
    (
        "pod resources",
        {"spec": {'resources': {'limits': {'cpu': '1', 'storage': '1'}, 'requests': {'memory': '1Gi'}}}, "container": {'resources': {'requests': {'memory': '2Gi'}, 'limits': {'cpu': '2'}}}},
        [
            'spec.resources.limits[storage]: Unsupported value: "storage": supported values: "cpu", "memory"',
            'spec.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
            'spec.resources.requests[memory]: Invalid value: "1Gi": must be greater than or equal to aggregate container requests of 2Gi',
            'spec.resources.containers[0][cpu].limits: Invalid value: "2": must be less than or equal to pod limits of 1',
        ],
    ),
    (
        "claims",
        {"spec": {'resourceClaims': [{'name': 'A'}, {'name': 'x', 'resourceClaimName': 'r', 'resourceClaimTemplateName': 't'}]}},
        [
            'spec.resourceClaims[0].name: Invalid value: "A": {LABEL}',
            'spec.resourceClaims[0]: Invalid value: {"Name":"A","ResourceClaimName":null,"ResourceClaimTemplateName":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`',
            'spec.resourceClaims[1]: Invalid value: {"Name":"x","ResourceClaimName":"r","ResourceClaimTemplateName":"t"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified',
        ],
    ),
    (
        "security",
        {"spec": {'securityContext': {'fsGroup': -1, 'sysctls': [{'name': 'A'}, {'name': 'net.x'}, {'name': 'net.x'}], 'seccompProfile': {'type': 'X', 'localhostProfile': 'a'}, 'appArmorProfile': {'type': 'Localhost'}, 'seLinuxChangePolicy': 'MountOption', 'fsGroupChangePolicy': 'x'}, 'hostNetwork': True, 'hostPID': True, 'shareProcessNamespace': True}},
        [
            'spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive',
            'spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled',
            'spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$',
            'spec.securityContext.sysctls[1].name: Invalid value: "net.x": may not be specified when \'hostNetwork\' is true',
            'spec.securityContext.sysctls[2].name: Duplicate value: "net.x"',
            'spec.securityContext.sysctls[2].name: Invalid value: "net.x": may not be specified when \'hostNetwork\' is true',
            'spec.securityContext.fsGroupChangePolicy: Unsupported value: "x": supported values: "Always", "OnRootMismatch"',
            'spec.securityContext.seccompProfile.type: Unsupported value: "X": supported values: "Localhost", "RuntimeDefault", "Unconfined"',
            'spec.securityContext.seccompProfile.localhostProfile: Invalid value: {"Type":"X","LocalhostProfile":"a"}: can only be set when seccomp type is Localhost',
            'spec.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost',
            'spec.securityContext.seLinuxChangePolicy: Unsupported value: "MountOption": supported values: "Recursive"',
        ],
    ),
    (
        "csecurity",
        {"container": {'securityContext': {'privileged': True, 'allowPrivilegeEscalation': False, 'procMount': 'Unmasked', 'capabilities': {'add': ['CAP_SYS_ADMIN']}}}},
        [
            'spec.containers[0].securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
            'spec.containers[0].securityContext: Invalid value: {"Capabilities":{"Add":["CAP_SYS_ADMIN"],"Drop":null},"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":"Unmasked","SeccompProfile":null,"AppArmorProfile":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
            'spec.containers[0].securityContext: Invalid value: {"Capabilities":{"Add":["CAP_SYS_ADMIN"],"Drop":null},"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":"Unmasked","SeccompProfile":null,"AppArmorProfile":null}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN',
        ],
    ),
    (
        "windows",
        {"spec": {'os': {'name': 'windows'}, 'securityContext': {'fsGroup': 1, 'windowsOptions': {'runAsUserName': 'a\\b\\c', 'hostProcess': True}}}, "container": {'securityContext': {'privileged': True, 'windowsOptions': {'hostProcess': False}}}},
        [
            'spec.securityContext.windowsOptions.runAsUserName: Invalid value: "a\\\\b\\\\c": runAsUserName cannot contain more than one backslash',
            'spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess value must be identical if both are specified, was true',
            'spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod',
            'spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod',
        ],
    ),
    (
        "linux",
        {"spec": {'os': {'name': 'linux'}, 'securityContext': {'windowsOptions': {}}}},
        [
            'spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod',
        ],
    ),
    (
        "os",
        {"spec": {'os': {'name': 'x'}}},
        [
            'spec.os: Unsupported value: "x": supported values: "linux", "windows"',
        ],
    ),
    (
        "hostusers",
        {"spec": {'hostUsers': False, 'hostNetwork': True, 'hostIPC': True}},
        [
            'spec.hostNetwork: Forbidden: when `hostUsers` is false',
            'spec.HostIPC: Forbidden: when `hostUsers` is false',
        ],
    ),
    (
        "hostname",
        {"spec": {'hostnameOverride': 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'setHostnameAsFQDN': True}},
        [
            'spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true',
            'spec.hostnameOverride: Too long: may not be more than 64 bytes',
            'spec.hostnameOverride: Invalid value: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": {SUBDOMAIN}',
        ],
    ),
    (
        "restart rules",
        {"container": {'restartPolicyRules': [{'action': 'X'}, {'action': 'Restart', 'exitCodes': {'operator': 'Y'}}]}},
        [
            'spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used',
            'spec.containers[0].restartPolicyRules[0].action: Unsupported value: "X": supported values: "Restart", "RestartAllContainers"',
            'spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified',
            'spec.containers[0].restartPolicyRules[1].exitCodes.operator: Unsupported value: "Y": supported values: "In", "NotIn"',
        ],
    ),
    (
        "init",
        {"spec": {'initContainers': [{'name': 'a', 'image': 'x', 'livenessProbe': {'exec': {'command': ['a']}}, 'restartPolicy': 'X', 'resizePolicy': [{'resourceName': 'cpu', 'restartPolicy': 'RestartContainer'}]}]}},
        [
            'spec.initContainers[0].restartPolicy: Unsupported value: "X": supported values: "Always", "Never", "OnFailure"',
            'spec.initContainers[0].name: Duplicate value: "a"',
            'spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
            'spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: "RestartContainer": must not be set to \'RestartContainer\' for non-sidecar initContainers',
        ],
    ),
    (
        "probe",
        {"container": {'readinessProbe': {'terminationGracePeriodSeconds': 0, 'httpGet': {'port': 0, 'httpHeaders': [{'name': 'a b'}]}, 'exec': {}}, 'lifecycle': {'preStop': {'sleep': {'seconds': 31}}, 'postStart': {}}, 'livenessProbe': {'successThreshold': 2, 'grpc': {'port': 1}}}},
        [
            'spec.containers[0].lifecycle.postStart: Required value: must specify a handler type',
            'spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)',
            'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
            'spec.containers[0].readinessProbe.exec.command: Required value',
            'spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type',
            'spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0',
            'spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must not be set for readinessProbes',
        ],
    ),
    (
        "ports",
        {"container": {'ports': [{'containerPort': 1, 'name': 'a-very-long-port-name'}, {'containerPort': 1, 'hostPort': 2}, {'containerPort': 3, 'hostPort': 2, 'protocol': 'X'}, {'containerPort': 3, 'hostPort': 2}]}},
        [
            'spec.containers[0].ports[0].name: Invalid value: "a-very-long-port-name": must be no more than 15 characters',
            'spec.containers[0].ports[2].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
            'spec.containers[0].ports[3].hostPort: Duplicate value: "TCP//2"',
        ],
    ),
    (
        "affinity",
        {"spec": {'affinity': {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': [{'matchExpressions': [{'key': 'a', 'operator': 'In', 'values': ['a b']}], 'matchFields': [{'key': 'x', 'operator': 'In', 'values': []}]}]}}, 'podAffinity': {'requiredDuringSchedulingIgnoredDuringExecution': [{'namespaces': ['A'], 'matchLabelKeys': ['x']}]}}}},
        [
            'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values[0]: Invalid value: "a b": {VALUE}',
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key: Invalid value: "x": not a valid field selector key',
            'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespace: Invalid value: "A": {LABEL}',
            'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set',
            'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty',
            'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must be non-empty',
            'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": {NAME_PART}',
        ],
    ),
    (
        "spread",
        {"spec": {'topologySpreadConstraints': [{'maxSkew': 1, 'topologyKey': 'z', 'whenUnsatisfiable': 'ScheduleAnyway', 'minDomains': 0}, {'maxSkew': 1, 'topologyKey': 'z', 'whenUnsatisfiable': 'ScheduleAnyway', 'matchLabelKeys': ['a'], 'labelSelector': {'matchLabels': {'a': 'b'}}}]}, "meta": {'labels': {'a': 'b'}}},
        [
            'spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{z, ScheduleAnyway}"',
            'spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero',
            'spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway',
            'spec.topologySpreadConstraints[1].matchLabelKeys[0]: Invalid value: "a": exists in both matchLabelKeys and labelSelector',
        ],
    ),
    (
        "tolerations",
        {"spec": {'tolerations': [{'key': 'a', 'operator': 'Gt', 'value': '1'}, {'operator': 'Equal'}, {'key': 'a', 'operator': 'Exists', 'value': 'x', 'tolerationSeconds': 1}]}},
        [
            'spec.tolerations[0].operator: Unsupported value: "Gt": supported values: "Equal", "Exists", "Lt", "Gt"',
            'spec.tolerations[1].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"',
            'spec.tolerations[2].effect: Invalid value: "": effect must be \'NoExecute\' when `tolerationSeconds` is set',
            'spec.tolerations[2].operator: Invalid value: "x": value must be empty when `operator` is \'Exists\'',
        ],
    ),
    (
        "dns",
        {"spec": {'dnsConfig': {'nameservers': ['1.2.3.04', '::ffff:1.2.3.4', 'x', '1.1.1.1'], 'searches': ['A_'], 'options': [{}]}}},
        [
            'spec.dnsConfig.nameservers: Invalid value: ["1.2.3.04","::ffff:1.2.3.4","x","1.1.1.1"]: must not have more than 3 nameservers',
            'spec.dnsConfig.nameservers[0]: Invalid value: "1.2.3.04": must not have leading 0s',
            'spec.dnsConfig.nameservers[1]: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address',
            'spec.dnsConfig.nameservers[2]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
            'spec.dnsConfig.searches[0]: Invalid value: "A_": {UNDERSCORED}',
            'spec.dnsConfig.options[0]: Required value: must not be empty',
        ],
    ),
    (
        "alias",
        {"spec": {'hostAliases': [{'ip': '01.2.3.4', 'hostnames': ['A']}]}},
        [
            'spec.hostAliases[0].ip: Invalid value: "01.2.3.4": must not have leading 0s',
            'spec.hostAliases[0].hostnames[0]: Invalid value: "A": {SUBDOMAIN}',
        ],
    ),
    (
        "gates",
        {"spec": {'schedulingGates': [{'name': 'a b'}, {'name': 'x'}, {'name': 'x'}], 'nodeName': 'n', 'readinessGates': [{'conditionType': 'a b'}]}},
        [
            'spec.readinessGates[0].conditionType: Invalid value: "a b": {NAME_PART}',
            'spec.schedulingGates[0]: Invalid value: "a b": {NAME_PART}',
            'spec.schedulingGates[2]: Duplicate value: "x"',
            'spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared',
        ],
    ),
    (
        "misc",
        {"spec": {'preemptionPolicy': '', 'runtimeClassName': '', 'overhead': {'cpu': 'x'}, 'priorityClassName': 'A'}},
        [
            'spec.priorityClassName: Invalid value: "A": {SUBDOMAIN}',
            'spec.runtimeClassName: Invalid value: "": {SUBDOMAIN}',
            'spec.preemptionPolicy: Required value',
            'spec.overhead.limits[cpu]: Invalid value: "x": quantities must match the regular expression \'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$\'',
        ],
    ),
    (
        "annotations",
        {"meta": {'annotations': {'kubernetes.io/config.mirror': 'x', 'controller.kubernetes.io/pod-deletion-cost': 'x', 'container.apparmor.security.beta.kubernetes.io/zz': 'foo', 'seccomp.security.alpha.kubernetes.io/pod': 'bad'}}},
        [
            'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set',
            'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "x": must be a 32bit integer',
            'metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: "bad": must be a valid seccomp profile',
            'metadata.annotations[container.apparmor.security.beta.kubernetes.io/zz]: Invalid value: "zz": container not found',
            'metadata.annotations[container.apparmor.security.beta.kubernetes.io/zz]: Invalid value: "foo": invalid AppArmor profile name: "foo"',
        ],
    ),
    (
        "match",
        {"meta": {'annotations': {'container.apparmor.security.beta.kubernetes.io/a': 'unconfined'}}, "container": {'securityContext': {'appArmorProfile': {'type': 'RuntimeDefault'}}}},
        [
            'spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match',
        ],
    ),
    (
        "dns none",
        {"spec": {'dnsPolicy': 'None'}},
        [
            'spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None',
        ],
    ),
    (
        "image",
        {"container": {'image': ' b'}},
        [
            'spec.containers[0].image: Invalid value: " b": must not have leading or trailing whitespace',
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "refused"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_pod_is_refused_in_upstreams_words_and_order(sent, refused):
    assert problems(**sent) == [_long(text) for text in refused]


def _long(text):
    for name, meaning in TEXTS.items():
        text = text.replace("{" + name + "}", meaning)
    return text
