"""A configuration for Prometheus: every process of the local system, metrics from the database, and the alerts."""

import yaml

from tools.local.environment import ROOT
from tools.local.plan import Plan

RULES = ROOT / "k8s" / "prometheus" / "rules.yaml"


def configuration(plan: Plan, interval: str = "15s") -> str:
    """For `prometheus --config.file`; a job for each process."""
    jobs = [
        {"job_name": name, "metrics_path": path, "static_configs": [{"targets": [target]}]} | _credentials(plan, path)
        for name, (target, path) in plan.scraped.items()
    ]
    times = {"scrape_interval": interval, "evaluation_interval": interval}
    return yaml.safe_dump({"global": times, "rule_files": [str(RULES)], "scrape_configs": jobs}, sort_keys=False)


def _credentials(plan: Plan, path: str) -> dict:
    """Metrics of the tables come from functions, which want the installation's token."""
    ours = path.endswith("/internal/metrics")
    file = str(plan.installation.secrets / "installation-token")
    return {"authorization": {"credentials_file": file}} if ours else {}
