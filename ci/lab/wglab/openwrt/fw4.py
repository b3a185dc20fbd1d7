# SPDX-License-Identifier: GPL-2.0-only
"""firewall4 in miniature: package firewall as one table of nftables, with fw4's order and meaning: what is established comes
first, then the rules of a zone, its forwardings, what was redirected, and its policy."""
from ..lab import LabError

# What fw4 makes of the names of ICMP types; the first of a pair is IPv4's, None where there is none.
ICMP_TYPES = {
    "echo-reply": ("0", "129"),
    "echo-request": ("8", "128"),
    "destination-unreachable": ("3", "1"),
    "time-exceeded": ("11", "3"),
    "packet-too-big": (None, "2"),
    "parameter-problem": ("12", "4"),
    "bad-header": (None, "4/0"),
    "unknown-header-type": (None, "4/1"),
    "router-solicitation": (None, "133"),
    "router-advertisement": (None, "134"),
    "neighbour-solicitation": (None, "135"),
    "neighbour-advertisement": (None, "136"),
}
VERDICTS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "jump handle_reject"}
FAMILIES = {"any": "", "ipv4": "meta nfproto ipv4 ", "ipv6": "meta nfproto ipv6 "}
SYN = "tcp flags & (fin | syn | rst) == syn tcp option maxseg size set rt mtu"


def quoted(names):
    """A set of devices."""
    return "{ " + ", ".join(f'"{name}"' for name in sorted(names)) + " }"


class Zone:
    """A zone, with the devices of its networks that are up."""

    def __init__(self, section, devices, defaults):
        section.known("name", "network", "input", "output", "forward", "masq", "mtu_fix", "family")
        self.name = section.get("name")
        self.family = FAMILIES[section.one_of("family", FAMILIES, "any")]
        self.devices = {devices[network] for network in section.words("network") if network in devices}
        self.policy = {hook: section.one_of(hook, VERDICTS, defaults[hook]) for hook in ("input", "output", "forward")}
        self.masq = section.flag("masq")
        self.mtu_fix = section.flag("mtu_fix")
        self.rules = {"input": [], "output": [], "forward": [], "dstnat": []}


class Firewall:
    """Package firewall."""

    def __init__(self, sections, devices):
        """`devices`: of networks that are up, the device."""
        defaults = next((section for section in sections if section.kind == "defaults"), None)
        if defaults is None:
            raise LabError("firewall: there is no section of type defaults")
        defaults.known("input", "output", "forward", "synflood_protect", "syn_flood", "flow_offloading")
        self.policy = {hook: defaults.one_of(hook, VERDICTS, "DROP") for hook in ("input", "output", "forward")}
        self.zones = {}
        self.everywhere = {"input": [], "forward": [], "output": []}
        for section in sections:
            if section.kind == "zone":
                zone = Zone(section, devices, self.policy)
                self.zones[zone.name] = zone
        makers = {"forwarding": self._forwarding, "rule": self._rule, "redirect": self._redirect}
        # Rules stand before forwardings, whatever their order in the file.
        for kind in ("rule", "forwarding", "redirect"):
            for section in sections:
                if section.kind == kind and section.flag("enabled", True):
                    makers[kind](section)
        for section in sections:
            if section.kind not in ("defaults", "zone", *makers):
                raise LabError(f"{section}: the lab has no meaning for such a section")

    def _zone(self, section, option):
        """The zone that an option names."""
        name = section.get(option)
        if name not in self.zones:
            raise LabError(f"{section}: there is no zone '{name}'")
        return self.zones[name]

    def _to(self, zone, verdict):
        """What goes out by a zone's devices gets this verdict; nothing, while none is up."""
        return [f"oifname {quoted(zone.devices)} {verdict}"] if zone.devices else []

    def _forwarding(self, section):
        section.known("name", "src", "dest", "family", "enabled")
        family = FAMILIES[section.one_of("family", FAMILIES, "any")]
        for match in self._to(self._zone(section, "dest"), "accept"):
            self._zone(section, "src").rules["forward"].append(family + match)

    def _rule(self, section):
        section.known(
            *("name", "src", "dest", "proto", "family", "src_ip", "dest_ip", "src_port", "dest_port", "icmp_type"),
            *("target", "limit", "enabled"),
        )
        verdict = VERDICTS[section.one_of("target", VERDICTS, "DROP")]
        limit = f"limit rate {limit_of(section)} " if section.get("limit") else ""
        source, target = section.get("src"), section.get("dest")
        hook = "output" if source is None else "input" if target is None else "forward"
        where = source if source is not None else target
        rules = self.everywhere[hook] if where == "*" else self._zone(section, "src" if source else "dest").rules[hook]
        for match in matches(section):
            if hook == "forward" and target != "*":
                rules += [match + limit + end for end in self._to(self._zone(section, "dest"), verdict)]
            else:
                rules.append(match + limit + verdict)

    def _redirect(self, section):
        section.known("name", "src", "src_dport", "dest_port", "proto", "family", "target", "enabled", "dest")
        section.one_of("target", ("DNAT",), "DNAT")
        # Without dest_ip it is the router itself that is meant.
        port = section.get("dest_port", section.get("src_dport"))
        family = FAMILIES[section.one_of("family", FAMILIES, "any")]
        for protocol in section.words("proto") or ["tcp", "udp"]:
            rule = f"{family}{protocol} dport {{ {', '.join(section.words('src_dport'))} }} redirect to :{port}"
            self._zone(section, "src").rules["dstnat"].append(rule)

    def _chain(self, name, kind, lines):
        head = [f"\t\ttype {kind}"] if kind else []
        return [f"\tchain {name} {{", *head, *(f"\t\t{line}" for line in lines), "\t}"]

    def _hook(self, hook):
        """The chain that is hooked in, and those of the zones."""
        side = "oifname" if hook == "output" else "iifname"
        first = {"input": ["iifname lo accept"], "output": ["oifname lo accept"], "forward": []}[hook]
        first += ["ct state vmap { established : accept, related : accept }", *self.everywhere[hook]]
        chains = []
        for zone in self.zones.values():
            if zone.devices:
                first.append(f"{zone.family}{side} {quoted(zone.devices)} jump {hook}_{zone.name}")
            rules = list(zone.rules[hook])
            verdict = VERDICTS[zone.policy[hook]]
            if hook == "input":
                rules += ["ct status dnat accept"] if zone.rules["dstnat"] else []
            # The policy for what is forwarded is about the zone's own devices only.
            rules += self._to(zone, verdict) if hook == "forward" else [verdict]
            chains += self._chain(f"{hook}_{zone.name}", None, rules)
        policy = VERDICTS[self.policy[hook]]
        last = [] if policy == "accept" else [policy]
        base = "accept" if policy == "accept" else "drop"
        return chains + self._chain(hook, f"filter hook {hook} priority filter; policy {base}", first + last)

    def text(self):
        """The table, to be loaded in place of an older one."""
        lines = ["table inet fw4", "delete table inet fw4", "table inet fw4 {"]
        lines += self._chain(
            "handle_reject", None, ["meta l4proto tcp reject with tcp reset", "reject with icmpx type port-unreachable"]
        )
        for hook in ("input", "forward", "output"):
            lines += self._hook(hook)
        up = [zone for zone in self.zones.values() if zone.devices]
        dstnat = [f"iifname {quoted(zone.devices)} {rule}" for zone in up for rule in zone.rules["dstnat"]]
        srcnat = [f"meta nfproto ipv4 oifname {quoted(zone.devices)} masquerade" for zone in up if zone.masq]
        fixed = [f"{side} {quoted(zone.devices)} {SYN}" for zone in up if zone.mtu_fix for side in ("iifname", "oifname")]
        lines += self._chain("dstnat", "nat hook prerouting priority dstnat; policy accept", dstnat)
        lines += self._chain("srcnat", "nat hook postrouting priority srcnat; policy accept", srcnat)
        lines += self._chain("mtu_fix", "filter hook forward priority mangle; policy accept", fixed)
        return "\n".join([*lines, "}", ""])


def limit_of(section):
    """A limit in nftables' words: '1000/sec' is '1000/second'."""
    number, _, unit = section.get("limit").partition("/")
    units = {"sec": "second", "s": "second", "second": "second", "min": "minute", "m": "minute", "minute": "minute"}
    if not number.isdigit() or unit not in units:
        raise LabError(f"{section}: the lab has no meaning for limit '{section.get('limit')}'")
    return f"{number}/{units[unit]}"


def matches(section):
    """What a rule looks for, one text for each way in which nftables has to say it."""
    family = section.one_of("family", FAMILIES, "any")
    addresses = ""
    for option, word in (("src_ip", "saddr"), ("dest_ip", "daddr")):
        values = section.words(option)
        if values:
            kinds = {"ip6" if ":" in value else "ip" for value in values}
            if len(kinds) > 1:
                raise LabError(f"{section}: addresses of both families in one rule")
            addresses += f"{kinds.pop()} {word} {{ {', '.join(values)} }} "
    ports = ""
    for option, word in (("src_port", "sport"), ("dest_port", "dport")):
        values = section.words(option)
        if values:
            ports += f"th {word} {{ {', '.join(values)} }} "
    found = []
    protocols = section.words("proto") or ["tcp", "udp"]
    for protocol in protocols:
        if protocol in ("icmp", "ipv6-icmp", "icmpv6"):
            found += icmp_matches(section, family, protocol, addresses)
        elif protocol in ("all", "any", "*"):
            found.append(FAMILIES[family] + addresses + ports)
        else:
            found.append(f"{FAMILIES[family]}meta l4proto {protocol} {addresses}{ports}")
    return found


def icmp_matches(section, family, protocol, addresses):
    """The same for ICMP: 'icmp' is both, unless the family says otherwise."""
    wanted = {"any": ("ipv4", "ipv6") if protocol == "icmp" else ("ipv6",)}.get(family, (family,))
    found = []
    for which in wanted:
        version = 0 if which == "ipv4" else 1
        name = ("icmp", "icmpv6")[version]
        start = f"{FAMILIES[which]}meta l4proto {('icmp', 'ipv6-icmp')[version]} {addresses}"
        types = []
        for word in section.words("icmp_type"):
            number = ICMP_TYPES[word][version] if word in ICMP_TYPES else word if word[0].isdigit() else None
            if number is None and word not in ICMP_TYPES:
                raise LabError(f"{section}: the lab has no meaning for icmp_type '{word}'")
            types += [number] if number is not None else []
        if not section.words("icmp_type"):
            found.append(start)
        for number in types:
            kind, _, code = number.partition("/")
            found.append(f"{start}{name} type {kind} " + (f"{name} code {code} " if code else ""))
    return found
