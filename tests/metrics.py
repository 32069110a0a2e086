"""What a process exports for Prometheus, read as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

from tests.system import Http


class Metrics:
    """All samples of one answer."""

    def __init__(self, text: str):
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def of(self, name: str, **labels: str) -> list[float]:
        """The numbers of a name whose labels are these, and maybe more."""
        return [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]

    def sum(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(self.of(name, **labels))


def metrics_of(process: Http, path: str = "/_/metrics") -> Metrics:
    """What a process exports now."""
    answer = process.get(path)
    assert answer.status == 200, answer.text
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["Content-Type"]
    return Metrics(answer.text)
