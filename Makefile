# Thin: each target names the real tool. `make help` is made from the ## comments.
VENV := $(or $(UV_PROJECT_ENVIRONMENT),.venv)
LOCAL := $(VENV)/bin/auditflow-local

# A variable given here (make up AUDITFLOW_PORT_API=8001) is one of the tool's environment.
.DEFAULT_GOAL := help
# Where this variable is set, each process of a test run compiles its modules again.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: fuzz help screenshots translations setup up down reset logs status test soak lint format schemas rules boards readmes bootstrap bench mutation images e2e e2e-upgrade infra-lint infra-test

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## install Python, uv and all packages (all other targets do it themselves)
	@sh src/local/setup.sh

up: setup ## start everything on this machine; Ctrl-C stops it (DETACH=1 TLS=1)
	@$(LOCAL) up $(if $(DETACH),--detach)

down: setup ## stop what `make up` started; the data stay
	@$(LOCAL) down

reset: setup ## delete all data (YES=1: without confirmation)
	@$(LOCAL) reset $(if $(YES),--yes)

logs: setup ## show logs (SERVICE=notification-service FOLLOW=1)
	@$(LOCAL) logs $(if $(FOLLOW),--follow) $(SERVICE)

status: setup ## show the state of each component
	@$(LOCAL) status

test: setup ## run all tests with real servers and a real browser (ARGS="-k dlq")
	@$(LOCAL) install --tests
	$(VENV)/bin/pytest --numprocesses $(or $(JOBS),4) --dist loadscope -m "$(or $(MARK),not soak)" $(ARGS)

soak: ## run the tests that take minutes, for example a backlog of 40,000 findings and faults that Prometheus must report
	@$(MAKE) test MARK=soak
	@$(MAKE) mutation

fuzz: setup ## fuzz the parsers of untrusted bytes for longer than `make soak` does (MINUTES=30)
	@$(LOCAL) install --tests
	FUZZ_SECONDS=$$(( $(or $(MINUTES),30) * 60 )) $(VENV)/bin/pytest --numprocesses auto -m soak src/tests/fuzz $(ARGS)

mutation: setup ## check that unit tests detect a sample of small changes of the core (ARGS="--seed TEXT --module NAME")
	$(VENV)/bin/python -m src.devtools.mutation $(ARGS)

lint: setup ## check style, types and security, as CI does
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/python -m src.tests.typecheck
	$(VENV)/bin/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml src monitoring

format: setup ## format the code
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

bootstrap: ## install Argo CD on the cluster of KUBECONFIG, and apply its root Application (CLUSTER=single)
	@kubectl apply --server-side --force-conflicts -k bootstrap/argocd || true # its own kinds are new
	kubectl wait --for=condition=Established --timeout=2m crd/applications.argoproj.io crd/appprojects.argoproj.io
	kubectl apply --server-side --force-conflicts -k bootstrap/argocd
	@# Argo CD compares again only two minutes after a comparison that failed because it was starting.
	kubectl -n argocd rollout status deployment/argocd-repo-server --timeout=5m
	kubectl apply --server-side --force-conflicts -k clusters/$(or $(CLUSTER),single)
	kubectl -n argocd rollout status deployment/argocd-server --timeout=5m

bench: setup ## measure speed, as ratios within one run (ARGS=--quick)
	@$(LOCAL) install
	$(VENV)/bin/python -m src.tests.bench $(ARGS)

images: setup ## build the four images on this machine (docker, podman or buildah)
	@$(VENV)/bin/gitops images $(SERVICE)

e2e: setup ## test the delivery path on a real cluster (KUBECONFIG=file KEEP=1 AGAIN=1 ALL=1 ARGS="-k bootstrap")
	E2E_KEEP=$(KEEP) E2E_AGAIN=$(AGAIN) E2E_ALL=$(ALL) $(VENV)/bin/pytest -c src/tests/e2e/pytest.ini src/tests/e2e $(ARGS)

e2e-upgrade: setup ## test that the upgrade from the last release is not visible to users (REF=v1.2.0 KEEP=1)
	E2E_KEEP=$(KEEP) E2E_AGAIN=$(AGAIN) UPGRADE_FROM=$(REF) $(VENV)/bin/pytest -c src/tests/e2e_upgrade/pytest.ini src/tests/e2e_upgrade $(ARGS)

infra-lint: setup ## check the Ansible and Terraform of the machines, as CI does
	cd infra/ansible && PATH="$(abspath $(VENV))/bin:$$PATH" ansible-lint
	.auditflow/tools/bin/uv tool run --from 'checkov==3.3.30' checkov --quiet --compact --directory infra --framework terraform ansible

infra-test: setup ## test the roles on two Debian machines on this host (root, systemd-nspawn, debootstrap)
	$(VENV)/bin/pytest -c src/tests/infra/converge/pytest.ini --rootdir . src/tests/infra/converge $(ARGS)

schemas: setup ## generate the published contracts from the code
	$(VENV)/bin/auditflow schemas write docs/contracts

rules: setup ## generate the rules of Prometheus from the SLOs and the alerts
	$(VENV)/bin/python monitoring/make_rules.py

boards: setup ## generate the dashboards of Grafana
	$(VENV)/bin/python -m monitoring.boards

readmes: setup ## write the module tables of the README files from docstrings
	$(VENV)/bin/python -m src.devtools.module_lists

translations: setup ## collect the texts of the dashboard, and add new ones to the catalogue of each language
	cd src/event-audit-dashboard && $(abspath $(VENV))/bin/pybabel extract -F pyproject.toml --sort-output --no-location --no-wrap -o /tmp/messages.pot .
	cd src/event-audit-dashboard && $(abspath $(VENV))/bin/pybabel update --no-wrap --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date -i /tmp/messages.pot -d event_audit_dashboard/translations

screenshots: setup ## make the screenshots of the docs from the demo that `make up` runs
	$(VENV)/bin/python -m src.devtools.screenshots
