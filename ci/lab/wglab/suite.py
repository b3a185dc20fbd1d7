# SPDX-License-Identifier: GPL-2.0-only
"""The scenarios that a release must pass."""
