# `make` alone lists what there is. Everything runs in .venv, which is made when it is missing.
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: chaos fuzz overload help bootstrap run stop reset psql logs status test inject explain audit migrate dead-letters outbox generate lint bench \
	bench-peers bench-floor crash-points mutations \
	lock sbom images build-contexts render deploy kind rotate undeploy interop interop-api interop-cluster

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

bootstrap:
	@tools/bootstrap.sh

run: bootstrap ## start the whole system; Ctrl-C stops it (each=1: every function in its own process)
	@$(PYTHON) -m tools.local run $(if $(each),--each)

stop: bootstrap ## stop the system that runs
	@$(PYTHON) -m tools.local stop

reset: bootstrap ## stop, and delete databases, queues and passwords (asks first)
	@$(PYTHON) -m tools.local reset

psql: bootstrap ## look into the database (owner=billing: into one owner's schema)
	@$(PYTHON) -m tools.local psql $(owner)

logs: bootstrap ## follow all logs
	@$(PYTHON) -m tools.local logs

status: bootstrap ## what runs, and whether it answers
	@$(PYTHON) -m tools.local status

migrate: bootstrap ## bring a database up to the code (ADMIN_DATABASE_URL, SECRETS_DIR)
	@$(PYTHON) -m tools.migrate

test: bootstrap ## run the tests and show the coverage (args="-k refund": some of them)
	@$(PYTHON) -m coverage erase
	@$(PYTHON) -m coverage run -m pytest $(or $(args),--numprocesses 2 --dist loadfile --no-loadscope-reorder); tests=$$?; \
	$(PYTHON) -m coverage combine --quiet && $(PYTHON) -m coverage report; \
	$(if $(args),,$(PYTHON) -m tools.coverage_floor || exit 1;) exit $$tests

overload: bootstrap ## more than the system can do, less than it needs (parts="flood database memory alarm stall disk queue" share=0.1)
	@$(PYTHON) -m tests.platforms.programs chaos
	@$(PYTHON) -m tests.overload $(parts) $(call flag,share) $(args)

inject: bootstrap ## send one step its example (event=billing.withdraw user= order= amount= data= url= broker=1)
	@$(PYTHON) -m tools.inject $(call flag,event) $(call flag,user) $(call flag,order) \
		$(call flag,amount) $(call flag,data) $(call flag,url) $(if $(broker),--broker)

explain: bootstrap ## what comes in, what goes out, which tables (event=billing.withdraw)
	@$(PYTHON) -m tools.explain $(event)

audit: bootstrap ## check by SQL what must always hold
	@$(PYTHON) -m tools.audit

dead-letters: bootstrap ## list, show, replay events that failed (args="replay --all")
	@$(PYTHON) -m tools.dead_letters $(or $(args),list)

outbox: bootstrap ## list, show, send again what the broker has refused (args="resend --all")
	@$(PYTHON) -m tools.outbox $(or $(args),list)

generate: bootstrap ## write what is generated: schemas, manifests, stack-ce.yml, tables of the documents (check=1: only name what is stale)
	@$(PYTHON) -m tools.generate $(if $(check),--check)

images: bootstrap ## build the images (names="billing triggers" registry= version= push=1)
	@$(PYTHON) -m tools.image.build $(names) $(call flag,registry) $(call flag,version) $(if $(push),--push)

build-contexts: bootstrap ## prepare a build context for every function with faas-cli, without building
	@faas-cli build --shrinkwrap -f stack.yml

render: bootstrap ## print the manifests of an overlay (overlay=production registry= version= host= issuer= release= kustomization=1)
	@$(PYTHON) -m tools.render $(call flag,overlay) $(call flag,registry) $(call flag,version) $(call flag,host) \
		$(call flag,issuer) $(call flag,release) $(if $(kustomization),--kustomization)

deploy: bootstrap ## put an overlay of k8s/overlays on the cluster of kubectl (overlay=production registry= version= host= issuer= release=)
	@$(PYTHON) -m tools.deploy up $(call flag,overlay) $(call flag,registry) $(call flag,version) $(call flag,host) \
		$(call flag,issuer) $(call flag,release)

kind: bootstrap ## a cluster of kind with all that is needed, and `small` on it (with docker, kind and kubectl)
	@k8s/kind/kind.sh

rotate: bootstrap ## change a secret of the installation on the cluster (secret=database, jwt, oauth-client or token; step=begin, switch or finish)
	@$(PYTHON) -m tools.rotate $(secret) $(step)

undeploy: bootstrap ## take it away again, the data not (overlay=production host= everything=1)
	@$(PYTHON) -m tools.deploy down $(call flag,overlay) $(call flag,host) $(if $(everything),--everything)

interop: bootstrap ## run the platforms' own brokers and gateways with our functions (parts="broker metrics": some; builds them once)
	@$(PYTHON) -m tests.platforms.programs interop
	@failed=; for part in $(or $(parts),broker servers openfaas metrics images); do \
		$(PYTHON) -m pytest $(args) tests/platforms/$$part || failed="$$failed $$part"; done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

interop-api: bootstrap ## apply the manifests to a real Kubernetes API server with Knative's webhooks (builds them once: half an hour)
	@$(PYTHON) -m tests.platforms.programs interop-api
	@$(PYTHON) -m pytest $(args) tests/platforms/api

interop-cluster: bootstrap ## deploy where the platforms' controllers work, and order where our pods run (parts="cluster node"; root; builds once: an hour)
	@$(PYTHON) -m tests.platforms.programs interop-api interop-cluster
	@$(if $(filter node,$(or $(parts),node)),$(PYTHON) -m tests.platforms.node.images)
	@failed=; for part in $(or $(parts),cluster node); do \
		unshare --net --mount --pid --fork --kill-child --mount-proc $(PYTHON) -m pytest $(args) tests/platforms/$$part \
			|| failed="$$failed $$part"; done; \
		test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

bench: bootstrap ## measure the running system (soak=30: minutes; ended=1000000: orders; args="--only burst,closed --runs 3")
	@$(PYTHON) -m tools.bench $(call flag,soak) $(call flag,ended) $(args)

bench-peers: bootstrap ## the same orders on DBOS and Restate, in turns with the running system (args="--only restate,ours")
	@$(PYTHON) -m tests.peers $(args)

bench-floor: bootstrap ## the same statements and messages by one loop, without functions and HTTP (args="--orders 500")
	@$(PYTHON) -m tools.bench_floor $(args)

crash-points: bootstrap ## kill functions and the broker's processes at every point there is, each by itself (a quarter of an hour)
	@CRASH_POINTS=all $(PYTHON) -m pytest $(args) tests/shared/test_crash_chain.py tests/shared/test_crash_points.py tests/triggers/test_crash_points.py tests/triggers/test_broker.py

mutations: bootstrap ## break the code at one place after another: each mistake is noticed by its test (args="refund": some of them)
	@$(PYTHON) -m tests.mutations $(args)

fuzz: bootstrap ## send everything that could come in, and look what it costs and changes (inputs=100000 seed=7 args="--keep")
	@$(PYTHON) -m tests.fuzz $(call flag,inputs) $(call flag,seed) $(args)

chaos: bootstrap ## let everything fail while orders are under way, then judge (orders=2000 seed=7 args="--old REVISION --keep")
	@$(PYTHON) -m tests.platforms.programs chaos
	@$(PYTHON) -m tests.chaos $(call flag,orders) $(call flag,seed) $(args)

lock: bootstrap ## pin every dependency to versions and hashes, after a change of pyproject.toml (args=--upgrade)
	@tools/lock.sh $(args)

sbom: bootstrap ## write what an image holds of others to sbom.json (CycloneDX)
	@$(PYTHON) -m cyclonedx_py requirements tools/image/requirements.txt --pyproject pyproject.toml --output-reproducible \
		--mc-type application --output-format JSON --output-file $(or $(file),sbom.json)
	@echo "$(or $(file),sbom.json): what an image holds of others"

lint: bootstrap ## check the style
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check

flag = $(if $($(1)),--$(1) '$(subst ','\'',$($(1)))')
