"""Volumes for claims of the class ``local-path``, which K3s brings and a bare Kubernetes lacks.

Run as a program beside the cluster: it asks twice a second for claims that a scheduled pod waits
for, gives each a folder, and removes the folder when the claim is gone.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from . import pki
from .errors import LabError
from .kube import Kube, Object

CLASS = "local-path"
_PROVISIONER = "rancher.io/local-path"
_SCHEDULED = "volume.kubernetes.io/selected-node"
_INTERVAL = 0.5


def storage_class() -> Object:
    """The class as K3s has it."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": _PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


def serve(kube: Kube, folder: Path) -> None:
    """Provide and remove volumes until the process is ended."""
    while True:
        try:
            provide(kube, folder)
            remove(kube, folder)
        except LabError as error:  # the API server may be on its way up or down
            sys.stderr.write(f"{error}\n")
        time.sleep(_INTERVAL)


def provide(kube: Kube, folder: Path) -> None:
    """Make a volume for each claim that waits for one."""
    volumes = {volume["metadata"]["name"] for volume in kube.items("/api/v1/persistentvolumes")}
    policies = _policies(kube)
    for claim in kube.items("/api/v1/persistentvolumeclaims"):
        name = f"pvc-{claim['metadata']['uid']}"
        of_class = claim["spec"].get("storageClassName")
        waits = (
            of_class in policies
            and not claim["spec"].get("volumeName")
            and _SCHEDULED in claim["metadata"].get("annotations", {})
        )
        if not waits or name in volumes:
            continue
        path = folder / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)  # as the real one does: the pod's user is not known here
        kube.create("/api/v1/persistentvolumes", _volume(name, claim, path, policies[of_class]))


def remove(kube: Kube, folder: Path) -> None:
    """Remove the volumes whose claims are gone, unless their class says to retain them."""
    for volume in kube.items("/api/v1/persistentvolumes"):
        deletes = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        if deletes and volume["status"].get("phase") == "Released":
            name = volume["metadata"]["name"]
            shutil.rmtree(folder / name, ignore_errors=True)
            kube.delete(f"/api/v1/persistentvolumes/{name}")


def _policies(kube: Kube) -> dict[str, str]:
    """What is done with a volume whose claim is gone, for each class that asks this provisioner."""
    return {
        found["metadata"]["name"]: found.get("reclaimPolicy", "Delete")
        for found in kube.items("/apis/storage.k8s.io/v1/storageclasses")
        if found["provisioner"] == _PROVISIONER
    }


def _volume(name: str, claim: Object, path: Path, policy: str) -> Object:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [pki.NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": claim["spec"]["resources"]["requests"],
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": claim["spec"]["storageClassName"],
            "persistentVolumeReclaimPolicy": policy,
            "hostPath": {"path": str(path), "type": "Directory"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                **{key: claim["metadata"][key] for key in ("namespace", "name", "uid")},
            },
        },
    }


if __name__ == "__main__":
    serve(Kube(Path(sys.argv[1])), Path(sys.argv[2]))
