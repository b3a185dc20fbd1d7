# SPDX-License-Identifier: GPL-2.0-only
"""Does with a package what OpenWrt's opkg does (opkg-lede 38eccbb, libopkg), in a scratch root: the same scripts with the same
words and environment, in the same order; nothing else of it. The function of opkg's is named at each step. apk of OpenWrt
25.12 is not here: its scripts are written at build time, and call the same functions of stand-in/functions.sh."""
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


# What is on every router, or comes from OpenWrt's own feeds.
PROVIDED = {"libc", "kmod-wireguard", "wireguard-tools"}


class Package:
    """One that is installed, in the folder in which opkg keeps what it knows of it."""

    def __init__(self, name, version, depends, listed, conffiles):
        self.name = name
        self.version = version
        self.depends = depends
        self.listed = listed
        self.conffiles = conffiles  # as they came, by path


class Opkg:
    """For one root; with `image` for a folder in it in which an image is built."""

    def __init__(self, root, image=""):
        self.root = root
        self.image = image
        self.base = root.path / image.lstrip("/")
        self.info = self.base / "usr/lib/opkg/info"
        self.info.mkdir(parents=True, exist_ok=True)
        self.packages = {}  # that are installed, by name

    def _script(self, package, name, *words, upgrade):
        # pkg.c, pkg_run_script(): by the shell, with these in the environment; what fails stops the installation.
        path = self.info / f"{package}.{name}"
        if not path.exists():
            return
        environment = {"PKG_ROOT": f"{self.image}/", "PKG_UPGRADE": str(int(upgrade))}
        if self.image:
            environment["IPKG_INSTROOT"] = self.image
        line = " ".join([f"{self.image}/usr/lib/opkg/info/{package}.{name}", *words])
        ran = self.root.run("/bin/sh", "-c", line, **environment)
        assert ran.returncode == 0, f"{line}: exit code {ran.returncode}: {ran.stderr}"

    def _here(self, path):
        return self.base / path.lstrip("/")

    # opkg_remove.c, remove_data_files_and_list(): a conffile that was edited stays (conffile_has_been_modified()).
    def _remove_data(self, package):
        for path in package.listed:
            came = package.conffiles.get(path)
            edited = came is not None and digest(self._here(path).read_bytes()) != came
            if not edited:
                self._here(path).unlink(missing_ok=True)  # uci-defaults are gone by themselves
        (self.info / f"{package.name}.list").unlink()

    # remove_maintainer_scripts().
    def _remove_scripts(self, name):
        for path in self.info.glob(f"{name}.*"):
            path.unlink()

    def install(self, *packages):
        """`opkg install`, or an upgrade of what is there: in an order in which each finds what it depends on."""
        waiting = {}
        for package in packages:
            found = fields(files(parts(package)["./control.tar.gz"])["/control"][1].decode())
            waiting[found["Package"]] = (package, found)
        while waiting:
            ready = [name for name, (_, found) in waiting.items() if not waiting.keys() & found["Depends"].split(", ")]
            assert ready, f"they depend on each other: {waiting.keys()}"
            package, found = waiting.pop(ready[0])
            missing = set(found["Depends"].split(", ")) - PROVIDED - self.packages.keys()
            assert not missing, f"cannot find dependency for {found['Package']}: {missing}"
            self._install_one(package, found)

    def _install_one(self, package, found):
        inside = parts(package)
        control, data = files(inside["./control.tar.gz"]), members(inside["./data.tar.gz"])
        name, version = found["Package"], found["Version"]
        old = self.packages.get(name)
        upgrade = old is not None
        # opkg_install.c, opkg_install_pkg(), in its order: prerm_upgrade_old_pkg(), backup_modified_conffiles(),
        # check_data_file_clashes(), postrm_upgrade_old_pkg(), remove_data_files_and_list(), remove_maintainer_scripts(),
        # install_maintainer_scripts(), install_data_files(), resolve_conffiles(); at last opkg_configure().
        if upgrade:
            self._script(name, "prerm", "upgrade", version, upgrade=True)
        conffiles = control["/conffiles"][1].decode().split() if "/conffiles" in control else []
        came = old.conffiles if old else {}
        kept = {}
        for path in {*conffiles, *came}:
            if self._here(path).exists() and digest(self._here(path).read_bytes()) != came.get(path):
                kept[path] = (self._here(path).read_bytes(), self._here(path).stat().st_mode)
        for member, *_, content in data:
            path = member[1:]
            ours = path in kept or (old and path in old.listed)
            assert content is None or not self._here(path).exists() or ours, f"{path} clashes"
        if upgrade:
            self._script(name, "postrm", "upgrade", version, upgrade=True)
            self._remove_data(old)
            self._remove_scripts(name)
        for member, (mode, content) in control.items():
            path = self.info / f"{name}.{member[1:]}"
            path.write_bytes(content)
            os.chmod(path, mode)
        for member, mode, owner, group, when, content in data:
            path = self._here(member[1:])
            if content is None:
                path.mkdir(exist_ok=True)
            else:
                path.unlink(missing_ok=True)
                path.write_bytes(content)
            os.chown(path, owner, group)
            os.chmod(path, mode)
            os.utime(path, (when, when))
        listed = [member[1:] for member, *_, content in data if content is not None]
        (self.info / f"{name}.list").write_text("".join(f"{path}\n" for path in listed))
        came = {path: digest(self._here(path).read_bytes()) for path in conffiles}
        self.packages[name] = Package(name, version, found["Depends"].split(", "), listed, came)
        # The edited one keeps its name, and the new one is put beside it.
        for path, (content, mode) in kept.items():
            if digest(content) != came.get(path):
                self._here(path).rename(self._here(f"{path}-opkg"))
                self._here(path).write_bytes(content)
                os.chmod(self._here(path), mode)
        self._script(name, "postinst", "configure", upgrade=upgrade)

    def remove(self, name="wgroam"):
        """`opkg remove` (opkg_remove_pkg()), which refuses what another one depends on."""
        needed_by = [other.name for other in self.packages.values() if name in other.depends]
        assert not needed_by, f"{name} is depended upon by {needed_by}"
        self._script(name, "prerm", "remove", upgrade=False)
        self._remove_data(self.packages[name])
        self._script(name, "postrm", "remove", upgrade=False)
        self._remove_scripts(name)
        del self.packages[name]
