"""Where functions answer, for every process that posts to them."""

from functions.shared.call import address
from functions.shared.settings import CallSettings

__all__ = ["CallSettings", "address"]
