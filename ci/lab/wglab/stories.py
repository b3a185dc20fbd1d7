# SPDX-License-Identifier: GPL-2.0-only
"""All stories: whoever imports this has them in SCENARIOS."""
from . import diagnosis, journeys, kills, naming, share, sites, ways  # noqa: F401
