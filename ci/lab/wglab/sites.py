# SPDX-License-Identifier: GPL-2.0-only
"""The stories of two sites, each of which has a listen port and knows the other one's name. WireGuard alone survives a cut
of the line: the sessions of both ends do."""
import functools

from .internet import DOMAIN
from .journey import Journey
from .lab import UP_SECONDS, LabError
from .scenarios import scenario
from .topology import KEEPALIVE, NAT_ADDRESS, PORT, R2_ADDRESS
from .wgroam import network_config

SITE_A, SITE_B = f"a.{DOMAIN}", f"b.{DOMAIN}"  # R1 and R2
CABLE = "100.64.0.2"  # R1's address past the NAT
CUT = 40  # seconds: a ladder is over by then, and a session is not


class Sites(Journey):
    """R1 and R2 are configured alike, as the usual guides for two sites have it: package network only, with listen_port and
    endpoint_host at both ends."""

    def connect_sites(self, address):
        """The tunnel works; R1 is known by this address."""
        self.inet.start_dns()
        self.r1.use_dns()
        self.r2.resolv_conf = self.r1.resolv_conf
        self.inet.point_name(SITE_A, address)
        self.inet.point_name(SITE_B, R2_ADDRESS)
        self.topology.bring_tunnel_up(f"{address}:{PORT}")
        self.r2.device.set_keepalive(self.r2.peer, KEEPALIVE)
        self.lab.gate.release()  # up to 5 s may pass now
        if self.from_lan.silence(UP_SECONDS) is None:
            raise LabError(f"the tunnel does not come up: no answer from h6 within {UP_SECONDS} s")
        for name, other in (("r1", SITE_B), ("r2", SITE_A)):
            if name in self.wgroam_on:
                self.start_wgroam(name, network_config(getattr(self, name), other, listen_port=PORT))
                self.daemons[name].news()
        self.start_rival(f"{SITE_B}:{PORT}")
        self.ready()

    def survive_a_cut(self):
        """The line between the sites is cut and comes back: the silence after that, and the ports that are left."""
        self.inet.cut_line()
        self.endure()
        self.inet.mend_line()
        seconds = self.silence(self.from_lan, "R1's side")
        for router in (self.r1, self.r2):
            port = router.device.listen_port()
            self.details[f"port_{router.node}"] = port
            self.narrate(f"{router.node.upper()} listens on port {port}")
        return seconds


site_story = functools.partial(scenario, limit=240, reach=None, beside=2, stage=Sites, journey=True, lasts=CUT)


@site_story("site-to-site", wgroam_on=("r1", "r2"))
def site_to_site(stage):
    """Two sites know each other's names and ports; the line between them is cut for a while."""
    stage.r1.move_to_cable()
    stage.connect_sites(CABLE)
    return stage.survive_a_cut()


@site_story("cgnat", wgroam_on=("r2",))
def cgnat(stage):
    """As site-to-site, but R1 is behind a NAT that lets nobody in: its name means the NAT. wgroam runs on R2."""
    stage.connect_sites(NAT_ADDRESS)
    return stage.survive_a_cut()
