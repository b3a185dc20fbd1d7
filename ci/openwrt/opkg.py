# SPDX-License-Identifier: GPL-2.0-only
"""Does with a package what OpenWrt's opkg does (opkg-lede's libopkg, opkg_install.c and opkg_remove.c), in a scratch root:
the same scripts with the same words and environment, in the same order; nothing else of it."""
import gzip
import hashlib
import io
import os
import tarfile


def members(data):
    """Of a tar.gz, in order: (name, mode, owner, group, time, bytes or None for a folder)."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        for member in tar:
            assert member.isdir() or member.isfile(), member.name
            content = None if member.isdir() else tar.extractfile(member).read()
            found.append((member.name, member.mode, member.uid, member.gid, member.mtime, content))
    return found


def parts(package):
    """The three parts of a package, by name, as they are."""
    return {name: content for name, *_, content in members(package.read_bytes())}


def files(part):
    """Files of a part, by path: (mode, bytes)."""
    return {name[1:]: (mode, content) for name, mode, *_, content in members(part) if content is not None}


def fields(text):
    """A control file, or one paragraph of a list; what is continued is joined by newlines."""
    found = {}
    for line in text.splitlines():
        if line.startswith(" "):
            found[name] += "\n" + line[1:]
        else:
            name, found[name] = line.split(": ", 1)
    return found


def digest(data):
    """How opkg knows that a conffile was edited."""
    return hashlib.sha256(data).hexdigest()


class Opkg:
    """For one root; with `image` for a folder in it in which an image is built."""

    def __init__(self, root, image=""):
        self.root = root
        self.image = image
        self.base = root.path / image.lstrip("/")
        self.info = self.base / "usr/lib/opkg/info"
        self.info.mkdir(parents=True, exist_ok=True)
        self.version = None
        self.conffiles = {}  # as they came, by path
        self.listed = []

    def _script(self, name, *words, upgrade):
        path = self.info / f"wgroam.{name}"
        if not path.exists():
            return
        environment = {"PKG_ROOT": f"{self.image}/", "PKG_UPGRADE": str(int(upgrade))}
        if self.image:
            environment["IPKG_INSTROOT"] = self.image
        line = " ".join([f"{self.image}/usr/lib/opkg/info/wgroam.{name}", *words])
        ran = self.root.run("/bin/sh", "-c", line, **environment)
        assert ran.returncode == 0, f"{line}: exit code {ran.returncode}: {ran.stderr}"

    def _here(self, path):
        return self.base / path.lstrip("/")

    def _remove_data(self):
        for path in self.listed:
            edited = path in self.conffiles and digest(self._here(path).read_bytes()) != self.conffiles[path]
            if not edited:
                self._here(path).unlink(missing_ok=True)  # uci-defaults are gone by themselves
        (self.info / "wgroam.list").unlink()

    def _remove_scripts(self):
        for path in self.info.glob("wgroam.*"):
            path.unlink()

    def install(self, package):
        """`opkg install`, or an upgrade when it is there."""
        inside = parts(package)
        control, data = files(inside["./control.tar.gz"]), members(inside["./data.tar.gz"])
        version = fields(control["/control"][1].decode())["Version"]
        upgrade = self.version is not None
        if upgrade:
            self._script("prerm", "upgrade", version, upgrade=True)
        conffiles = control["/conffiles"][1].decode().split()
        kept = {}
        for path in {*conffiles, *self.conffiles}:
            if self._here(path).exists() and digest(self._here(path).read_bytes()) != self.conffiles.get(path):
                kept[path] = (self._here(path).read_bytes(), self._here(path).stat().st_mode)
        for name, *_, content in data:
            path = name[1:]
            assert content is None or not self._here(path).exists() or path in kept or path in self.listed, f"{path} clashes"
        if upgrade:
            self._script("postrm", "upgrade", version, upgrade=True)
            self._remove_data()
            self._remove_scripts()
        for name, (mode, content) in control.items():
            path = self.info / f"wgroam.{name[1:]}"
            path.write_bytes(content)
            os.chmod(path, mode)
        for name, mode, owner, group, when, content in data:
            path = self._here(name[1:])
            if content is None:
                path.mkdir(exist_ok=True)
            else:
                path.unlink(missing_ok=True)
                path.write_bytes(content)
            os.chown(path, owner, group)
            os.chmod(path, mode)
            os.utime(path, (when, when))
        self.listed = [name[1:] for name, *_, content in data if content is not None]
        (self.info / "wgroam.list").write_text("".join(f"{path}\n" for path in self.listed))
        self.version = version
        self.conffiles = {path: digest(self._here(path).read_bytes()) for path in conffiles}
        for path, (content, mode) in kept.items():
            if digest(content) != self.conffiles.get(path):
                self._here(path).rename(self._here(f"{path}-opkg"))
                self._here(path).write_bytes(content)
                os.chmod(self._here(path), mode)
        self._script("postinst", "configure", upgrade=upgrade)

    def remove(self):
        """`opkg remove`."""
        self._script("prerm", "remove", upgrade=False)
        self._remove_data()
        self._script("postrm", "remove", upgrade=False)
        self._remove_scripts()
        self.version = None
