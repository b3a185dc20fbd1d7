# SPDX-License-Identifier: GPL-2.0-only
"""What differs in netifd and its WireGuard handler from release to release. Seen in ci/openwrt/recorded/RELEASE/reload-detail.txt,
and why in OpenWrt's package/network/utils/wireguard-tools/files/wireguard.sh (24.10, 25.12) and wireguard.uc (main)."""
from dataclasses import dataclass

# What reload compares of an interface section (interface_change_config in netifd's interface.c): the options that the handler
# has declared. 25.12 declares `addresses` too, but as a text, and so a list is never seen to differ.
DECLARED = ("proto", "private_key", "listen_port", "mtu", "fwmark")


@dataclass(frozen=True)
class Release:
    """One of OpenWrt's."""

    name: str
    renews: bool  # the handler says that it can (get_proto_handlers, renew_available)
    reads_files: bool  # it reads the files whenever it is called; else it has what netifd knew at its last reload
    compares_all: bool  # reload compares all of an interface, and its peers
    valid: int  # seconds that an address stays whose prefix is gone; it is deprecated


RELEASES = {
    # proto_wireguard_init_config has no renew_handler.
    "24.10": Release("24.10", renews=False, reads_files=True, compares_all=False, valid=7200),
    "25.12": Release("25.12", renews=True, reads_files=True, compares_all=False, valid=7200),
    # wireguard.uc: `config` puts the peers into what netifd compares; proto_renew has proto.config of that time.
    "main": Release("main", renews=True, reads_files=False, compares_all=True, valid=7200),
}
