# SPDX-License-Identifier: GPL-2.0-only
"""The stories of names that lie, and of name servers that are behind the tunnel themselves."""
import functools

from .internet import DNS_ADDRESS, HOME
from .journey import AT_HOME, Journey
from .lab import UP_SECONDS, LabError
from .scenarios import PROBED, scenario
from .topology import ATTACKER_ADDRESS, KEEPALIVE, PORT, PREFIX, R2_ADDRESS, R2_NEW_ADDRESS
from .wgroam import roamer_config

HOME_LAN = "192.168.77.1"  # R2 in its own LAN, which the tunnel carries
R1_INSIDE = "10.99.0.2"  # R1's IPv4 address in the tunnel
PARKED = ATTACKER_ADDRESS  # somebody who answers, and not by WireGuard
TABLE = 51820  # wg-quick's, and its mark
OFF = 30  # seconds: a ladder has been through all that it has by then, and a session lives on
NEVER, SOON = 240, 20  # seconds, as in the journeys


class Named(Journey):
    """R1's interface has R2's address from the beginning, as netifd or wg-quick sets it; wgroam has the name."""

    def bring_up(self, *allowed_ips, routes=(), endpoint=f"{R2_ADDRESS}:{PORT}"):
        """Both interfaces, with IPv4 in the tunnel; it carries these addresses too."""
        inside = f"{R1_INSIDE}/32"
        self.r2.bring_up(
            peer=self.r1,
            listen_port=PORT,
            address="fd00:99::1/64",
            allowed_ips=", ".join(("fd00:99::2/128", inside, PREFIX)),
            routes=[inside, PREFIX],
        )
        self.r1.bring_up(
            peer=self.r2,
            listen_port=0,
            address="fd00:99::2/64",
            allowed_ips=", ".join((f"{PROBED}/128", "2000::/3", *allowed_ips)),
            routes=[f"::/0 from {PREFIX}"],
            endpoint=endpoint,
        )
        self.r1.ip(f"address add {inside} dev wgr", *(f"route add {route} dev wgr" for route in routes))
        self.r1.device.set_keepalive(self.r1.peer, KEEPALIVE)
        self.endpoints = (AT_HOME,)
        self.config = roamer_config(self.r1, self.endpoints)

    def begin_with_name(self):
        """The tunnel works by the address, and whoever runs on R1 begins with the name."""
        self.lab.gate.release()
        if self.from_lan.silence(UP_SECONDS) is None:
            raise LabError(f"the tunnel does not come up: no answer from h6 within {UP_SECONDS} s")
        if "r1" in self.wgroam_on:
            self.start_wgroam("r1", self.config)
            self.daemons["r1"].news()
        self.start_rival(AT_HOME)
        self.ready()

    def be_off(self):
        """R2 is off for a while and comes back at the same address: the silence after that."""
        self.r2.vanish()
        self.endure()
        self.r2.reappear()
        seconds = self.silence(self.from_lan, "R1's side")
        self.details["r1_has"] = self.r1.endpoint()
        self.narrate(f"R1 has R2 at {self.details['r1_has']}")
        return seconds

    def split(self, meaning):
        """R2's name means something else for R1."""
        self.inet.start_dns()
        self.r1.use_dns()
        self.r2.ip(f"address add {HOME_LAN}/32 dev lo")
        self.inet.point_name(HOME, meaning)
        self.bring_up(f"{HOME_LAN}/32", routes=[f"{HOME_LAN}/32"])
        self.begin_with_name()
        return self.be_off()

    def move_while_off(self):
        """R2 is off for a while and comes back at another address, and its name with it: the silence after that. By then only
        handshakes tell, and a copy of R1's goes to the new address: then it is WireGuard that moves R1's peer (`learned`)."""
        self.inet.start_dns()
        self.r1.use_dns()
        self.inet.point_name(HOME, R2_ADDRESS)
        self.bring_up()
        self.begin_with_name()
        self.r2.vanish()
        self.endure()
        self.r2.reappear_elsewhere()
        self.inet.point_name(HOME, R2_NEW_ADDRESS)
        seconds = self.silence(self.from_lan, "R1's side")
        if "r1" in self.daemons:
            reason = (self.daemons["r1"].peer() or {}).get("reason")
            self.check(reason in ("learned", "initiation"), f"R1 has R2 there by {reason}: wgroam moved it")
        return seconds

    def full_tunnel(self, **more):
        """All of R1's traffic goes into the tunnel, its questions to the name server included; R2 passes them on."""
        self.inet.start_dns()
        self.r1.use_dns()
        self.r2.run("nft", "-f", "-", stdin=MASQUERADE)
        self.inet.point_name(HOME, R2_ADDRESS)
        self.bring_up("0.0.0.0/0", **more)
        self.narrate(f"the way to the name server {DNS_ADDRESS} is the tunnel")

    def follow_home(self):
        """R2 moves and its name with it: the silence after that."""
        self.begin_with_name()
        self.r2.change_wan_address()
        self.inet.point_name(HOME, R2_NEW_ADDRESS)
        return self.silence(self.from_lan, "R1's side")


MASQUERADE = f"""
table ip home {{
	chain postrouting {{
		type nat hook postrouting priority srcnat
		oifname wan ip saddr {R1_INSIDE} masquerade
	}}
}}
"""

HALVES = ("0.0.0.0/1", "128.0.0.0/1")

name_story = functools.partial(scenario, wgroam_on=("r1",), limit=NEVER, stage=Named, journey=True)
# What the name means makes no difference to who does not ask for it.
lie = functools.partial(name_story, reach=None, beside=2, lasts=OFF)


@lie("split-horizon")
def split_horizon(stage):
    """R1 is told R2's address in R2's own LAN, which the tunnel carries; R2 is off for a while."""
    return stage.split(HOME_LAN)


@lie("split-horizon-dns", same_as="split-horizon")
def split_horizon_dns(stage):
    """As split-horizon, where R2 itself is the name server, asked through the tunnel."""
    stage.r2.ip(f"address add {HOME_LAN}/32 dev lo")
    stage.r2.answer_names(HOME_LAN, HOME, HOME_LAN)
    stage.r1.use_dns(HOME_LAN)
    stage.bring_up(f"{HOME_LAN}/32", routes=[f"{HOME_LAN}/32"])
    stage.begin_with_name()
    return stage.be_off()


@lie("split-horizon-parked", same_as="split-horizon")
def split_horizon_parked(stage):
    """As split-horizon, where the name means somebody else's server."""
    return stage.split(PARKED)


@lie("split-horizon-loopback", same_as="split-horizon")
def split_horizon_loopback(stage):
    """As split-horizon, where the name means 127.0.0.1."""
    return stage.split("127.0.0.1")


@lie("split-horizon-inside", same_as="split-horizon")
def split_horizon_inside(stage):
    """As split-horizon, where the name means R2's address in the tunnel."""
    return stage.split(PROBED)


@name_story("anchor-moves-off", reach=SOON, lasts=OFF)
def anchor_moves_off(stage):
    """R2 is off for a while, and comes back at another address, which its name means from then on."""
    return stage.move_while_off()


@name_story("dns-behind", reach=SOON)
def dns_behind(stage):
    """Full tunnel, and the name server is behind it; R2's address changes and its name with it."""
    stage.r1.route_endpoint("10.0.0.1")
    stage.full_tunnel(routes=HALVES)
    return stage.follow_home()


@name_story("dns-behind-quick", reach=SOON)
def dns_behind_quick(stage):
    """As dns-behind, where wg-quick made the way into the tunnel: mark, table and rules."""
    stage.full_tunnel()
    stage.r1.route_as_wg_quick(TABLE)
    return stage.follow_home()


@name_story("dns-behind-boot", reach=SOON)
def dns_behind_boot(stage):
    """Full tunnel, and the name server is behind it; R1 starts, and has no endpoint yet."""
    stage.full_tunnel(routes=HALVES, endpoint=None)
    stage.call_home()
    stage.start_rival(AT_HOME)
    return stage.silence(stage.from_lan, "R1's side")
