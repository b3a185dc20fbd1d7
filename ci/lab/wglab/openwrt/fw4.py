# SPDX-License-Identifier: GPL-2.0-only
"""firewall4 in miniature: package firewall as one table of nftables, chain by chain the one that `fw4 print` gives, odd
sections included. What counts is recorded: ci/openwrt/recorded, compared by test_recorded_fw4.py. 24.10 (firewall4 4c01d1e)
and 25.12 (b6e5157) say the same of all that is played here. "fw4.uc" below is root/usr/share/ucode/fw4.uc there, and
"ruleset.uc" root/usr/share/firewall4/templates/ruleset.uc.

Not played: helpers of connection tracking, flow offloading, includes, logging, sets, and redirects to another host."""
from ..lab import LabError
from . import fw4_options as options

REJECT = "jump handle_reject"
PROTOCOLS = {4: "ipv4", 6: "ipv6"}
SYN = "tcp flags & (fin | syn | rst) == syn"
VERDICTS = ("accept", "reject", "drop")


def one_or_set(names):
    """What nftables takes for one or several: each once, without braces for one."""
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else "{ " + ", ".join(names) + " }"


def of_family(family):
    """What limits a rule to a family; nothing does for 0, both, and for None, not said."""
    return f"meta nfproto {PROTOCOLS[family]} " if family else ""


class Zone:
    """A zone, with the devices of its networks."""

    def __init__(self, values, devices):
        self.name, self.family = values["name"], values["family"]
        found = [f'"{devices[network]}"' for network in values["network"] or () if network in devices]
        # "" while no device is known: such a zone has chains, and nothing leads there (anchor-wg_home-down.diff).
        self.devices = one_or_set(found) if found else ""
        self.policy = {hook: values[hook] for hook in ("input", "output", "forward")}
        self.masq, self.mtu_fix = values["masq"], values["mtu_fix"]
        self.dnat, self.snat = False, self.masq
        # The verdicts for which a chain is wanted (sflags and dflags of fw4.uc).
        self.verdicts_from = {self.policy["input"]}
        self.verdicts_to = {self.policy["output"], self.policy["forward"]}

    def match(self, side):
        """What looks for the zone's devices, on one side: iifname or oifname."""
        return f"{of_family(self.family)}{side} {self.devices} "


class Firewall:
    """Package firewall."""

    def __init__(self, sections, devices, strict=True):
        """`devices`: of each network the device that netifd knows of it: the one that it has while it is up, or else what the
        configuration names. So WireGuard's has none while it is down, and a WAN keeps its own (recorded:
        anchor-wan-and-wan6-down-too.diff). `strict`: what fw4 only warns of is an error, as nobody reads a router's
        warnings in the lab. Without it `warnings` has them."""
        self.warnings = []
        self.zones = {}
        self.rules = {}  # by chain
        if not any(section.kind == "defaults" for section in sections):
            raise LabError("firewall: there is no section of type defaults")
        makers = {
            "defaults": self._defaults,
            "zone": self._zone,
            "rule": self._rule,
            "forwarding": self._forwarding,
            "redirect": self._redirect,
        }
        self.devices = devices
        self.numbers = {}  # of each section among those of its kind
        counts = {}
        for section in sections:
            self.numbers[id(section)] = counts[section.kind] = counts.get(section.kind, -1) + 1
            # fw4 passes over a kind that it does not know without a word.
            if section.kind not in makers and (strict or section.kind in options.KINDS_NOT_PLAYED):
                raise LabError(f"{section}: the lab has no meaning for such a section")
        # In this order, whatever the order in the file: load() of fw4.uc.
        for kind, make in makers.items():
            for section in sections:
                if section.kind == kind:
                    values = options.read(section, kind, self.zones, self._warn)
                    if values is not None:
                        make(section, values)
        # Who switches a section off wants that.
        in_vain = [warning for warning in self.warnings if not warning.endswith(options.DISABLED)]
        if strict and in_vain:
            raise LabError(f"fw4 warns: {'; '.join(in_vain)}")

    def _warn(self, section, said):
        """A warning, in fw4's words (warn_section() of fw4.uc)."""
        label = section.name or f"@{section.kind}[{self.numbers[id(section)]}]"
        name = section.options.get("name")
        self.warnings.append(f"Section {label} {f'({name}) ' if name else ''}{said}")

    def _add(self, chain, rule):
        self.rules.setdefault(chain, []).append(rule)

    def _defaults(self, section, values):
        if self.numbers[id(section)]:
            self._warn(section, ": ignoring duplicate defaults section")
            return
        self.policy = {hook: values[hook] for hook in ("input", "output", "forward")}
        self.drop_invalid = values["drop_invalid"]
        protect = values["synflood_protect"]
        # The old name counts where the new one is not there: parse_defaults() of fw4.uc.
        self.syn_flood = values["syn_flood"] if protect is None else protect

    def _zone(self, section, values):
        for hook in ("input", "output", "forward"):
            # An own policy, or the one of defaults: parse_zone() of fw4.uc.
            values[hook] = values[hook] or self.policy[hook]
        zone = Zone(values, self.devices)
        self.zones[zone.name] = zone

    def _family(self, section, family, others):
        """The family that an own word and what is referred to leave; False where they contradict each other, which is a
        warning (infer_family() of fw4.uc)."""
        for other, what in others:
            if not other or other == family:
                continue
            if family:
                self._warn(section, f"is restricted to IPv{family} but referenced {what} is IPv{other} only, skipping")
                return False
            family = other
        return family

    def _zones_of(self, values):
        """The families of the zones that a section names."""
        named = (("src", "source zone"), ("dest", "destination zone"))
        return [(values[end].family, what) for end, what in named if isinstance(values[end], Zone)]

    def _forwarding(self, section, values):
        source, target = values["src"], values["dest"]
        family = self._family(section, values["family"], self._zones_of(values))
        if family is False:
            return
        chain = "forward" if source == options.ANY else f"forward_{source.name}"
        if target == options.ANY:
            self._add(chain, of_family(family) + "accept")
        else:
            self._add(chain, f"{of_family(family)}jump accept_to_{target.name}")
            target.verdicts_to.add("accept")

    def _rule(self, section, values):
        """parse_rule() of fw4.uc."""
        source, target, verdict = values["src"], values["dest"], values["target"]
        if verdict not in (None, *VERDICTS):
            raise LabError(f"{section}: the lab has no meaning for target '{verdict}'")
        hook = "output" if source is None else "input" if target is None else "forward"
        zone = source if source is not None else target
        chain = f"{hook}_{zone.name}" if isinstance(zone, Zone) else hook
        if verdict and isinstance(target, Zone):
            verdict, wanted = f"jump {verdict}_to_{target.name}", verdict
        else:
            verdict, wanted = REJECT if verdict == "reject" else verdict or "", None
        for match in self._matches(section, values):
            # Without a target a rule counts, and the next one decides.
            self._add(chain, f"{match}{limit_of(values)}counter {verdict}".strip())
            if wanted:
                target.verdicts_to.add(wanted)

    def _matches(self, section, values):
        """What a rule looks for: one text for each protocol, and for each family where they can't be told of in one."""
        found = []
        for protocol in values["proto"]:
            addresses = {end: options.by_family(values[end]) for end in ("src_ip", "dest_ip")}
            types = values["icmp_type"] or [] if protocol in options.ICMP else []
            of_icmp = {6: [kind[6] for kind in types if 6 in kind]}
            of_icmp[4] = [kind[4] for kind in types if 4 in kind] if protocol == "icmp" else []
            family = 6 if protocol == "ipv6-icmp" else values["family"]
            referred = [(options.family_of(addresses[end]), f"{word} IP") for end, word in options.ENDS]
            family = self._family(section, family, referred + self._zones_of(values))
            if family is False:
                continue
            special = {which: bool(of_icmp[which] or any(addresses[end][which] for end in addresses)) for which in (4, 6)}
            if family is None:
                # Not said: what is looked for says it, if it is of one family alone.
                family = 0 if special[4] == special[6] else 4 if special[4] else 6
            if not family and not special[4] and not special[6]:
                found.append(match_of(0, protocol, values, {}, ""))
                continue
            for which in (4, 6) if not family else (family,):
                mine = {end: addresses[end][which] for end in addresses}
                for kinds in icmp_of(which, of_icmp[which]):
                    found.append(match_of(which, protocol, values, mine, kinds))
        return found

    def _redirect(self, section, values):
        """parse_redirect() of fw4.uc."""
        source, target, verdict = values["src"], values["dest"], values["target"]
        if verdict == "snat":
            raise LabError(f"{section}: the lab has no meaning for target 'snat'")
        if verdict not in (None, "dnat"):
            self._warn(section, "has invalid target specified, defaulting to dnat")
        if source is None:
            self._warn(section, "has no source specified")
            return
        if source == options.ANY:
            self._warn(section, "must not have source '*' for dnat target")
            return
        if isinstance(target, Zone) and source.masq:
            # Made ready for reflection, though without an address there is nothing to reflect.
            target.verdicts_to.add("accept")
            target.dnat = target.snat = True
        source.dnat = True
        arrives, leads = values["src_dport"], values["dest_port"] or values["src_dport"]
        for protocol in values["proto"]:
            family = self._family(section, values["family"], self._zones_of(values))
            if family is False:
                continue
            # Not said means IPv4 alone, and 'any' both (recorded: redirect-family.txt).
            match = of_family(4 if family is None else family)
            if protocol in options.ICMP:
                raise LabError(f"{section}: the lab has no meaning for proto '{protocol}'")
            to = ""
            if protocol in options.WITH_PORTS and leads:
                match += f"{protocol} dport {arrives} " if arrives else ""
                to = f" to {leads}"
            elif protocol not in options.EVERYTHING:
                match += f"meta l4proto {protocol} "
            # Without dest_ip it is the router itself that is meant.
            self._add(f"dstnat_{source.name}", f"{match}counter redirect{to}")

    def _chain(self, name, lines, kind=None, policy="accept"):
        head = [f"\t\ttype {kind}; policy {policy};"] if kind else []
        return [f"\tchain {name} {{", *head, *(f"\t\t{line}" for line in lines), "\t}"]

    def _hook(self, hook, up):
        """The chain that is hooked in: ruleset.uc."""
        side, loopback = ("oifname", 'oif "lo" accept') if hook == "output" else ("iifname", 'iif "lo" accept')
        invalid = ", invalid : drop" if self.drop_invalid else ""
        lines = [loopback] if hook != "forward" else []
        lines += [f"ct state vmap {{ established : accept, related : accept{invalid} }}"]
        if hook == "input" and self.syn_flood:
            lines += ["tcp flags & (fin | syn | rst | ack) == syn jump syn_flood"]
        lines += self.rules.get(hook, [])
        lines += [f"{zone.match(side)}jump {hook}_{zone.name}" for zone in up]
        policy = self.policy[hook]
        lines += [REJECT] if policy == "reject" else []
        return self._chain(hook, lines, f"filter hook {hook} priority filter", "drop" if policy == "reject" else policy)

    def _of_zone(self, zone):
        """A zone's chains in the filter hooks: ruleset.uc."""
        chains = []
        for hook, direction in (("input", "from"), ("output", "to"), ("forward", "to")):
            rules = list(self.rules.get(f"{hook}_{zone.name}", []))
            # Last before the policy: what was redirected.
            rules += ["ct status dnat accept"] if zone.dnat and hook != "output" else []
            rules += [f"jump {zone.policy[hook]}_{direction}_{zone.name}"]
            chains += self._chain(f"{hook}_{zone.name}", rules)
        for direction, side, wanted in (("from", "iifname", zone.verdicts_from), ("to", "oifname", zone.verdicts_to)):
            for verdict in VERDICTS:
                if verdict in wanted:
                    chains += self._chain(f"{verdict}_{direction}_{zone.name}", self._verdict(zone, verdict, side))
        return chains

    def _verdict(self, zone, verdict, side):
        """What a zone's policy, or a rule to a zone, comes to: about its own devices only."""
        if not zone.devices:
            return []
        lines = [f"{zone.match(side)}counter {REJECT if verdict == 'reject' else verdict}"]
        if side == "oifname" and verdict == "accept" and zone.masq and not self.drop_invalid:
            # What connection tracking has not understood would leave with the LAN's own address: zone-drop-invalid.uc.
            lines.insert(0, f"{of_family(4)}oifname {zone.devices} ct state invalid counter drop")
        return lines

    def text(self):
        """The table, to be loaded in place of an older one."""
        lines = ["table inet fw4", "flush table inet fw4", "table inet fw4 {"]
        up = [zone for zone in self.zones.values() if zone.devices]
        for hook in ("input", "forward", "output"):
            lines += self._hook(hook, up)
        reject = ["meta l4proto tcp reject with tcp reset", "reject with icmpx type port-unreachable"]
        lines += self._chain("handle_reject", reject)
        if self.syn_flood:
            # 25 a second, 50 at once: parse_defaults() of fw4.uc.
            lines += self._chain("syn_flood", ["limit rate 25/second burst 50 packets return", "drop"])
        for zone in self.zones.values():
            lines += self._of_zone(zone)
        for nat, side, hook in (("dstnat", "iifname", "prerouting"), ("srcnat", "oifname", "postrouting")):
            zones = [zone for zone in self.zones.values() if (zone.dnat if nat == "dstnat" else zone.snat)]
            jumps = [f"{zone.match(side)}jump {nat}_{zone.name}" for zone in zones if zone.devices]
            lines += self._chain(nat, jumps, f"nat hook {hook} priority {nat}")
            for zone in zones:
                # masq is about IPv4: zone-masq.uc.
                masquerade = [of_family(4) + "masquerade"] if nat == "srcnat" and zone.masq else []
                lines += self._chain(f"{nat}_{zone.name}", self.rules.get(f"{nat}_{zone.name}", []) + masquerade)
        for hook, side in (("postrouting", "oifname"), ("forward", "iifname")):
            fixed = [f"{zone.match(side)}{SYN} tcp option maxseg size set rt mtu" for zone in up if zone.mtu_fix]
            lines += self._chain(f"mangle_{hook}", fixed, f"filter hook {hook} priority mangle")
        return "\n".join([*lines, "}", ""])


def limit_of(values):
    """How often a rule applies."""
    if values["limit"] is None:
        return ""
    burst = f" burst {values['limit_burst']} packets" if values["limit_burst"] else ""
    return f"limit rate {values['limit']}{burst} "


def icmp_of(family, kinds):
    """What looks for types of ICMP: those with all their codes, then those with one; once nothing where there are none."""
    name = "icmp" if family == 4 else "icmpv6"
    types = [str(kind) for kind, code in kinds if code is None]
    codes = [f"{kind} . {code}" for kind, code in kinds if code is not None]
    found = [f"{name} type {one_or_set(types)} "] if types else []
    found += [f"{name} type . {name} code {{ {', '.join(codes)} }} "] if codes else []
    return found or [""]


def match_of(family, protocol, values, addresses, kinds):
    """What one rule looks for: rule.uc. `addresses`: those of the family, by option; `kinds`: of ICMP."""
    # Ports count with TCP and UDP; with any other protocol they are passed over in silence.
    ports = [(word, values[option]) for option, word in options.PORTS if values[option] and protocol in options.WITH_PORTS]
    text = "" if any(addresses.values()) else of_family(family)
    if protocol not in options.EVERYTHING and not ports and not kinds:
        plain = {0: '{ "icmp", "ipv6-icmp" }', 4: "icmp", 6: "ipv6-icmp"}[family] if protocol == "icmp" else protocol
        text += f"meta l4proto {plain} "
    for option, word in (("src_ip", "saddr"), ("dest_ip", "daddr")):
        if addresses.get(option):
            text += f"{'ip' if family == 4 else 'ip6'} {word} {one_or_set(addresses[option])} "
    for word, wanted in ports:
        text += f"{protocol} {word} {one_or_set(wanted)} "
    return text + kinds
