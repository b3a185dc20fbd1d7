# SPDX-License-Identifier: GPL-2.0-only
"""Plays one scenario and reports it as a dict that becomes a line of JSON."""
import time
import traceback
from pathlib import Path

from .lab import Lab, LabError
from .scenarios import SCENARIOS


HERE = Path(__file__).parent


def in_a_line(error):
    """What went wrong, for a line that may be cut: first the lab's step, from the scenario down to where it failed."""
    if isinstance(error, LabError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    # Frames of the lab's own, less this file's: the scenario is the first one.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if HERE in Path(frame.filename).parents]
    frames = [frame for frame in frames if frame.filename != __file__]
    if not frames:
        return text
    steps = " > ".join(frame.name for frame in frames)
    return f"in {steps} ({Path(frames[-1].filename).name}:{frames[-1].lineno}): {text}"


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
    if scenario.beside is not None:
        report["beside_s"] = scenario.beside
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
                if settings.with_ == "wgroam" and reach is None:  # others must do better than never, too
                    stage.check(recovery is not None, f"silent for longer than {settings.limit:.0f} s")
                if reach is not None:
                    stage.check(recovery is not None and recovery <= reach, f"silent for longer than {reach} s")
                report["ok"] = not stage.problems
                report.update(stage.details, problems=stage.problems)
            finally:
                if stage is not None:
                    stage.close()
                    if not report["ok"]:
                        report["logs"] = stage.logs()
    # Whatever it was, and not only what the lab foresees: who reads the log of many runs sees a line of each.
    except Exception as error:
        report["problems"] = [*(stage.problems if stage is not None else ()), in_a_line(error)]
        if not isinstance(error, (LabError, OSError)):
            report["traceback"] = traceback.format_exc().splitlines()
    report["took_s"] = round(time.monotonic() - begun, 1)
    return report
