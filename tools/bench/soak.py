"""Hours of orders at a steady rate: does memory stay flat, and do tables grow by more than orders leave for ever?"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import linear_regression

from pg8000.native import Connection

from tools.bench import resources
from tools.bench.measure import Figures, Result, measure
from tools.bench.scenarios import Pace, Scenario
from tools.bench.session import Bench

SHARE = 70  # percent of the maximum
EVERY = 30  # seconds between two looks
LOG_IN_EVERY = 5  # seconds between two guests who log in again: each has to within a quarter of an hour

# Rows are the server's own count, which may be a moment old; counting them would be a load of its own.
TABLES = """
    SELECT schemaname || '.' || relname, n_live_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables
     ORDER BY 1
"""
ENDED = 'SELECT count(*) FROM "order".orders WHERE ended_at IS NOT NULL'


@dataclass(frozen=True)
class Sample:
    """A look at the system: seconds from the beginning, orders ended, MiB by process, rows and bytes by table."""

    seconds: float
    orders: int
    memory: dict[str, float]
    rows: dict[str, int]
    bytes: dict[str, int]


def soak(bench: Bench, rate: float, minutes: float, connect: Callable[[], Connection]) -> Result:
    """An open loop with a look every half a minute."""
    raise NotImplementedError
