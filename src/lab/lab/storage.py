"""Provides volumes of the class ``local-path``, which K3s has and plain Kubernetes lacks.

Run as a program: it polls for claims of scheduled pods twice a second, creates a folder for each,
and removes the folder after the claim was deleted.
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
    """Return the storage class of K3s."""
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
    """Provide and remove volumes until the process is stopped."""
    while True:
        try:
            provide(kube, folder)
            remove(kube, folder)
        except LabError as error:  # the API server may be starting or stopping
            sys.stderr.write(f"{error}\n")
        time.sleep(_INTERVAL)


def provide(kube: Kube, folder: Path) -> None:
    """Create a volume for each pending claim."""
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
        path.chmod(0o777)  # like the K3s provisioner, because the pod's user is unknown
        kube.create("/api/v1/persistentvolumes", _volume(name, claim, path, policies[of_class]))


def remove(kube: Kube, folder: Path) -> None:
    """Remove volumes of deleted claims, unless their class retains them."""
    for volume in kube.items("/api/v1/persistentvolumes"):
        deletes = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        if deletes and volume["status"].get("phase") == "Released":
            name = volume["metadata"]["name"]
            shutil.rmtree(folder / name, ignore_errors=True)
            kube.delete(f"/api/v1/persistentvolumes/{name}")


def _policies(kube: Kube) -> dict[str, str]:
    """Return the reclaim policy of each class of this provisioner."""
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
        # Without the annotation, Kubernetes itself tries to delete the volume, and fails.
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": _PROVISIONER},
        },
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
