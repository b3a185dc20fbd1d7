# SPDX-License-Identifier: GPL-2.0-only
"""What others run on R1 instead of wgroam. Each is a function of R1 and its endpoint as configured (HOST:PORT) that
starts it and returns in how many seconds it acts for the first time: cron has its own idea of when, so it is random."""
import random
from pathlib import Path

from .lab import LabError

# Where Debian's wireguard-tools have it; the documentation of slimmed-down images lacks it.
RERESOLVE = Path("/usr/share/doc/wireguard-tools/examples/reresolve-dns/reresolve-dns.sh")
RERESOLVE_SECONDS = 30  # its README: "every thirty seconds or so"
WATCHDOG = Path(__file__).resolve().parents[1] / "watchdog-model"
WATCHDOG_SECONDS = 60  # as OpenWrt's documentation of wireguard_watchdog has it in the crontab


def _each(router, seconds, *command):
    first = random.uniform(0, seconds)
    loop = 'first=$1 each=$2; shift 2; sleep "$first"; while :; do "$@"; sleep "$each"; done'
    router.start("sh", "-c", loop, "cron", f"{first:.2f}", seconds, *command)
    return first


def reresolve(router, endpoint):
    """wireguard-tools' own script."""
    if not RERESOLVE.exists():
        raise LabError(f"there is no {RERESOLVE}; it comes with the Debian package wireguard-tools")
    config = router.lab.folder / f"{router.device.name}.conf"
    config.write_text(f"[Interface]\n[Peer]\nPublicKey = {router.peer}\nEndpoint = {endpoint}\n")
    return _each(router, RERESOLVE_SECONDS, "bash", RERESOLVE, config)


def watchdog(router, endpoint):
    """A model of OpenWrt's wireguard_watchdog."""
    return _each(router, WATCHDOG_SECONDS, "sh", WATCHDOG, router.device.name, router.peer, endpoint)


RIVALS = {"reresolve": reresolve, "watchdog": watchdog}
