# SPDX-License-Identifier: GPL-2.0-only
"""How firewall4 reads an option: what it takes, what it warns of and passes over, and what makes it skip the whole section.
From parse_options() and the parse_*() of fw4.uc (root/usr/share/ucode/fw4.uc; fw4.py says of which versions); recorded in
ci/openwrt/recorded/24.10/fw4, odd.uci to odd.check."""
import ipaddress
import re

from ..lab import LabError

ANY = "*"  # as a zone: all of them
EVERYTHING = ("all", "any", "*")  # as a protocol
WITH_PORTS = ("tcp", "udp")
ICMP = ("icmp", "ipv6-icmp")
ALIASES = {"1": "icmp", "58": "ipv6-icmp", "icmpv6": "ipv6-icmp", "6": "tcp", "17": "udp"}
ENDS = (("src_ip", "source"), ("dest_ip", "destination"))
PORTS = (("src_port", "sport"), ("dest_port", "dport"))
TARGETS = ("accept", "reject", "drop", "notrack", "helper", "mark", "dscp", "dnat", "snat", "masquerade")
UNITS = ("second", "minute", "hour", "day")

DISABLED = "is disabled, ignoring section"
KINDS_NOT_PLAYED = ("include", "ipset", "helper", "nat")

# The types of ICMP that a rule may name, by family, each with its code; None is any code. fw4 asks IPv4's type of the same name
# whether the code counts: a type of ICMPv6 alone is matched with one code, its first (parse_rule() of fw4.uc; recorded in
# anchor.nft: 2 . 0, 135 . 0 and 136 . 0).
ICMP_TYPES = {
    "echo-reply": {4: (0, None), 6: (129, None)},
    "echo-request": {4: (8, None), 6: (128, None)},
    "destination-unreachable": {4: (3, None), 6: (1, None)},
    "fragmentation-needed": {4: (3, 4)},
    "time-exceeded": {4: (11, None), 6: (3, None)},
    "packet-too-big": {6: (2, 0)},
    "parameter-problem": {4: (12, None), 6: (4, None)},
    "bad-header": {6: (4, 0)},
    "unknown-header-type": {6: (4, 1)},
    "router-solicitation": {4: (10, None), 6: (133, None)},
    "router-advertisement": {4: (9, None), 6: (134, None)},
    "neighbour-solicitation": {6: (135, 0)},
    "neighbour-advertisement": {6: (136, 0)},
}


class Unsupported:
    """Marks an option that fw4 knows and warns of: it has no effect."""


def first_of(words):
    """A reader for one of these words, or its beginning, in capitals or not: 'REJ' is reject."""

    def read(text):
        return next((word for word in words if word.startswith(text.lower())), None)

    return read


def boolean(text):
    """Only these words; 'enabled' is none of them, though others of OpenWrt take it."""
    return {"1": True, "on": True, "true": True, "yes": True, "0": False, "off": False, "false": False, "no": False}.get(text)


def family(text):
    """0 is both."""
    if text in EVERYTHING:
        return 0
    return 4 if text == "inet" or "4" in text else 6 if "6" in text else None


def identifier(text):
    """A name of a zone."""
    return text if re.fullmatch(r"[a-zA-Z_.][a-zA-Z0-9/_.-]*", text) else None


def port(text):
    """One port, or a range of them."""
    found = re.fullmatch(r"([0-9]{1,5})(?:[-:]([0-9]{1,5}))?", text)
    if not found:
        return None
    least, most = int(found[1]), int(found[2] or found[1])
    return (f"{least}-{most}" if least < most else f"{least}") if least <= most <= 65535 else None


def number(text):
    """A whole number."""
    return int(text) if text.isdigit() else None


def limit(text):
    """So many in a while, in nftables' words; the unit may be cut short, and is a second where there is none."""
    found = re.fullmatch(r"([0-9]+)(?:/([a-z]+))?", text)
    unit = first_of(UNITS)(found[2] or "second") if found else None
    return f"{found[1]}/{unit}" if unit else None


def protocol(text):
    """The names that are one, or stand for two; any other goes to nftables as it is."""
    text = text.lower()
    return ["tcp", "udp"] if text == "tcpudp" else [ALIASES.get(text, text)]


def network(text):
    """An address or a prefix. fw4 knows ranges, masks and the networks of an interface as well."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise LabError(f"the lab has no meaning for the address '{text}' of a rule") from error
    return str(found) if found.prefixlen < found.max_prefixlen else str(found.network_address)


def icmp_type(text):
    """By family, a type with its code. A number is of both."""
    found = re.fullmatch(r"([0-9]+)(?:/([0-9]+))?", text)
    if not found:
        return ICMP_TYPES.get(text)
    kind, code = int(found[1]), int(found[2]) if found[2] else None
    return {4: (kind, code), 6: (kind, code)} if kind <= 255 and (code or 0) <= 255 else None


def text(value):
    """Whatever it is."""
    return value


zone = "zone"  # of those that there are
policy, target = first_of(("accept", "reject", "drop")), first_of(TARGETS)
REQUIRED = object()

# What each kind of section may say: option, its reader (in brackets: of each word of a list), and what it is when not said.
# In the order of fw4.uc, which is that of its warnings.
PLAYED = {
    "defaults": (
        *(("input", policy, "drop"), ("output", policy, "drop"), ("forward", policy, "drop"), ("drop_invalid", boolean, None)),
        *(("syn_flood", boolean, None), ("synflood_protect", boolean, None)),
        *(("custom_chains", Unsupported, None), ("disable_ipv6", Unsupported, None)),
    ),
    "zone": (
        *(("enabled", boolean, "1"), ("name", identifier, REQUIRED), ("family", family, None), ("network", [text], None)),
        *(("input", policy, None), ("output", policy, None), ("forward", policy, None), ("masq", boolean, None)),
        *(("extra", Unsupported, None), ("extra_src", Unsupported, None), ("extra_dest", Unsupported, None)),
        *(("mtu_fix", boolean, None), ("custom_chains", Unsupported, None)),
    ),
    "forwarding": (
        *(("enabled", boolean, "1"), ("name", text, None), ("family", family, None)),
        *(("src", zone, REQUIRED), ("dest", zone, REQUIRED)),
    ),
    "rule": (
        *(("enabled", boolean, "1"), ("name", text, None), ("family", family, None), ("src", zone, None), ("dest", zone, None)),
        *(("proto", [protocol], "tcpudp"), ("src_ip", [network], None), ("src_port", [port], None)),
        *(("dest_ip", [network], None), ("dest_port", [port], None), ("icmp_type", [icmp_type], None)),
        *(("extra", Unsupported, None), ("limit", limit, None), ("limit_burst", number, None)),
        *(("monthdays", Unsupported, None), ("target", target, None)),
    ),
    "redirect": (
        *(("enabled", boolean, "1"), ("name", text, None), ("family", family, None), ("src", zone, None), ("dest", zone, None)),
        *(("proto", [protocol], "tcpudp"), ("src_dport", port, None), ("dest_port", port, None)),
        *(("extra", Unsupported, None), ("monthdays", Unsupported, None), ("target", target, None)),
    ),
}

# What fw4 knows and the lab does not play.
NOT_PLAYED = {
    "defaults": "tcp_reject_code any_reject_code synflood_rate synflood_burst flow_offloading_hw",
    "zone": "device subnet masq_allow_invalid masq_src masq_dest masq6 log log_limit auto_helper helper counter",
    "forwarding": "",
    "rule": "_name device direction ipset helper set_helper src_mac utc_time start_date stop_date start_time stop_time "
    "weekdays mark set_mark set_xmark dscp set_dscp counter log log_limit",
    "redirect": "_name ipset helper src_ip src_mac src_port src_dip dest_ip limit limit_burst utc_time start_date stop_date "
    "start_time stop_time weekdays mark reflection reflection_src reflection_zone counter log log_limit",
}
# Of `defaults`: what changes no rule, or, as flow_offloading, only how fast packets pass.
NO_RULES = (
    *("tcp_syncookies", "tcp_ecn", "tcp_window_scaling", "accept_redirects", "accept_source_route"),
    *("auto_helper", "auto_includes", "flow_offloading"),
)


def read(section, kind, zones, warn):
    """The options of a section, by name; None when fw4 skips it. `warn` is told why, as fw4 says it."""
    played = PLAYED[kind]
    found = sorted(set(NOT_PLAYED[kind].split()) & set(section.options))
    if found:
        raise LabError(f"{section}: the lab has no meaning for option {', '.join(found)}")
    values = {}
    for option, reader, default in played:
        said = section.options.get(option)
        if reader is Unsupported:
            if said is not None:
                warn(section, f"option '{option}' is not supported by fw4")
            continue
        try:
            values[option] = value_of(option, reader, said, default, zones)
        except ValueError as error:
            warn(section, str(error))
            warn(section, "skipped due to invalid options")
            return None
    for option in section.options:
        if option not in (name for name, _, _ in played) and not (kind == "defaults" and option in NO_RULES):
            warn(section, f"specifies unknown option '{option}'")
    if values.get("enabled") is False:
        warn(section, DISABLED)
        return None
    return values


def value_of(option, reader, said, default, zones):
    """One option's value: parse_opt() and parse_list() of fw4.uc."""
    if said is None and default is REQUIRED:
        raise ValueError(f"option '{option}' is mandatory but not set")
    said = default if said is None else said
    if said is None:
        return None
    if isinstance(reader, list):
        found = []
        for word in said if isinstance(said, list) else said.split():
            value = reader[0](word)
            if value is None:
                raise ValueError(f"option '{option}' specifies invalid value '{word}'")
            # A name may stand for several.
            found += value if isinstance(value, list) else [value]
        return found or None
    if isinstance(said, list):
        raise ValueError(f"option '{option}' must not be a list")
    # A zone that is not there, or was skipped, is an invalid value like any other.
    value = (said if said == ANY else zones.get(said)) if reader is zone else reader(said)
    if value is None:
        raise ValueError(f"option '{option}' specifies invalid value '{said}'")
    return value


def by_family(addresses):
    """The addresses of each family."""
    found = {4: [], 6: []}
    for address in addresses or ():
        found[6 if ":" in address else 4].append(address)
    return found


def family_of(addresses):
    """The family that all of these are of; 0 for none and for both."""
    return 0 if bool(addresses[4]) == bool(addresses[6]) else 4 if addresses[4] else 6
