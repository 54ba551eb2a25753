"""People sign in to Argo CD through Dex, and their groups decide what they may do."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import yaml

from lab import argocd, issuer, pages
from lab.argocd import Api
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.errors import LabError
from lab.issuer import Issuer
from lab.waiting import until

_PAGE = "clusters/operators/README.md"
_SETTINGS = Path("bootstrap/argocd/oidc/argocd-cm.yaml")
_ARGO_CD = Path("bootstrap/argocd/kustomization.yaml")
_CLIENT = "argo-cd"


@pytest.mark.usefixtures("all_steps")
def test_groups_of_dex_decide_the_rights_in_argo_cd(delivery: Delivery, prod: Environment) -> None:
    cluster, name = delivery.cluster, prod.services["event-audit-dashboard"]
    address = cluster.host if cluster.created_here else "0.0.0.0"
    with issuer.serving(address, cluster.host) as dex:
        # Given the client secrets of the page, and Argo CD with the component "oidc"
        create_secrets, *_ = pages.commands(_PAGE, "## One sign-in with Dex")
        pages.run(cluster, create_secrets)
        _opt_in(delivery, dex)

        # When an operator of prod has signed in, then the operator may sync and not delete
        with argocd.api(cluster) as api:
            until(
                lambda: _accepts(api, dex, name),
                "Argo CD accepts a token of the issuer",
                seconds=120,
                every=1,
            )
            api.use(dex.id_token("olga", ["auditflow-operators"], client=_CLIENT))
            api.sync(name)
            with pytest.raises(LabError, match="403"):
                api.delete(name)

            # A reader may only read
            api.use(dex.id_token("rita", ["auditflow-readers"], client=_CLIENT))
            assert api.history(name)
            with pytest.raises(LabError, match="403"):
                api.sync(name)

            # The platform team may change what is not an environment
            api.use(dex.id_token("paul", ["auditflow-platform"], client=_CLIENT))
            api.sync("storage")

            # A person without a group sees nothing
            api.use(dex.id_token("nora", ["other"], client=_CLIENT))
            with pytest.raises(LabError, match="403"):
                api.history(name)

            # And a token for another client is refused
            api.use(dex.id_token("paul", ["auditflow-platform"], client="grafana"))
            with pytest.raises(LabError, match="401"):
                api.history(name)


def _opt_in(delivery: Delivery, dex: Issuer) -> None:
    """Add the component to Argo CD, with the address of the issuer, and wait until it is synced."""
    work = delivery.repository.work
    settings = yaml.safe_load((work / _SETTINGS).read_text())
    config = yaml.safe_load(settings["data"]["oidc.config"])
    assert config["clientID"] == _CLIENT
    settings["data"]["oidc.config"] = yaml.safe_dump({**config, "issuer": dex.url})
    (work / _SETTINGS).write_text(yaml.safe_dump(settings, sort_keys=False))
    argo_cd = yaml.safe_load((work / _ARGO_CD).read_text())
    argo_cd["components"] = [*argo_cd.get("components", []), "oidc"]
    (work / _ARGO_CD).write_text(yaml.safe_dump(argo_cd, sort_keys=False))
    commit = delivery.deliver("argocd: sign in through Dex", "argocd")
    delivery.wait_for("argocd", commit)


def _accepts(api: Api, dex: Issuer, name: str) -> bool:
    """Whether Argo CD has loaded the settings. Its server restarts for them."""
    api.use(dex.id_token("olga", ["auditflow-operators"], client=_CLIENT))
    try:
        return bool(api.history(name))
    except (LabError, httpx.TransportError) as error:
        raise AssertionError(error) from None
