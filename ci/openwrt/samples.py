# SPDX-License-Identifier: GPL-2.0-only
"""Configurations that the tests share."""

KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
SECRET = "eAfM0TJHiyzCDCnqoUyk3TyzVd0BJRvQfMGSXVDwfWk="
SHARED = "8kkgPrWLzv4JHWjmZbCKDvsAqCpdlJx0wqWbdNbFlUk="

WGROAM = f"""
config wgroam 'globals'
	option log_level 'debug'

config tunnel 'wgr'

config peer 'home'
	option tunnel 'wgr'
	option public_key '{KEY}'
	list endpoint 'home.example.net:51820'
	list endpoint 'home.example.net:443'
"""

NETWORK = f"""
config interface 'loopback'
	option device 'lo'
	option proto 'static'

config interface 'wan'
	option proto 'pppoe'
	option username 'me'
	option password 'very secret'

config interface 'wgr'
	option proto 'wireguard'
	option private_key '{SECRET}'
	list addresses 'fd00:99::2/64'
	option listen_port '51820'
	option nohostroute '1'

config wireguard_wgr 'home'
	option description 'Käthe'\\''s "router"'
	option public_key '{KEY}'
	option preshared_key '{SHARED}'
	option endpoint_host 'home.example.net'
	option endpoint_port '51820'
	option persistent_keepalive '25'
	list allowed_ips '::/0'
"""

# What touches /canary when some shell takes it for more than a text.
BAITS = [
    "; touch /canary;",
    "'; touch /canary; '",
    '"; touch /canary; "',
    "$(touch /canary)",
    "`touch /canary`",
    "a\ntouch /canary\n",
    "'\\''; touch /canary #",
    "x' && touch /canary && echo 'y",
    "${IFS}touch${IFS}/canary",
    "| touch /canary",
    "> /canary",
    "\\",
    "*",
]


def quoted(value):
    """As a value in a UCI file."""
    return "'" + value.replace("'", "'\\''") + "'"
