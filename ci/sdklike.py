# SPDX-License-Identifier: GPL-2.0-only
"""For `ci/cross sdk-like`: builds the crate as OpenWrt's SDK does, as near as that can be had without one. It is the SDK's
command with the SDK's variables (the feed's Makefile is asked for them, with ci/buildroot for OpenWrt's rules), rustc is
of the same version, and musl and libgcc_s are shared libraries. zig's linker and crt files stand for the SDK's."""
import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

# rust/host builds the target's standard library so: for speed, with backtraces, and able to unwind.
PREBUILT = """[package]
name = "sysroot"
version = "0.0.0"
edition = "2024"
[lib]
path = "lib.rs"
[profile.release]
opt-level = 3
codegen-units = 1
panic = "unwind"
"""
# As Rust's own build does: one crate has to be of the other kind.
WRAPPER = """#!/bin/sh
case " $* " in *" --crate-name panic_abort "*) set -- "$@" -Cpanic=abort ;; esac
exec "$@"
"""
# What a Rust program takes from libgcc_s; on ARM some more.
UNWINDER = """_Unwind_Backtrace _Unwind_GetIP _Unwind_GetIPInfo _Unwind_GetCFA _Unwind_FindEnclosingFunction _Unwind_Resume
_Unwind_RaiseException _Unwind_DeleteException _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase
_Unwind_GetDataRelBase _Unwind_SetGR _Unwind_SetIP _Unwind_GetGR _Unwind_VRS_Get _Unwind_VRS_Set __gnu_unwind_frame
__aeabi_unwind_cpp_pr0 __aeabi_unwind_cpp_pr1""".split()


class Sdk:
    """For a target of ci/targets. `zig`: the compiler; `cache`: a folder for what is built once; `rustc`, `cargo`: programs."""

    def __init__(self, tree, cache, target, zig, rustc, cargo):
        self.tree, self.target, self.zig, self.rustc, self.cargo = tree, target, zig, rustc, cargo
        self.folder = cache / "sdk" / target.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clean = {name: value for name, value in os.environ.items() if not name.startswith(("CARGO_", "RUST", "MAKE", "MFLAGS"))}
        self.clean["CARGO_HOME"] = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")

    def asked(self, *variables):
        """What the feed's Makefile gives to cargo: variables and arguments."""
        arch = "arm" if self.target.rust.startswith("arm") else self.target.rust.split("-")[0]
        command = ["make", "-s", "-C", self.tree / "feed/net/wgroam", f"TOPDIR={self.tree}/ci/buildroot", "OUT=", f"ARCH={arch}"]
        said = subprocess.run([*command, *variables, "variables"], env=self.clean, stdout=subprocess.PIPE, text=True, check=True)
        said = dict(line.split("=", 1) for line in said.stdout.splitlines())
        # As in a shell, of two values the last one counts.
        return dict(word.split("=", 1) for word in shlex.split(said["CARGO_PKG_VARS"])), shlex.split(said["CARGO_PKG_ARGS"])

    def linker(self):
        """A script to link with: ci/link, and a libgcc_s that has the names alone."""
        source, library = self.folder / "unwinder.c", self.folder / "libgcc_s.so"
        source.write_text("".join(f"void {name}(void) {{}}\n" for name in UNWINDER))
        words = [self.zig, "cc", "-target", *self.target.zig.split(), "-shared", "-nostdlib", "-fPIC", "-Wl,-soname,libgcc_s.so.1"]
        subprocess.run([*words, source, "-o", library], check=True)
        link = self.tree / "ci/link"
        words = shlex.join(map(str, (link, self.zig, self.target.zig, "dynamic", library)))
        # cargo looks at the name alone.
        return self._script(f"linker-{hashlib.sha256(link.read_bytes()).hexdigest()[:8]}", f'#!/bin/sh\nexec {words} "$@"\n')

    def _script(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def prebuilt(self, version):
        """A sysroot with the standard library as rust/host leaves it."""
        sysroot = self.folder / f"sysroot-{hashlib.sha256((version + PREBUILT + WRAPPER).encode()).hexdigest()[:8]}"
        if sysroot.exists():
            return sysroot
        crate = self.folder / "crate"
        crate.mkdir(exist_ok=True)
        (crate / "Cargo.toml").write_text(PREBUILT)
        (crate / "lib.rs").write_text("")
        environment = {
            **self.clean,
            "RUSTC": self.rustc,
            "RUSTC_BOOTSTRAP": "1",
            "RUSTC_WRAPPER": str(self._script("wrapper", WRAPPER)),
            "CARGO_TARGET_DIR": str(self.folder / "std"),
            "RUSTFLAGS": "-Cembed-bitcode=yes",
        }
        arguments = ["build", "--release", f"--target={self.target.rust}", "-Zbuild-std=std,panic_abort,panic_unwind"]
        arguments += ["-Zbuild-std-features=panic-unwind,backtrace,default"]
        subprocess.run([self.cargo, *arguments], cwd=crate, env=environment, check=True)
        half = sysroot.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        libraries = half / "lib/rustlib" / self.target.rust / "lib"
        libraries.mkdir(parents=True)
        for library in (self.folder / "std" / self.target.rust / "release/deps").glob("*.rlib"):
            shutil.copy(library, libraries)
        half.rename(sysroot)
        shutil.rmtree(self.folder / "std")
        return sysroot

    def install(self, asked, version):
        """`cargo install`, as rust-package.mk has it; gives the folder with the programs, with symbols."""
        variables, arguments = asked
        builds_std = any(word.startswith("-Zbuild-std") for word in arguments)
        flags = variables["RUSTFLAGS"] if builds_std else f"{variables['RUSTFLAGS']} --sysroot={self.prebuilt(version)}"
        out = self.folder / ("built" if builds_std else "prebuilt")
        environment = {
            **self.clean,
            **variables,
            "RUSTC": self.rustc,
            "CARGO_BUILD_TARGET": self.target.rust,
            "CARGO_TARGET_DIR": f"{out}-target",
            f"CARGO_TARGET_{self.target.rust.upper().replace('-', '_')}_LINKER": str(self.linker()),
            "RUSTFLAGS": f"{flags} {self._paths()}",
        }
        words = ["install", "--quiet", "--force", "--profile", "release", "--root", out, "--path", self.tree / "wgroam", *arguments]
        subprocess.run([self.cargo, *words], cwd=self.tree / "wgroam", env=environment, check=True)
        return out / "bin"

    def _paths(self):
        """What the names of sources are in the SDK, which has them in its panics: of the same length on every machine."""
        sources = sorted(Path(self.clean["CARGO_HOME"]).glob("registry/src/*"))
        names = [f"--remap-path-prefix={source}=/builder/dl/cargo/registry/src/{source.name}" for source in sources]
        return " ".join([*names, "--remap-path-prefix=/usr/lib/rustlib/src/rust=/builder/staging_dir/host/lib/rustlib/src/rust"])
