// SPDX-License-Identifier: GPL-2.0-only
//! `wgroam diagnose`, as a program of its own.

#![no_main]

wgroam::program!(wgroam::cli::diagnose::main);
