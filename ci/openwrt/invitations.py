# SPDX-License-Identifier: GPL-2.0-only
"""Invitations, written by the book (docs/design/setup.md) and not by wgroam-setup; with whatever a test wants in them."""

import hashlib

from samples import KEY, SECRET, SHARED

FIELDS = {
    "tunnel": "home",
    "roamer": "r1",
    "endpoints": "home.example.net:51820,home.example.net:443",
    "public": KEY,
    "private": SECRET,
    "shared": SHARED,
    "prefix": "2001:db8:1200::/64",
    "link": "fd77:6772:6f61:6d2d::2,fd77:6772:6f61:6d2d::1",
    "mtu": "1420",
}
# The fields that are secrets.
SECRETS = (SECRET, SHARED)


def digits(count, text):
    """A check."""
    return hashlib.sha256(text.encode()).hexdigest()[:count]


def forge(**fields):
    """A line with right checks, of these fields."""
    line = "wgroam1%0.1.0"
    for number, value in enumerate({**FIELDS, **fields}.values(), 1):
        line += f"%{value}%" + digits(3, f"{number}:{value}")
    return f"{line}%" + digits(8, line)
