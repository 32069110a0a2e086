"""What is printed when the system is ready: where it listens, and three commands to try."""

from urllib.parse import urlsplit

from tools.local.installation import Installation
from tools.local.plan import Plan

API = "/ui-api-service/api/v1"
JSON = "-H 'Content-Type: application/json'"

TEXT = """
Ready after {seconds:.1f} s.

  public API         {gateway}
  broker ingress     {broker}
  functions          {functions}
  metrics            {metrics}
  PostgreSQL         {database}
  RabbitMQ           {amqp}
  password of admin  {secrets}/admin-password
  logs               {logs}   (make logs)

Try:

  curl -s {api}/auth/registration {json} \\
    -d '{{"username": "anna", "password": "anna-1", "firstName": "Anna", "lastName": "Ivanova",
         "email": "anna@example.org", "mobilePhone": "+375291234567"}}'

  TOKEN=$(curl -s {api}/auth/token {json} \\
    -d '{{"username": "anna", "password": "anna-1"}}' | sed 's/.*"access_token" *: *"\\([^"]*\\)".*/\\1/')

  curl -s {api}/external/user/balance/add {json} \\
    -H "Authorization: Bearer $TOKEN" -d '{{"username": "anna", "amount": 1000.00}}'

Ctrl-C (or make stop) stops it; the data stays in {directory}.
"""


def banner(installation: Installation, plan: Plan, seconds: float) -> str:
    """The text for the system that is ready."""
    ports = sorted(port for name, port in plan.ports.items() if name not in plan.triggers)
    return TEXT.format(
        seconds=seconds,
        gateway=installation.gateway,
        broker=installation.broker,
        functions=f"{len(plan.urls)} in {len(ports)} processes, ports {ports[0]} to {ports[-1]}",
        metrics=f"prometheus --config.file={installation.prometheus_file}",
        database=_address(plan.environment.database),
        amqp=_address(plan.environment.amqp),
        secrets=installation.secrets,
        logs=installation.logs,
        api=f"{installation.gateway}{API}",
        json=JSON,
        directory=installation.directory,
    )


def _address(url: str) -> str:
    """A server's address without the password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 'usual port'}"
