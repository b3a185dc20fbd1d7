# SPDX-License-Identifier: GPL-2.0-only
"""All stories: whoever imports this has them in SCENARIOS."""
from . import diagnosis, journeys, kills, naming, recordings, share, sites, ways  # noqa: F401
