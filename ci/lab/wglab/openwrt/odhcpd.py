# SPDX-License-Identifier: GPL-2.0-only
"""odhcpd in miniature: package dhcp as router advertisements, sent by radvd. Hosts make their addresses themselves (SLAAC);
that OpenWrt would hand out addresses by DHCP as well is not played."""
import shutil
import signal

from ..lab import LabError

FLAGS = {"managed-config": "AdvManagedFlag", "other-config": "AdvOtherConfigFlag"}
LIFETIME = 1800  # seconds: odhcpd's ra_lifetime
# What is about IPv4 and DHCPv6, or odhcpd's own affair.
NOT_PLAYED = ("interface", "start", "limit", "leasetime", "dhcpv4", "ignore")
OTHERS = ("dnsmasq", "odhcpd")
MODES = ("server", "disabled")


class Odhcpd:
    """One router's."""

    def __init__(self, router, root):
        self.router = router
        self.root = root
        self.config = router.lab.folder / f"{router.node}.radvd"
        self.process = None
        self.sections = []

    def reload(self):
        """Reads the files; what they say counts from the next refresh() on."""
        self.sections = [section for section in self.root.sections("dhcp") if section.kind not in OTHERS]
        for section in self.sections:
            if section.kind != "dhcp":
                raise LabError(f"{section}: the lab has no meaning for such a section")
            section.known(*NOT_PLAYED, "ra", "ra_default", "ra_mtu", "ra_flags", "ra_slaac", "dhcpv6")
            section.one_of("dhcpv6", MODES, "disabled")

    def refresh(self, interfaces, default_route):
        """These are netifd's interfaces now. `default_route`: is there one for IPv6?"""
        text = ""
        for section in self.sections:
            serves = section.one_of("ra", MODES, "disabled") == "server" and not section.flag("ignore")
            interface = interfaces.get(section.get("interface"))
            if serves and interface is not None:
                text += advertisement(section, interface, default_route)
        self._run(text)

    def _run(self, text):
        if self.process is not None and self.config.read_text() == text:
            return
        self.config.write_text(text)
        if self.process is not None:
            # It says goodbye: hosts forget the router at once, as with odhcpd.
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
            self.process = None
        if text:
            if shutil.which("radvd") is None:
                raise LabError("radvd is missing; 'ci/need userspace-lab' installs it")
            folder = self.router.lab.folder
            with open(folder / f"{self.router.node}.radvd.log", "ab") as log:
                pid_file = folder / f"{self.router.node}.radvd.pid"
                words = ("radvd", "--nodaemon", "--logmethod=stderr", f"--config={self.config}", f"--pidfile={pid_file}")
                self.process = self.router.start(*words, stderr=log)


def advertisement(section, interface, default_route):
    """radvd's section for an interface."""
    mode = int(section.one_of("ra_default", ("0", "1", "2"), "0"))
    public = any(not is_ula(network) for network in interface.assigned)
    # As odhcpd decides: 1 does without a default route of its own, 2 without a prefix that is not local too.
    announced = (default_route or mode >= 1) and (public or mode >= 2)
    lines = [f"interface {interface.device} {{", "\tAdvSendAdvert on;", f"\tAdvDefaultLifetime {LIFETIME if announced else 0};"]
    if section.get("ra_mtu"):
        lines.append(f"\tAdvLinkMTU {section.get('ra_mtu')};")
    flags = section.words("ra_flags") or ["other-config"]
    for flag in flags:
        if flag not in (*FLAGS, "none"):
            raise LabError(f"{section}: the lab has no meaning for ra_flags '{flag}'")
    lines += [f"\t{word} {'on' if flag in flags else 'off'};" for flag, word in FLAGS.items()]
    autonomous = "on" if section.flag("ra_slaac", True) else "off"
    for network in interface.assigned:
        # Of more than a /64 the first one. What is announced no longer is deprecated first.
        options = f"AdvOnLink on; AdvAutonomous {autonomous}; DeprecatePrefix on;"
        lines.append(f"\tprefix {network.network_address}/64 {{ {options} }};")
    return "\n".join(lines) + "\n};\n"


def is_ula(network):
    """fc00::/7."""
    return network.network_address.packed[0] & 0xFE == 0xFC
