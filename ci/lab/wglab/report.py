# SPDX-License-Identifier: GPL-2.0-only
"""Plays one scenario and reports it as a dict that becomes a line of JSON."""
import time

from .lab import Lab, LabError
from .scenarios import SCENARIOS


def play(name, settings, narrate):
    """Plays a scenario on a stage of its own. With wgroam it is ok when the silence is within reach; else, when it could
    be measured, however long it is; and either way when all that the scenario checks is good."""
    scenario = SCENARIOS[name]
    reach = scenario.reach_with(settings.wireguard) if settings.with_ == "wgroam" else None
    begun = time.monotonic()
    report = {
        "scenario": name,
        "wireguard": settings.wireguard,
        "with": settings.with_,
        "recovery_s": None,
        "ok": False,
        "limit_s": settings.limit,
        "reach_s": reach,
    }
    if scenario.lasts:
        report["lasts_s"] = settings.lasts
    if settings.age:
        report["age_s"] = settings.age
    stage = None
    try:
        with Lab(narrate, settings.gate) as lab:
            try:
                narrate(f"{name}: {scenario.text}")
                stage = scenario.stage(lab, settings, scenario.wgroam_on)
                recovery = scenario.play(stage)
                if recovery is not None:
                    report["recovery_s"] = round(recovery, 3)
                if reach is not None:
                    stage.check(recovery is not None and recovery <= reach, f"silent for longer than {reach} s")
                report["ok"] = not stage.problems
                report.update(stage.details, problems=stage.problems)
            finally:
                if stage is not None:
                    stage.close()
                    if not report["ok"]:
                        report["logs"] = stage.logs()
    except (LabError, OSError) as error:
        report["problems"] = [*(stage.problems if stage is not None else ()), str(error)]
    report["took_s"] = round(time.monotonic() - begun, 1)
    return report
