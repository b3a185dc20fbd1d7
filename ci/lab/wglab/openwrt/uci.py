# SPDX-License-Identifier: GPL-2.0-only
"""A package of UCI, as `uci export` prints it."""
import shlex
from dataclasses import dataclass, field

from ..lab import LabError

FALSE = ("0", "no", "off", "false", "disabled")  # ubox's uci_validate; everything else that is there is true


@dataclass
class Section:
    """One section."""

    package: str
    kind: str
    name: str  # "" for one without
    options: dict = field(default_factory=dict)  # a list stays a list

    def __str__(self):
        label = self.options.get("name", "") if not self.name else self.name
        return f"{self.package}: config {self.kind} '{label}'"

    def get(self, option, default=None):
        """An option's text."""
        value = self.options.get(option, default)
        return " ".join(value) if isinstance(value, list) else value

    def words(self, option):
        """A list, or an option that holds several words, as older files have it."""
        value = self.options.get(option, [])
        return value if isinstance(value, list) else value.split()

    def flag(self, option, default=False):
        """A boolean."""
        value = self.options.get(option)
        return default if value is None else value not in FALSE

    def one_of(self, option, values, default):
        """An option that has only these values here."""
        value = self.get(option, default)
        if value not in values:
            raise LabError(f"{self}: the lab has no meaning for {option} '{value}'")
        return value

    def known(self, *names):
        """Fails when there is an option that is none of these."""
        unknown = sorted(set(self.options) - set(names))
        if unknown:
            raise LabError(f"{self}: the lab has no meaning for option {', '.join(unknown)}")


def parse(text):
    """The sections of one package. Values are quoted as a shell does, over several lines where need be."""
    words = shlex.split(text)
    words.reverse()
    sections = []
    package = ""
    while words:
        word = words.pop()
        if word == "package":
            package = words.pop()
        elif word == "config":
            section = Section(package, words.pop(), "")
            if words and words[-1] not in ("config", "option", "list", "package"):
                section.name = words.pop()
            sections.append(section)
        elif word in ("option", "list"):
            name, value = words.pop(), words.pop()
            if word == "list":
                sections[-1].options.setdefault(name, []).append(value)
            else:
                sections[-1].options[name] = value
        else:
            raise LabError(f"this is not what uci export prints: {word}")
    return sections
