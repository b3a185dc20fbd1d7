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

# Where no router calls another: nobody is there, everybody, or whoever asks.
NOBODYS = (
    *("0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
    *("[::]", "[0:0:0:0:0:0:0:0]", "[ff02::1]", "[FF0E::1:2]", "[::ffff:c000:201]", "[0:0:0:0:0:FFFF:0:1]"),
)
ONES_OWN = (
    *("127.0.0.1", "127.255.0.1", "169.254.7.7", "localhost", "LocalHost", "r2.localhost", "localhost.localdomain"),
    *("[::1]", "[0::0001]", "[fe80::1]", "[febf::1]", "0x7f000001", "0X7f.1"),
)
# As near to those as can be.
ANYBODYS = (
    *("1.0.0.1", "126.0.0.1", "128.0.0.1", "169.253.1.1", "223.255.255.1", "240.0.0.1", "255.255.255.254"),
    *("0.pool.example.net", "127.example.net", "230.example.net", "localhost.example.net", "mylocalhost", "x0.net"),
    *("[1::]", "[::2]", "[::1:0:0:1]", "[2001:db8::ffff:c000:201]", "[fec0::1]", "[fe00::1]", "[fd00::1]"),
)

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
