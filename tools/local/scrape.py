"""A configuration for Prometheus: every process of the local system, metrics from the database, and the alerts."""

import yaml

from tools.local.environment import ROOT
from tools.local.plan import Plan

RULES = ROOT / "k8s" / "prometheus" / "rules.yaml"


def configuration(plan: Plan, interval: str = "15s") -> str:
    """For `prometheus --config.file`; a job for each process."""
    jobs = [
        {"job_name": name, "metrics_path": path, "static_configs": [{"targets": [address]}]}
        for name, (address, path) in plan.scraped.items()
    ]
    times = {"scrape_interval": interval, "evaluation_interval": interval}
    return yaml.safe_dump({"global": times, "rule_files": [str(RULES)], "scrape_configs": jobs}, sort_keys=False)
