# SPDX-License-Identifier: GPL-2.0-only
"""The story of two stock routers that wgroam-setup connects: what the two commands write is all that they are told."""
import ipaddress
import json
import socket
import time
from pathlib import Path

from . import vm
from .conversation import Conversation
from .homes import DELEGATED, SERVER, Homes
from .internet import DNS_ADDRESS, HOME
from .lab import LabError
from .openwrt.procd import Procd
from .openwrt.root import Root
from .scenarios import scenario
from .stage import Stage
from .topology import FAR_HOST, PORT, R2_ADDRESS, R2_ADDRESS6
from .wgroam import Wgroam
from .wireguard import Device

HIDDEN_PORT = 443
TALK, MEANWHILE, SECRET_SERVICE = 80, 81, 22  # what h6 serves; what serves R1's LAN alone
IP6_HEADER, ICMP6_HEADER = 40, 8
PATIENCE = 60  # seconds for what comes by itself on a busy machine; only a failure takes so long
SYN = 1  # seconds, in which TCP asks once and once more
SLOWER = 10  # times as long as a neighbour needed: whoever has not connected by then can't
WALK = 2  # seconds from one café to the next
FALLBACK = 12  # seconds: as in blocked-port
STOCK = vm.TREE / "ci" / "openwrt" / "stock"
MIXED = {"r1": "24.10", "r2": "25.12"}  # whose netifd and files a router has, unless one release is asked for
FILES = {"main": "25.12"}  # whose stock files a release has, if not its own


class Installed(Wgroam):
    """The daemon as the package runs it: started by its init script, with what that gave it."""

    def __init__(self, router, root, procd):
        self.router = router
        self.root = root
        self.procd = procd
        self.heard = 0

    @property
    def process(self):
        """procd's child."""
        return self.procd.daemon

    def status(self):
        """What `wgroam status --json` says; None while nobody answers."""
        try:
            return json.loads(self.root.run("/usr/sbin/wgroam", "status", "--json").stdout)
        except json.JSONDecodeError:
            return None

    def _lines(self):
        return [line.partition(": ")[2] for _, line in list(self.root.log.lines)]

    def news(self):
        """The lines of its log since the last call."""
        lines = self._lines()
        new, self.heard = lines[self.heard :], len(lines)
        return new

    def log_tail(self, lines=30):
        """The end of its log."""
        return "\n".join(self._lines()[-lines:])


class Share(Stage):
    """A stage with two routers of which nothing but their files is set up."""

    topology_of = Homes

    def __init__(self, lab, settings, wgroam_on):
        super().__init__(lab, settings, wgroam_on)
        self.roots, self.services = {}, {}

    def close(self):
        for service in self.services.values():
            service.close()
        super().close()
        for root in self.roots.values():
            root.close()

    def boot(self):
        """The routers start with stock files, and the name means R2."""
        if self.settings.with_ != "wgroam":
            raise LabError("share-ipv6 is what wgroam's own commands do: it is played with wgroam only")
        self.inet.start_dns()
        self.inet.point_name(HOME, R2_ADDRESS)
        for router in (self.r1, self.r2):
            name = router.node
            # wireguard-go's socket is root's: there the daemon has to be root too.
            root = Root(router, self.settings.wgroam, ujail=self.settings.wireguard == "kernel")
            self.roots[name] = root
            root.write("etc/resolv.conf", f"nameserver {DNS_ADDRESS}\noptions timeout:1 attempts:2\n")
            release = self.settings.openwrt or MIXED[name]
            for package in (STOCK / FILES.get(release, release)).iterdir():
                root.write(f"etc/config/{package.name}", package.read_text(), 0o600)
            delegated = {"wan6": DELEGATED} if name == "r2" else {}
            self.services[name] = Procd(router, root, self.settings.wireguard, delegated, release)
            self.services[name].boot()
            self.daemons[name] = Installed(router, root, self.services[name])
        self.originals = {name: root.files() for name, root in self.roots.items()}
        self.narrate("both routers run with stock files")

    def setup(self, name, *words, stdin=""):
        """A person types `wgroam-setup WORDS` on a router. Returns what it printed."""
        begun = time.monotonic()
        ran = self.roots[name].run("/usr/sbin/wgroam-setup", *words, stdin=stdin)
        seconds = round(time.monotonic() - begun, 2)
        self.services[name].check()
        self.details[f"{words[0]}_s"] = seconds
        self.narrate(f"{name.upper()}: wgroam-setup {' '.join(words)} took {seconds} s")
        told = ran.stderr if words[0] == "invite" else ran.stderr + ran.stdout
        for line in told.splitlines():
            if not line.startswith("  "):  # the changes, one by one
                self.narrate(f"    {line}")
        if ran.returncode != 0:
            raise LabError(f"{name}: wgroam-setup {' '.join(words)}: exit code {ran.returncode}: {ran.stderr.strip()}")
        return ran.stdout

    def know_tunnel(self):
        """Finds the tunnel's interfaces and keys: what a scenario asks WireGuard about."""
        for name, router in (("r1", self.r1), ("r2", self.r2)):
            (router.device,) = self.services[name].netifd.devices.values()
            router.peer = router.run("wg", "show", router.device.name, "peers").strip()

    def addresses(self, host):
        """A host's IPv6 addresses of global scope, ULAs among them, as far as it uses them."""
        words = ("ip", "-6", "-oneline", "address", "show", "dev", "eth0", "scope", "global", "-deprecated")
        return [ipaddress.ip_interface(line.split()[3]) for line in host.run(*words).splitlines()]

    def wait_for_address(self, host):
        """A host has an address of R2's prefix, made by itself (SLAAC); returns it."""
        whole = ipaddress.ip_network(DELEGATED)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for address in self.addresses(host):
                if address.ip in whole:
                    return address
            time.sleep(0.05)
        has = ", ".join(map(str, self.addresses(host))) or "none at all"
        raise LabError(f"{host.node} has no address of {whole}, but {has}")

    def within(self, seconds, condition):
        """Does it become true?"""
        deadline = time.monotonic() + seconds
        while not (good := condition()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return good

    def ping(self, node, *words):
        """Is a ping answered, sooner or later?"""
        words = ("ping", "-c", "3", "-i", "0.2", "-W", "1", *words)
        return self.within(PATIENCE, lambda: " bytes from " in node.run(*words, check=False))

    def knock(self, node, address, port, patience=SYN):
        """What a TCP connection over IPv6 comes to within so many seconds: "connected", "refused" or "nothing"."""
        with node.entered():
            client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        with client:
            client.settimeout(patience)
            try:
                client.connect((address, port))
            except TimeoutError:
                return "nothing"
            except OSError:
                return "refused"
            return "connected"

    def move(self):
        """R1 goes to the next café: another network, another NAT, another address of the NAT's."""
        inside, outside = next(self.topology.cafes)
        self.r1.lose_wan()
        time.sleep(WALK)
        self.nat.ip(
            *("address flush dev inside scope global", "address flush dev outside scope global"),
            *(f"address add {inside}.1/24 dev inside", f"address add {outside}/24 dev outside"),
            "route replace default via 203.0.113.1",
        )
        self.nat.rebind()
        self.r1.routes = [f"default via {inside}.1"]
        self.r1.address = f"{inside}.2"
        self.r1.regain_wan()



@scenario("share-ipv6", wgroam_on=("r1", "r2"), limit=30, reach=2, stage=Share, journey=True, bench=False, openwrt=True)
def share_ipv6(stage):
    """Two stock routers: anchor and invite on R2, join on R1, and the LAN has IPv6; then R1 moves to another café."""
    stage.boot()
    stage.lab.gate.release()
    before_it(stage)
    anchor = ("anchor", "--name", "home", "--host", HOME, "--prefix", DELEGATED, "--fallback-port", str(HIDDEN_PORT))
    stage.setup("r2", *anchor)
    invitation = stage.setup("r2", "invite", "r1")
    stage.setup("r1", "join", "--yes", "-", stdin=invitation)
    stage.know_tunnel()
    address = stage.wait_for_address(stage.lan)
    stage.narrate(f"the LAN's host has made itself the address {address}")
    the_lan_has_ipv6(stage, address)
    nothing_is_wrong(stage)
    nobody_comes_in_unasked(stage, address)
    somebody_else_comes_and_goes(stage)
    with Conversation(stage.lan, stage.h6, FAR_HOST, TALK, PATIENCE) as talk:
        stage.check(talk.goes_on(PATIENCE), "a TCP connection to h6 carries nothing")
        for daemon in stage.daemons.values():
            daemon.news()
        stage.ready()
        stage.move()
        recovery = stage.silence(stage.from_lan, "the LAN")
        survives(stage, talk, "the move")
        stage.lab.gate.release()
        the_main_port_is_blocked(stage, talk)
    secrets_are_kept(stage, invitation)
    all_of_it_goes(stage)
    return recovery


def before_it(stage):
    """Without the tunnel R1's LAN has IPv4, and no IPv6 but its own; R2's LAN has both."""
    stage.wait_for_address(stage.topology.home)
    stage.check(stage.ping(stage.topology.home, "-6", FAR_HOST), "R2's LAN has no IPv6: the lab is broken")
    stage.check(stage.ping(stage.lan, SERVER), "the LAN has no IPv4: the lab is broken")
    stage.check(stage.knock(stage.lan, FAR_HOST, TALK) != "connected", "the LAN has IPv6 already: the lab is broken")
    default = stage.lan.run("ip", "-6", "route", "show", "default")
    stage.check(not default, f"the LAN has an IPv6 default route before there is a tunnel: {default.strip()}")


def the_lan_has_ipv6(stage, address):
    """What is announced there is right, and it works."""
    mtu = int(stage.r1.run("cat", f"/sys/class/net/{stage.r1.device.name}/mtu"))
    with stage.lan.entered():
        announced = int(Path("/proc/sys/net/ipv6/conf/eth0/mtu").read_text())
    stage.details.update(address=str(address.ip), mtu=announced)
    stage.check(announced == mtu, f"the LAN has an MTU of {announced}, and the tunnel one of {mtu}")
    whole = ipaddress.ip_network(DELEGATED)
    (taken,) = (one for one in stage.services["r2"].netifd.interfaces["lan"].assigned if one.subnet_of(whole))
    stage.check(address.ip not in taken, f"{address} is in {taken}, which is R2's own LAN's")
    default = stage.lan.run("ip", "-6", "route", "show", "default")
    stage.check("via fe80:" in default, f"the LAN has no default route by R1: {default.strip() or 'none'}")
    stage.check(stage.ping(stage.lan, "-6", FAR_HOST), "the LAN gets no answer from h6")
    whole = str(mtu - IP6_HEADER - ICMP6_HEADER)
    stage.check(stage.ping(stage.lan, "-6", "-M", "do", "-s", whole, FAR_HOST), f"a packet of {mtu} bytes does not pass")
    # More than fits: whoever has too large an MTU is told so, and it comes in pieces the next time.
    stage.check(
        stage.ping(stage.h6, "-6", "-s", "1452", str(address.ip)), "a large packet from h6 does not pass, not even in pieces"
    )
    stage.check(stage.ping(stage.lan, SERVER), "the LAN has lost its IPv4")
    stage.check(stage.ping(stage.topology.home, "-6", FAR_HOST), "R2's LAN has lost its IPv6")


def nothing_is_wrong(stage):
    """`wgroam diagnose` finds no fault on either router, and looks at what the LAN needs."""
    for name, root in stage.roots.items():
        ran = root.run("/usr/sbin/wgroam", "diagnose", stage.r1.device.name)
        stage.check(ran.returncode == 0, f"{name}: wgroam diagnose finds faults: {ran.stdout}{ran.stderr}")


def nobody_comes_in_unasked(stage, address):
    """Echo requests pass, connections don't: from the internet neither into R1's LAN nor to R1, and from R1's LAN neither
    into R2's nor to R2."""
    stage.check(stage.ping(stage.h6, "-6", str(address.ip)), "h6 can't ping the LAN: ICMPv6 is closed")
    home = stage.wait_for_address(stage.topology.home)
    sides = ((address, stage.lan, stage.r1, stage.h6), (home, stage.topology.home, stage.r2, stage.lan))
    for its, host, router, stranger in sides:
        for node, target in ((host, its.ip), (router, its.network.network_address + 1)):
            with node.entered():
                listener = socket.create_server(("::", SECRET_SERVICE), family=socket.AF_INET6)
            with listener:
                begun = time.monotonic()
                inside = stage.knock(host, str(target), SECRET_SERVICE, PATIENCE)
                patience = min(PATIENCE, max(SYN, SLOWER * (time.monotonic() - begun)))
                stage.check(inside == "connected", f"{host.node} can't connect to {node.node}: the lab is broken")
                outside = stage.knock(stranger, str(target), SECRET_SERVICE, patience)
                stage.check(outside != "connected", f"{stranger.node} can connect to {node.node} unasked")


def somebody_else_comes_and_goes(stage):
    """A second roamer, that has IPv6 alone and calls the other port, is let in and locked out again. R1 keeps its session, if
    R2's netifd can do that."""
    before = stage.r2.index()
    with Conversation(stage.lan, stage.h6, FAR_HOST, MEANWHILE, PATIENCE) as talk:
        fields = stage.setup("r2", "invite", "r3").split("%")
        key = stage.r2.run("wg", "show", stage.r2.device.name, "peers").split()
        stage.check(len(key) == 2, f"R2's WireGuard has {len(key)} peers after the second was invited")
        stage.check(talk.goes_on(PATIENCE), "R1's session does not survive that another one is invited")
        stage.details["invite_gap_s"] = round(talk.longest, 2)
    kept = stage.r2.index() == before
    stage.check(kept or not stage.services["r2"].netifd.keeps_sessions, "R2's interface was made anew for an invitation")
    phone = Device(stage.h6, stage.settings.wireguard, "wg6")
    phone.create()
    public, private, shared = fields[8], fields[10], fields[12]
    config = f"[Interface]\nPrivateKey = {private}\n[Peer]\nPublicKey = {public}\nPresharedKey = {shared}\n"
    config += f"AllowedIPs = {fields[16].split(',')[1]}/128\nEndpoint = [{R2_ADDRESS6}]:{HIDDEN_PORT}\n"
    stage.h6.run("wg", "setconf", phone.name, "/dev/stdin", stdin=config)
    stage.h6.ip(f"link set {phone.name} up")
    phone.set_keepalive(public, 1)
    stage.check(stage.within(PATIENCE, lambda: handshake(phone)), f"port {HIDDEN_PORT} does not answer by IPv6")
    stage.setup("r2", "revoke", "r3")
    peers = stage.r2.run("wg", "show", stage.r2.device.name, "peers").split()
    stage.check(peers == [stage.r2.peer], "R2's WireGuard lets in who was revoked")
    phone.delete()
    stage.check(stage.ping(stage.lan, "-6", FAR_HOST), "the LAN gets no answer from h6 after another one was revoked")


def handshake(device):
    """Has it had one?"""
    return not device.node.run("wg", "show", device.name, "latest-handshakes").strip().endswith("\t0")


def survives(stage, talk, what):
    """The LAN host's connection carries data again, and every byte in its order."""
    # TCP asks again after twice the time that it has waited so far.
    good = talk.goes_on(PATIENCE + time.monotonic() - talk.heard_at)
    stage.details.setdefault("tcp_gap_s", []).append(round(talk.longest, 2))
    stage.narrate(f"the TCP connection lives on, its longest silence was {talk.longest:.2f} s")
    stage.check(good, f"the LAN's TCP connection does not survive {what}: {talk.broken or 'nothing comes back'}")
    talk.longest = 0.0


def the_main_port_is_blocked(stage, talk):
    """The next café lets 443 through and nothing else; R2 redirects it."""
    stage.nat.filter_port(PORT)
    stage.move()
    seconds = stage.silence(stage.from_lan, "the LAN")
    stage.details["fallback_s"] = seconds if seconds is None else round(seconds, 2)
    stage.check(seconds is not None and seconds <= FALLBACK, f"port {HIDDEN_PORT} does not carry it within {FALLBACK} s")
    endpoint = stage.r1.endpoint() or ""
    stage.check(endpoint.endswith(f":{HIDDEN_PORT}"), f"R1 calls {endpoint}")
    survives(stage, talk, "the blocked port")


def secrets_are_kept(stage, invitation):
    """No key has come into a log."""
    secrets = {invitation.strip()}
    for name in stage.roots:
        for section in stage.roots[name].sections("network"):
            secrets |= {section.get(option) for option in ("private_key", "preshared_key") if section.get(option)}
    stage.check(len(secrets) >= 4, "there are fewer secrets than there should be: the lab is broken")
    for name, root in stage.roots.items():
        log = root.log.text()
        stage.check(not any(secret in log for secret in secrets), f"{name}'s log has a secret in it")


def all_of_it_goes(stage):
    """`remove` leaves the files as they were, and the tunnel goes."""
    for name, router in (("r1", stage.r1), ("r2", stage.r2)):
        stage.setup(name, "remove", "home")
        changed = [file for file, text in stage.roots[name].files().items() if stage.originals[name].get(file) != text]
        stage.check(not changed, f"{name}: remove leaves {', '.join(changed)} other than it was")
        stage.check(router.device.name not in router.links(), f"{name}: the interface is still there")
    deadline = time.monotonic() + PATIENCE
    while (left := what_the_lan_has(stage)) and time.monotonic() < deadline:
        time.sleep(0.05)
    stage.check(not left, f"the tunnel is gone, and the LAN still has {left}")
    stage.check(stage.ping(stage.lan, SERVER), "the LAN has no IPv4 any more")


def what_the_lan_has(stage):
    """What the LAN's host has of the tunnel, in words; "" for nothing."""
    addresses = [str(address) for address in stage.addresses(stage.lan) if address.ip in ipaddress.ip_network(DELEGATED)]
    return " ".join([*addresses, *stage.lan.run("ip", "-6", "route", "show", "default").split()])
