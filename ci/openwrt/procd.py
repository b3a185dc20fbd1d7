# SPDX-License-Identifier: GPL-2.0-only
"""What procd makes of a message of stand-in/procd.sh, as `ubus call service list` says it (procd's service/service.c and
service/instance.c), and what the real one said, recorded/RELEASE/service/list.txt.

The recordings are of 2026-11-27: procd 7330fa5 with OpenWrt 24.10 (207bfee855), and 7e5b324 with 25.12 (c504cbd47c), built
from their sources, as pid 1 beside ubusd, netifd, rpcd and ujail, with the package of b3bb9a5. what-procd-does.txt beside it
has what followed of signals, restarts and kills. There was no /sbin/validate_data, hence no "validate" in them."""
import json
import re
from pathlib import Path

RECORDED = Path(__file__).resolve().parent / "recorded"
RELEASES = ("24.10", "25.12")
JAIL_FLAGS = ("procfs", "sysfs", "ubus", "log", "ronly", "netns", "userns", "cgroupsns")
# Of a process, and so of one moment.
MOMENTARY = ("running", "pid", "exit_code")


def instance(parameters):
    """One instance, but for what is of a process. Only what is asked for is shown, `file`, `stdout` and `stderr` never are."""
    shown = {"command": parameters["command"], "term_timeout": parameters.get("term_timeout", 5)}
    if "respawn" in parameters:
        shown["respawn"] = dict(zip(("threshold", "timeout", "retry"), map(int, parameters["respawn"])))
    if parameters.get("no_new_privs"):
        shown["no_new_privs"] = True
    shown.update({name: parameters[name] for name in ("capabilities", "user", "group") if name in parameters})
    if "jail" in parameters:
        jail = parameters["jail"]
        flags = {flag: jail.get(flag, False) for flag in JAIL_FLAGS}
        shown["jail"] = {"name": jail["name"], **flags, "console": False}
    return shown


def listed(message, verbose=False):
    """The service. Validators come the other way round, as each is put before the last one; their options are sorted."""
    shown = {}
    if message["instances"]:
        shown["instances"] = {name: instance(found) for name, found in message["instances"].items()}
    if verbose:
        shown["triggers"] = message["triggers"]
        rules = [
            {"package": found["package"], "type": found["type"], "rules": dict(sorted(found["data"].items()))}
            for found in reversed(message.get("validate", []))
        ]
        shown.update({"validate": rules} if rules else {})
    return {message["name"]: shown}


def recorded(release):
    """What the real one said, by the headings of the recording, but for what is of a process."""
    found = {}
    text = (RECORDED / release / "service/list.txt").read_text()
    for part in re.split(r"(?m)^## ", text)[1:]:
        heading, rest = part.split("\n", 1)
        services, _ = json.JSONDecoder().raw_decode(rest)
        for service in services.values():
            for one in service.get("instances", {}).values():
                for name in MOMENTARY:
                    one.pop(name, None)
        found[heading] = services
    return found
