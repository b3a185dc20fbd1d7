# SPDX-License-Identifier: GPL-2.0-only
"""netifd in miniature: package network as interfaces, addresses and routes, with the protocol handler of WireGuard, each
release with its own idea of what a reload changes. What a provider hands out (proto dhcp and dhcpv6) is the lab's to play.

ci/openwrt/test_recorded_netifd.py holds it against what real netifds did."""
import ipaddress
import json
import subprocess
import threading
import time

from ..lab import LabError
from ..wireguard import Device
from .plan import HANDED_OUT, LOCAL, OF_PROTO, assign, plan, sections_of, ula
from .releases import DECLARED, RELEASES

NULL_METRIC = 2**31 - 1  # of the route that a prefix has, so that nothing loops for what is not assigned
METRIC6 = 1024  # of IPv6 routes without one
SETUP_SECONDS = 0.3  # that a handler takes: 0.4 to 0.8 were recorded
# get_proto_handlers (proto_dump_handlers in netifd's proto.c), as far as anybody asks.
FLAGS = ("immediate", "no_device", "init_available", "renew_available", "force_link_default", "last_error", "no_task")


class Netifd:
    """One router's. Its verbs return at once, as netifd's do, and an interface that is set up comes up a moment later."""

    def __init__(self, router, root, kind, delegated, release="24.10", strict=True, delay=SETUP_SECONDS):
        """`kind`: of WireGuard, "userspace" or "kernel". `delegated`: the prefixes that interfaces get from a provider."""
        self.release = RELEASES[release]
        self.delegated = {name: [ipaddress.ip_network(prefix)] for name, prefix in delegated.items()}
        self.router = router
        self.root = root
        self.kind = kind
        self.strict = strict
        self.delay = delay
        self.happened = lambda action, name: None  # called for each hotplug event
        self.changed = lambda: None  # called when addresses may be others
        self.hosts = {}  # addresses of names that resolve
        self.devices = {}  # WireGuard's, by interface
        self.bridges = set()
        self.known = {}  # interfaces as of the last reload
        self.interfaces = {}  # those that are up, as they were set up
        self.autostart = {}
        self.assigned = {}  # of each LAN (prefix, address)
        self.kept = {}  # of each LAN addresses that the kernel has, by address without length
        self.null_routes = set()
        self.pending = {}  # interfaces whose handler is at work, and when it is done
        self.events = []
        self.failure = None
        self.lock = threading.RLock()
        self.work = threading.Condition(self.lock)
        # Always the same thread: what it starts ends with it (see Namespace.enter).
        threading.Thread(target=self._finish_all, daemon=True).start()

    def reload(self):
        """`ubus call network reload`: what the files say now, as far as this release looks."""
        with self.lock:
            sections = self.root.sections("network")
            before, self.known = self.known, plan(sections, self.delegated, self.strict)
            self.ula = ula(sections, self.strict)
            self._set_up_bridges(sections)
            for name in before.keys() - self.known.keys():
                self._teardown(name)
                self.autostart.pop(name)
            for name, interface in self.known.items():
                if name not in before:
                    self.autostart[name] = interface.auto
                    self._start(name)
                elif self._differs(before[name], interface):
                    self._teardown(name)
                    self._start(name)
            self._refresh()

    def renew(self, name):
        """`ubus call network.interface.NAME renew`: answers 0 whatever it does."""
        with self.lock:
            if not self.release.renews or name not in self.devices or name not in self.interfaces:
                return
            interface = self._config(name)
            if interface is None or not self._resolves(interface):
                return
            before, self.interfaces[name] = self.interfaces[name], interface
            self._configure(interface, before, "syncconf")
            self._refresh()
            changed = [what for what in ("addresses", "routes", "prefixes") if getattr(before, what) != getattr(interface, what)]
            if changed:
                self._event("ifupdate", name, changed)

    def up(self, name):
        """`ubus call network.interface.NAME up`"""
        with self.lock:
            if name in self.known:
                self.autostart[name] = True
                self._start(name)
                self._refresh()

    def down(self, name):
        """`ubus call network.interface.NAME down`"""
        with self.lock:
            if name in self.known:
                self.autostart[name] = False
                self._teardown(name)
                self._refresh()

    def delegate(self, name, *prefixes):
        """The provider hands out these from now on, and none of those before."""
        with self.lock:
            self.delegated[name] = [ipaddress.ip_network(prefix) for prefix in prefixes]
            self.known[name].prefixes = self.delegated[name]
            self.interfaces[name].prefixes = self.delegated[name]
            self._refresh()
            self._event("ifupdate", name, ["prefixes"])

    def settled(self, seconds=10):
        """Waits until no handler is at work."""
        with self.work:
            if not self.work.wait_for(lambda: not self.pending, seconds):
                raise LabError("netifd does not come to rest")

    def close(self):
        """No handler finishes any more."""
        with self.work:
            self.pending = None
            self.work.notify_all()

    def _differs(self, before, after):
        """Does reload see a difference that makes it restart the interface?"""
        if self.release.compares_all and after.proto == "wireguard":
            return (before.compared, before.peers) != (after.compared, after.peers)
        names = DECLARED if after.proto == "wireguard" else ("proto", "device", *OF_PROTO.get(after.proto, ()))
        # What a LAN gets of prefixes is changed in place (interface_merge_assignment_data).
        names = [name for name in names if not name.startswith("ip6")]
        return [one for one in before.compared if one[0] in names] != [one for one in after.compared if one[0] in names]

    def _config(self, name):
        """What the handler gets to see."""
        if not self.release.reads_files:
            return self.known[name]
        return plan(self.root.sections("network"), self.delegated, self.strict).get(name)

    def _resolves(self, interface):
        """One name that does not resolve fails the whole interface (`wg setconf`)."""
        for host in interface.hosts:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                if host not in self.hosts:
                    return False
        return True

    def _start(self, name):
        """Sets an interface up, after a moment."""
        if not self.autostart[name] or name in self.interfaces or name in self.pending:
            return
        interface = self.known[name]
        if interface.proto in HANDED_OUT:
            self.interfaces[name] = interface
        elif interface.proto == "static":
            self._set_up(name)
        elif interface.proto == "wireguard":
            self.pending[name] = time.monotonic() + self.delay
            self.work.notify_all()

    def _finish_all(self):
        """What handlers do, each when its time has come."""
        with self.work:
            while self.pending is not None:
                now = time.monotonic()
                due = [name for name, when in self.pending.items() if when <= now]
                if not due:
                    self.work.wait(min(self.pending.values()) - now if self.pending else None)
                for name in due:
                    interface = self._config(name)
                    try:
                        if interface is not None and self._resolves(interface):
                            self._set_up(name)
                    except (LabError, OSError, subprocess.SubprocessError) as error:
                        self.failure = f"{name}: {error}"
                    del self.pending[name]
                    self._refresh()
                    self.work.notify_all()

    def _set_up(self, name):
        interface = self._config(name) if self.known[name].proto == "wireguard" else self.known[name]
        if interface.proto == "wireguard":
            self.devices[name] = Device(self.router, self.kind, interface.device)
            self.devices[name].create()
            self._configure(interface, None, "setconf")
        else:
            if interface.device in self.router.links():
                self.router.ip(*self._addresses(interface, set()), f"link set dev {interface.device} up")
            self.kept[name] = {}
            self.assigned[name] = []
        self.interfaces[name] = interface
        self._event("ifup", name)

    def _configure(self, interface, before, verb):
        """WireGuard's device, as the handler does it: no key on a command line."""
        on = f"dev {interface.device}"
        text = interface.wireguard
        for host, address in self.hosts.items():
            text = text.replace(f"Endpoint = {host}:", f"Endpoint = {address}:")
        self.router.run("wg", verb, interface.device, "/dev/stdin", stdin=text)
        # By what netifd knows of its uplinks, and so before a route leads the endpoint into the tunnel itself.
        if not interface.nohostroute:
            self._add_host_routes(interface)
        old = before.routes if before else set()
        commands = [f"link set {on} mtu {interface.mtu}"] if interface.mtu else []
        commands += [f"link set {on} up", *self._addresses(interface, before.addresses if before else set())]
        commands += [f"route delete {route} {on} proto static" for route in sorted(old - interface.routes)]
        # NLM_F_REPLACE (system_rt in netifd's system-linux.c).
        commands += [f"route replace {route} {on} proto static" for route in sorted(interface.routes - old)]
        self.router.ip(*commands)

    def _addresses(self, interface, old):
        on = f"dev {interface.device}"
        commands = [f"address delete {address} {on}" for address in sorted(old - interface.addresses)]
        new = sorted(interface.addresses - old)
        return commands + [f"address replace {address} {on}{' nodad' if ':' in address else ''}" for address in new]

    def _add_host_routes(self, interface):
        """proto_add_host_dependency: a route to each endpoint by the uplink of the moment, which it outlives."""
        for line in self.router.run("wg", "show", interface.device, "endpoints").splitlines():
            address = line.partition("\t")[2].rpartition(":")[0].strip("[]")
            if not address or address == "(none)":
                continue
            words = self.router.run("ip", "route", "get", address, check=False).split()
            if "via" in words and "dev" in words:
                via, device = (words[words.index(word) + 1] for word in ("via", "dev"))
                self.router.ip(f"route replace {address} via {via} dev {device} proto static")

    def _teardown(self, name):
        self.pending.pop(name, None)
        interface = self.interfaces.pop(name, None)
        if interface is None:
            return
        if interface.proto == "wireguard":
            self.devices.pop(name).delete()
            self._event("ifdown", name)
        elif interface.proto == "static":
            addresses = {*interface.addresses, *self.kept.pop(name, {}).values()}
            commands = [f"address delete {address} dev {interface.device}" for address in sorted(addresses)]
            routes = [self._lan_route("delete", network, interface) for network, _ in self.assigned.pop(name, [])]
            if interface.device in self.router.links():
                self.router.ip(*routes, *commands)
        self._event("ifdown", name)

    def _event(self, action, name, changed=()):
        """`changed`: what IFUPDATE_* of the hotplug event says."""
        self.events.append(f"{action}:{name}" + (f"({','.join(changed)})" if changed else ""))
        self.happened(action, name)

    def _lan_route(self, verb, network, interface):
        # One link is a /64, whatever was assigned.
        return f"route {verb} {network.network_address}/64 dev {interface.device} proto static metric {METRIC6}"

    def _refresh(self):
        """Who has which part of the prefixes that there are, and what ubus says of it."""
        up = self.interfaces.values()
        pools = [(interface.name, prefix) for interface in up for prefix in interface.prefixes]
        pools += [(LOCAL, prefix) for prefix in self.ula]
        lans = [self.known[name].wish for name in self.assigned if name in self.known and self.known[name].wish]
        found = assign(pools, lans)
        for name in self.assigned:
            self._assign(self.interfaces[name], found.get(name, []))
        routes, self.null_routes = self.null_routes, {str(prefix) for _, prefix in pools}
        self.router.ip(
            *(f"route delete unreachable {prefix} metric {NULL_METRIC}" for prefix in routes - self.null_routes),
            *(f"route add unreachable {prefix} proto static metric {NULL_METRIC}" for prefix in self.null_routes - routes),
        )
        self.tell()
        self.changed()

    def _assign(self, lan, wanted):
        """Recorded: an address that is no longer assigned stays, deprecated, and one that only gets another length stays as
        it is; both until the LAN is restarted."""
        before, self.assigned[lan.name] = self.assigned[lan.name], wanted
        lan.assigned = [network for network, _ in wanted]
        kept = self.kept[lan.name]
        new, old = [one for one in wanted if one not in before], [one for one in before if one not in wanted]
        commands = [self._lan_route("delete", network, lan) for network, _ in old]
        for _, address in old:
            if address.partition("/")[0] not in {other.partition("/")[0] for _, other in wanted}:
                life = f"valid_lft {self.release.valid} preferred_lft 0"
                commands.append(f"address change {kept[address.partition('/')[0]]} dev {lan.device} {life}")
        for network, address in new:
            has = kept.setdefault(address.partition("/")[0], address)
            commands.append(f"address replace {has} dev {lan.device} nodad noprefixroute valid_lft forever preferred_lft forever")
            commands.append(self._lan_route("replace", network, lan))
        if lan.device in self.router.links():
            self.router.ip(*commands)

    def _set_up_bridges(self, sections):
        """Those that are not there yet, of the ports that are there."""
        for section in sections_of(sections, "device"):
            if section.get("type") != "bridge":
                continue
            if self.strict:
                section.known("name", "type", "ports")
            bridge = section.get("name")
            if bridge not in self.bridges:
                self.bridges.add(bridge)
                ports = [port for port in section.words("ports") if port in self.router.links()]
                self.router.ip(
                    f"link add {bridge} type bridge mcast_snooping 0",
                    *(f"link set {port} master {bridge} up" for port in ports),
                )

    @property
    def keeps_sessions(self):
        """Can a peer come and go without a restart of the interface?"""
        return not self.release.compares_all

    def devices_of_networks(self):
        """Of each network its device, as fw4 asks for: one that is down still has what it is configured with, but for
        WireGuard's."""
        configured = {name: interface.device for name, interface in self.known.items() if interface.proto != "wireguard"}
        return configured | {name: interface.device for name, interface in self.interfaces.items()}

    def status(self, name):
        """What `ubus call network.interface.NAME status` says (netifd_dump_status in ubus.c), less uptime, DNS and the like."""
        interface = self.interfaces.get(name)
        config = interface or self.known[name]
        status = {
            "interface": name,
            "up": interface is not None,
            "pending": name in self.pending or (interface is None and self.autostart[name]),
            "available": True,
            "autostart": self.autostart[name],
            "dynamic": False,
            "proto": config.proto,
        }
        # A proto without a device of its own names none.
        status |= {} if config.proto == "wireguard" else {"device": config.device}
        if interface is None:
            return status
        status |= {"l3_device": interface.device, "metric": 0}
        for family, word in ((4, "ipv4-address"), (6, "ipv6-address")):
            has = [ipaddress.ip_interface(address) for address in sorted(interface.addresses)]
            status[word] = [of_address(one) for one in has if one.version == family]
        status["ipv6-prefix"] = [
            {**words(prefix), "class": name, "assigned": self._given(prefix)} for prefix in interface.prefixes
        ]
        status["ipv6-prefix-assignment"] = [
            {**words(network), "local-address": of_address(ipaddress.ip_interface(address))}
            for network, address in self.assigned.get(name, [])
        ]
        status["route"] = [
            {"target": str(network.network_address), "mask": network.prefixlen, "nexthop": "::" if network.version == 6 else "0.0.0.0"}
            for network in map(ipaddress.ip_network, sorted(interface.routes))
        ]
        return status

    def _given(self, prefix):
        """Of a prefix: who has which part."""
        return {name: words(network) for name, has in self.assigned.items() for network, _ in has if network.subnet_of(prefix)}

    def handlers(self):
        """What `ubus call network get_proto_handlers` says of WireGuard's."""
        has = {"no_device": True, "init_available": True, "no_task": True, "renew_available": self.release.renews}
        return {"wireguard": {"validate": {}, **{flag: has.get(flag, False) for flag in FLAGS}}}

    def tell(self):
        """For the stand-in of ubus, which never finds half of an answer."""
        dump = [self.status(name) for name in self.known]
        answers = {f"network.interface.{status['interface']}": status for status in dump}
        answers |= {"network.interface": {"interface": dump}, "network.handlers": self.handlers()}
        for name, said in answers.items():
            self.root.write("tmp/new.answer", json.dumps(said)).rename(self.root.path / "tmp" / name)
        for path in self.root.path.glob("tmp/network.interface*"):
            if path.name not in answers:
                path.unlink()


def words(network):
    """As ubus speaks of a network."""
    return {"address": str(network.network_address), "mask": network.prefixlen}


def of_address(interface):
    """As ubus speaks of an address."""
    return {"address": str(interface.ip), "mask": interface.network.prefixlen}
