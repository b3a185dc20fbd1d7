# SPDX-License-Identifier: GPL-2.0-only
"""Invitations: what wgroam-setup writes is what the book says, a slip is named by its place, and no value gets any
further than its kind allows. And the arithmetic of prefixes, beside Python's."""

import ipaddress
import random
import re

from invitations import FIELDS, SECRETS, digits, forge
from samples import ANYBODYS, BAITS, KEY, NOBODYS, ONES_OWN
from setup_case import ANCHOR, SetupCase

JOIN = ("join", "--yes", "--wait", "0")
PARTS = "unset IFS; PROG=wgroam; for part in common values prefix uplink invitation; do . /usr/share/wgroam/setup/$part.sh; done; "
NAMES = """the name of the tunnel
the name of this roamer
the endpoints
the public key of the other end
the private key
the preshared key
the prefix
the addresses of the link
the MTU""".splitlines()


class Parts(SetupCase):
    """With the parts of wgroam-setup in one shell, called for each line of its input."""

    def each(self, call, lines):
        """What `call` printed for each line, which it has in $line."""
        script = PARTS + "while IFS= read -r line; do { (" + call + '); } < /dev/null 2>&1 | tr "\\n" " "; echo; done'
        ran = self.router().run("/bin/sh", "-c", script, stdin="".join(f"{line}\n" for line in lines))
        self.assertEqual(ran.stderr, "")
        found = [line.rstrip(" ") for line in ran.stdout.splitlines()]
        self.assertEqual(len(found), len(lines))
        return found


class Invitation(Parts):
    """The line."""

    def test_it_is_written_by_the_book(self):
        home = self.router()
        home.must(*ANCHOR, "--fallback-port", "443")
        found = home.must("invite", "r1").rstrip("\n")
        values = found.split("%")[2:-1:2]
        self.assertEqual(found, forge(**dict(zip(FIELDS, values, strict=True))))
        same = [name for name, value in zip(FIELDS, values, strict=True) if value == FIELDS[name]]
        self.assertEqual(same, ["tunnel", "roamer", "endpoints", "prefix", "link", "mtu"])

    def test_a_slip_is_named_by_its_field_and_columns(self):
        line = forge()
        columns = [at for at in range(0, len(line), 4) if line[at] != "%"]
        wrong = [line[:at] + ("x" if line[at] != "x" else "y") + line[at + 1 :] for at in columns]
        places = []
        start = len("wgroam1%0.1.0%")
        for part in zip(*[iter(line.split("%")[2:-1])] * 2):
            end = start + len("%".join(part))
            places.append((start, end))
            start = end + 1
        for at, message in zip(columns, self.each('read_invitation "$line"', wrong), strict=True):
            for number, (begin, end) in enumerate(places, 1):
                if begin <= at < end:
                    want = f"a slip in field {number} ({NAMES[number - 1]}), columns {begin + 1} to {end}:"
                    break
            else:
                want = "its last 8 digits" if at >= start else "wrong at column 9" if at > 7 else "no invitation"
            self.assertIn(want, message, f"column {at + 1}")
            self.assertFalse(any(secret in message for secret in SECRETS))

    def test_two_characters_that_changed_places_are_found(self):
        line = forge()
        at = line.index("51820")
        self.assertIn("field 3", self.each('read_invitation "$line"', [line[:at] + "15820" + line[at + 5 :]])[0])

    def test_a_line_that_was_cut_off_is_called_that(self):
        line = forge()
        lengths = [*range(16, len(line), 5), len(line) - 1]
        for length, message in zip(
            lengths, self.each('read_invitation "$line"', [line[:n] for n in lengths]), strict=True
        ):
            self.assertIn("ends too early", message, f"{length} characters")

    def test_other_lines_are_told_apart(self):
        line = forge()
        newer = "wgroam2%0.4.0%what%ever%comes"
        cases = {
            newer: "from a newer wgroam: wgroam 0.4.0 or later is needed here, this is 0.1.0",
            "wgroam12%1.10.3%x": "wgroam 1.10.3 or later",
            "wgroam2%$(reboot)%x": "this is no invitation",
            "wgroam%0.1.0%x": "this is no invitation",
            "hello": "this is no invitation",
            line + "x": "goes on behind its end",
            line.replace(
                "home.example", "home example"
            ): f"at column {line.index('.example') + 1}: copy it as one line",
            "wgroam1%": "wrong at column 9",
        }
        for (wrong, want), message in zip(
            cases.items(), self.each('read_invitation "$line"', list(cases)), strict=True
        ):
            self.assertIn(want, message, wrong)

    def test_a_value_is_of_its_kind_or_refused(self):
        names = ["", "Home", "a-b", "a.b", "1a", "a" * 12, "a_", "_a"]
        keys = ["", KEY[:-1], KEY + "=", "=" * 44, KEY[:42] + "B=", KEY[:20] + "." + KEY[21:]]
        wrong = {
            "tunnel": names,
            "roamer": names,
            "endpoints": [
                "",
                "h",
                "h:0",
                "h:1,",
                ",h:1",
                "h:1,,h:2",
                "[::1:1",
                "a_b:1",
                "1.2.3.4.5:1",
                ":1",
                ",".join(["h:1"] * 17),
            ],
            "public": keys,
            "private": keys,
            "shared": keys,
            "prefix": [
                "",
                "2001:db8::",
                "2001:db8::/65",
                "fd00::/64",
                "2001:db8::1/64",
                "::/0",
                "/64",
                "2001:db8::/064",
                "x",
            ],
            "link": [
                "",
                "fd00::1",
                "fd00::1,fd00::1",
                "fd00::1,fd01::2",
                "2001:db8::1,2001:db8::2",
                "fd00::1,fd00::2,fd00::3",
                ",",
            ],
            "mtu": ["", "1279", "9001", "01420", "14.2", "-1", "1420 "[:-1] + "_"],
        }
        lines = [(list(wrong).index(field) + 1, forge(**{field: value})) for field in wrong for value in wrong[field]]
        said = self.each('read_invitation "$line" && check_invitation && echo accepted', [line for _, line in lines])
        for (number, line), message in zip(lines, said, strict=True):
            self.assertIn(f"the invitation is wrong in field {number} ({NAMES[number - 1]})", message, line)
        good = [
            forge(),
            forge(endpoints="[2001:db8::1]:51820,192.0.2.1:1"),
            forge(prefix="2a02:1:2::/48"),
            forge(mtu="1280"),
            forge(tunnel="a1_b"),
        ]
        self.assertEqual(
            self.each('read_invitation "$line" && check_invitation && echo accepted', good), ["accepted"] * len(good)
        )

    def test_an_endpoint_that_is_nobodys_or_the_roamer_itself_is_refused(self):
        ports = [f"{host}:51820" for host in (*NOBODYS, *ONES_OWN)]
        wrong = [forge(endpoints=text) for one in ports for text in (one, f"h:1,{one}", f"{one},h:1")]
        said = self.each('read_invitation "$line" && check_invitation && echo accepted', wrong)
        for line, message in zip(wrong, said, strict=True):
            self.assertIn("the invitation is wrong in field 3 (the endpoints): ", message, line)
        good = [forge(endpoints=f"{host}:51820") for host in ANYBODYS]
        said = self.each('read_invitation "$line" && check_invitation && echo accepted', good)
        self.assertEqual(said, ["accepted"] * len(good))
        away = self.router()
        before = away.files()
        ran = away.setup(*JOIN, stdin=forge(endpoints="0.0.0.0:51820"))
        self.assertEqual((ran.returncode, ran.stdout, away.files()), (1, "", before))
        self.assertIn("say wgroam-setup anchor --host NAME on the router that invited, and invite anew", ran.stderr)
        self.assertNotIn("0.0.0.0", ran.stderr)

    def test_hostile_values_reach_neither_shell_nor_uci(self):
        away = self.router()
        before = away.files()
        baits = [*BAITS, "x'\nset network.lan.proto='none", "x'; commit", "home\tx", "é", "a%b", "\x1b[2J"]
        for field in FIELDS:
            for bait in baits if field in ("tunnel", "endpoints") else baits[::4]:
                for line in {forge(**{field: bait}), forge(**{field: FIELDS[field] + bait})}:
                    ran = away.setup(*JOIN, stdin=line)
                    self.assertEqual((ran.returncode, ran.stdout), (1, ""), line)
                    self.assertNotIn("\x1b", ran.stderr)
        self.assertEqual(away.files(), before)
        self.assertFalse((away.path / "canary").exists())

    def test_the_total_covers_what_no_field_does(self):
        line = forge().replace("%0.1.0%", "%0.1.1%")
        self.assertIn("wrong at column 9", self.each('read_invitation "$line"', [line])[0])
        body = forge().rsplit("%", 1)[0]
        self.assertEqual(forge().rsplit("%", 1)[1], digits(8, body))


class Prefixes(Parts):
    """Sixty-four bits in a shell."""

    def test_addresses_are_read_as_python_reads_them(self):
        chance = random.Random(5)
        texts = [
            "::",
            "::1",
            "1::",
            "fe80::1",
            "2001:db8::",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "FFFF::FfFf",
        ]
        for _ in range(150):
            address = ipaddress.IPv6Address(
                chance.getrandbits(128) & chance.getrandbits(128) & (-1 << chance.randrange(120))
            )
            texts += [str(address), address.exploded]
        wrong = [
            ":",
            ":::",
            "1",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            ":1::",
            "1::2:",
            "12345::",
            "g::",
            "1:2:3:4::5:6:7:8",
            "1.2.3.4",
            "",
        ]
        for _ in range(100):
            wrong.append("".join(chance.choice("0:1:f:") for _ in range(chance.randrange(1, 16))))
        call = 'if ip6_read "$line"; then printf "%016x%016x" "$high" "$low"; else echo no; fi'
        for text, found in zip(texts + wrong, self.each(call, texts + wrong), strict=True):
            try:
                want = f"{int(ipaddress.IPv6Address(text)):032x}"
            except ValueError:
                want = "no"
            self.assertEqual(found, want, text)

    def test_a_free_prefix_is_the_first_that_overlaps_nothing(self):
        chance = random.Random(7)
        pool = ipaddress.IPv6Network("2001:db8:1200::/58")
        cases, wants = [], []
        for _ in range(60):
            used = []
            for _ in range(chance.randrange(8)):
                length = chance.choice([59, 60, 61, 62, 63, 64, 64, 64])
                used.append(chance.choice(list(pool.subnets(new_prefix=length))))
            if chance.random() < 0.1:
                used.append(ipaddress.IPv6Network("2001:db8:1200::/48"))
            size = chance.randrange(58, 65)
            free = (net for net in pool.subnets(new_prefix=size) if not any(net.overlaps(one) for one in used))
            wants.append(str(next(free, "none")))
            taken = ";".join(f"{int(net.network_address) >> 64} {net.prefixlen} x" for net in used)
            cases.append(f"{int(pool.network_address) >> 64} 58 {size} {taken}")
        call = (
            'set -- $line; base=$1 length=$2 size=$3; shift 3; taken=$(printf "%s" "$*" | tr ";" "\\n"); '
            'if free_prefix "$base" "$length" "$size" "$taken"; then prefix_text "$at" "$size"; echo "$text"; else echo none; fi'
        )
        self.assertEqual(self.each(call, cases), wants)
        self.assertTrue("none" in wants and any(re.search("/5[89]", want) for want in wants))

    def test_text_is_what_python_writes(self):
        chance = random.Random(9)
        nets = [ipaddress.IPv6Network((chance.randrange(1 << 125, 1 << 126) & (-1 << 64), 64)) for _ in range(30)]
        nets += [
            ipaddress.IPv6Network(text)
            for text in ("2001:db8::/32", "2001:db8:0:5::/64", "2a02::/16", "2001:0:0:5::/64")
        ]
        found = self.each(
            'prefix_read "$line"; prefix_text "$high" "$length"; echo "$text"', [str(net) for net in nets]
        )
        self.assertEqual([ipaddress.IPv6Network(text) for text in found], nets)
        self.assertEqual(found[-4:-1], [str(net) for net in nets[-4:-1]])
