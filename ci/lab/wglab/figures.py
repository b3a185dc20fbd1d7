# SPDX-License-Identifier: GPL-2.0-only
"""What the bench's runs say: medians, a table for people, a plot that is understood at a glance."""
import math
import statistics
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

CONTENDERS = {  # name -> (words, colour)
    "wgroam": ("wgroam", "#0b7a4b"),
    "nothing": ("WireGuard alone", "#8c8c8c"),
    "reresolve": ("reresolve-dns.sh, every 30 s", "#d98b2b"),
    "watchdog": ("the watchdog's policy, every 60 s", "#b5534a"),
}


@dataclass
class Cell:
    """All runs of one scenario with one contender, in seconds; math.inf for never."""

    silences: list
    limit: float  # seconds after which a silence counted as never
    problems: list
    reach: float = None  # seconds: what wgroam has to keep
    beside: float = None  # seconds: it may be so much slower than WireGuard alone
    refused_after: list = field(default_factory=list)  # seconds until the first refusal, in dead-tunnel

    @property
    def median(self):
        """The lower one of two, so that it is a run's."""
        return statistics.median_low(self.silences)

    @property
    def worst(self):
        """The longest."""
        return max(self.silences)


def cells(reports):
    """{(scenario, contender): Cell} of the runs' reports; a run that failed counts as a problem, not as a silence."""
    result = {}
    for report in reports:
        key = report["scenario"], report["with"]
        cell = result.setdefault(key, Cell([], report["limit_s"], [], report["reach_s"], report.get("beside_s")))
        failed = "endpoint_after" not in report  # it did not come to its end
        if not failed:
            cell.silences.append(math.inf if report["recovery_s"] is None else report["recovery_s"])
            if "refused_after_s" in report:
                cell.refused_after.append(report["refused_after_s"])
        if failed or not report["ok"]:
            cell.problems += report.get("problems", ["?"])
    return result


def compare(table):
    """Notes where wgroam is slower than WireGuard alone by more than it may be, by the medians."""
    for (scenario, with_), ours in table.items():
        alone = table.get((scenario, "nothing"))
        if with_ != "wgroam" or ours.beside is None or not ours.silences or alone is None or not alone.silences:
            continue
        if ours.median > alone.median + ours.beside:
            more = f"more than {ours.beside:g} s slower than WireGuard alone"
            ours.problems.append(f"{seconds(ours.median, ours.limit)} s, {more}, {seconds(alone.median, alone.limit)} s")


def mark(cell, alone):
    """What wgroam has to keep, in seconds, for the plot; None where nobody knows. `alone`: the cell of WireGuard alone."""
    marks = [] if cell.reach is None else [cell.reach]
    if cell.beside is not None and alone is not None and alone.silences:
        marks.append(alone.median + cell.beside)
    return min(marks, default=None)


def bound(cell):
    """What wgroam has to keep, in words; None for a cell of others."""
    words = [] if cell.reach is None else [f"{cell.reach:g}"]
    words += [f"alone + {cell.beside:g}"] if cell.beside is not None else []
    return ", ".join(words)


def seconds(value, limit):
    """A silence in words."""
    if math.isinf(value):
        return f"> {limit:.0f}"
    if value < 0.1:
        return f"{value:.3f}"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def ratio(scenario, table):
    """How many times longer than with wgroam the silence is with the best of the others, by the medians."""
    ours = table.get((scenario, "wgroam"))
    others = [cell for (name, with_), cell in table.items() if name == scenario and with_ != "wgroam" and cell.silences]
    if not ours or not ours.silences or not others or math.isinf(ours.median):
        return "-"
    best = min(others, key=lambda cell: cell.median)
    never = math.isinf(best.median)
    times = (best.limit if never else best.median) / max(ours.median, 0.001)
    return f"{'> ' if never else ''}{times:.1f}" if times < 10 else f"{'> ' if never else ''}{times:.0f}"


def entry(cell):
    """A cell of the table."""
    if cell is None:
        return "-"
    if not cell.silences:
        return "failed"
    text = f"{seconds(cell.median, cell.limit)} ({seconds(cell.worst, cell.limit)}; {len(cell.silences)})"
    return text + (" **!**" if cell.problems else "")


def markdown(scenarios, table, about, plot):
    """The page. `scenarios`: name -> what happens; `about`: what ran, name -> words; `plot`: the picture's file name."""
    lines = [
        "# Benchmarks",
        "",
        f"![How long the tunnel is silent, with wgroam and without]({plot})",
        "",
        "Seconds from the disturbance to the first answer through the tunnel: **median (worst; runs)**. `> 240` is never: so long",
        "were waited. **alone + 2**: at most 2 s more than WireGuard alone. In dead-tunnel it is how long a connection hangs until it is refused. The last column says how many times",
        "longer than with wgroam it takes with the best of the others. **!** marks what did not keep its reach or failed a check.",
        "",
        "| scenario | wgroam has to reach | " + " | ".join(words for words, _ in CONTENDERS.values()) + " | ratio |",
        "|---|---|" + "---|" * (len(CONTENDERS) + 1),
    ]
    for name in scenarios:
        row = [table.get((name, with_)) for with_ in CONTENDERS]
        reach = bound(row[0]) if row[0] else "-"
        lines.append(f"| {name} | {reach} | " + " | ".join(map(entry, row)) + f" | {ratio(name, table)} |")
    for name in scenarios:
        found_out = getattr(table.get((name, "wgroam")), "refused_after", None)
        if found_out:
            lines += ["", f"In {name} wgroam needs a while to be sure that the tunnel is dead: the first refusal came"]
            lines += [f"{statistics.median(found_out):.1f} s after R2 was gone, {max(found_out):.1f} s at worst. Until then a connection hangs."]
    lines += ["", "What happens in each:", ""]
    lines += [f"- **{name}**: {text}" for name, text in scenarios.items()]
    lines += ["", "## How it was measured", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {words} |" for name, words in about.items()]
    lines += ["", NOTES]
    problems = [f"- {name}, {with_}: {text}" for (name, with_), cell in table.items() for text in sorted(set(cell.problems))]
    if problems:
        lines += ["", "## What was not good", "", *problems]
    return "\n".join(lines) + "\n"


NOTES = """\
- The same network, the same WireGuard, the same moments: the runs of a scenario happen to a tunnel that has been up for 0, 24,
  48, 72 and 96 s, as the scripts wait until the last handshake is 135 or 150 s old. Cron's moment is random.
- Waiting is done side by side: several worlds at once, on one machine. They are set up one by one, and none in the first 8 s of a
  silence with wgroam. A silence is measured by echo requests, 30 ms apart at first, and 1 % of it later.
- What is silent for longer is played less often; how many runs there were stands in the table.
- reresolve-dns.sh is wireguard-tools' own, as Debian installs it. The watchdog is a model of OpenWrt's wireguard_watchdog in
  twenty lines (ci/lab/watchdog-model). Both run on R1 only, and know one name and one port, as their configuration does.
- anchor-restart differs from anchor-reboot only in what wgroam does, as do those called probe or probed from the scenario
  before: the others' figures are the same runs.
- What the labs can't show is in [design/labs.md](design/labs.md)."""

LEFT, RIGHT, WIDTH = 185, 118, 1000  # pixels
BAR, WORDS, GAP, HEAD, FOOT = 11, 17, 14, 100, 58
LETTER = 6.3  # pixels: how wide one is, about
SHORTEST, LONGEST = 0.01, 400  # seconds: the axis
LEGEND = "The axis is logarithmic. Bar: median of the runs. Thin line: up to the worst one. Lighter: it was still silent when we stopped waiting."


def place(value):
    """Where on the axis a silence lies, in pixels."""
    share = (math.log10(max(value, SHORTEST * 1.15)) - math.log10(SHORTEST)) / math.log10(LONGEST / SHORTEST)
    return LEFT + (WIDTH - LEFT - RIGHT) * min(share, 1)


def svg(scenarios, table, subtitle):
    """The plot: what happens in each scenario, and a group of bars below that."""
    group = WORDS + BAR * len(CONTENDERS) + GAP
    bottom = HEAD + group * len(scenarios)
    height = bottom + FOOT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(16, 26, "How long is the tunnel silent?  Shorter is better.", size=18, weight="bold"),
        text(16, 46, subtitle, colour="#555555"),
    ]
    x = 16
    for words, colour in CONTENDERS.values():
        out += [f'<rect x="{x}" y="58" width="12" height="12" fill="{colour}"/>', text(x + 17, 68, words)]
        x += 40 + LETTER * len(words)
    out += [f'<rect x="{x}" y="57" width="2" height="14" fill="#000000"/>', text(x + 8, 68, "what wgroam has to reach")]
    for tick, words in ((0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (60, "1 min"), (240, "4 min")):
        at = LEFT if tick == SHORTEST else place(tick)
        out.append(f'<line x1="{at:.1f}" y1="{HEAD - 8}" x2="{at:.1f}" y2="{bottom}" stroke="#dddddd"/>')
        out.append(text(at, bottom + 15, words, colour="#555555", anchor="middle"))
    out.append(text(LEFT, bottom + 34, LEGEND, colour="#555555"))
    for row, name in enumerate(scenarios):
        top = HEAD + row * group
        out.append(f'<line x1="16" y1="{top - 4}" x2="{WIDTH - 16}" y2="{top - 4}" stroke="#eeeeee"/>')
        out.append(text(16, top + 11, name, size=12, weight="bold"))
        out.append(text(LEFT, top + 11, scenarios[name], colour="#555555"))
        for place_in_group, (with_, (_, colour)) in enumerate(CONTENDERS.items()):
            cell = table.get((name, with_))
            if cell is not None:
                kept = mark(cell, table.get((name, "nothing"))) if with_ == "wgroam" else None
                out += bar(cell, top + WORDS + place_in_group * BAR, colour, with_ == "wgroam", kept)
    return "\n".join(out + ["</svg>"]) + "\n"


def bar(cell, y, colour, ours, kept):
    """One bar, with a mark at what has to be `kept`, and its value; where a silence was not waited for to its end it goes on in a lighter colour."""
    middle = y + BAR / 2 - 0.5
    if not cell.silences:
        return [text(LEFT + 4, middle + 4, "the run failed", colour=colour)]
    never = math.isinf(cell.median)
    to, worst, end = place(cell.limit if never else cell.median), place(cell.worst), WIDTH - RIGHT
    out = [f'<rect x="{LEFT}" y="{y}" width="{to - LEFT:.1f}" height="{BAR - 1}" fill="{colour}"/>']
    if never:
        onward = f"M{to:.1f} {y} H{end} V{y - 2} L{end + 10} {middle} L{end} {y + BAR + 1} V{y + BAR - 1} H{to:.1f} Z"
        out.append(f'<path d="{onward}" fill="{colour}" fill-opacity="0.45"/>')
        words, at = f"never in {cell.limit:.0f} s", end + 14
    else:
        out.append(f'<line x1="{to:.1f}" y1="{middle}" x2="{worst:.1f}" y2="{middle}" stroke="{colour}" stroke-width="2"/>')
        words = seconds(cell.median, cell.limit) + " s" + (", or never" if math.isinf(cell.worst) else "")
        at = max(to, worst) + 5
    if kept is not None and not math.isinf(kept):
        tick = place(kept)
        out.append(f'<rect x="{tick - 1:.1f}" y="{y - 2}" width="2" height="{BAR + 3}" fill="#000000"/>')
        if at - 5 <= tick <= at + (LETTER + 1) * len(words):
            at = tick + 5
    return out + [text(at, middle + 4, words, weight="bold" if ours else "normal")]


def text(x, y, words, size=11, weight="normal", colour="#222222", anchor="start"):
    """Words in the plot."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )
