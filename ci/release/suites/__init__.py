# SPDX-License-Identifier: GPL-2.0-only
"""One file for each thing that a release is made with; `common` is what they share, `runner` counts."""
