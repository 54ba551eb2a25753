"""A pull request with the label gets a preview, which is removed afterwards.

The preview starts with step 5 and runs in the background.
"""

from __future__ import annotations

import pytest

from lab import preview
from lab.background import BackgroundTask
from lab.forge import Forge
from lab.preview import Preview
from lab.progress import info


@pytest.mark.usefixtures("all_steps")
def test_a_pull_request_gets_a_preview(
    opened_preview: BackgroundTask[Preview], forge: Forge
) -> None:
    result = opened_preview.result()
    info(f"{result}")

    # Only the pull request with the label has a preview, with one replica of each service
    assert result.applications == {f"preview-{preview.NUMBER}"}
    assert set(result.replicas.values()) == {1}
    assert not result.scalers

    # It runs the branch, and the synthetic attack causes alerts
    assert result.change == f"pull request {preview.NUMBER}"
    assert result.alerts

    # The pull request shows its address
    address = f"https://pr-{preview.NUMBER}.auditflow.example.org"
    assert ("success", address) in result.statuses

    # No volume remains, and Argo CD sent no request that the forge does not have
    assert not result.volumes
    assert not forge.refused
