// SPDX-License-Identifier: GPL-2.0-only
//! The packet tap on devices whose kernel modules the build machine may lack: VLAN and PPPoE. Built with the feature
//! `vm-tests`, run in the VM.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod wire;

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use wire::*;

#[test]
fn over_a_vlan_it_is_seen_once_and_on_the_vlan_device() {
    run("modprobe", "8021q");
    own_namespace();
    let wire = Wire::plug("wan");
    ip("link add link wan name wan.7 type vlan id 7");
    ip("link set wan.7 up");
    let mut watch = Watch::start(&[PORT]);
    wire.frame(NEAR_MAC, &[0x81, 0, 0, 7], &initiation_v4(4));
    wire.frame(NEAR_MAC, &[0x81, 0, 0, 7], &initiation_v6(6));
    // No such VLAN here.
    wire.frame(NEAR_MAC, &[0x81, 0, 0, 8], &initiation_v4(8));
    let mut seen = watch.seen(&wire);
    seen.sort_by_key(|captured| captured.payload[147]);
    assert_eq!(tags(&seen), [4, 6]);
    assert!(seen.iter().all(|captured| captured.ifindex == ifindex("wan.7")));
}

#[test]
fn over_pppoe_it_is_seen_once_and_on_the_ppp_device() {
    run("modprobe", "pppoe");
    own_namespace();
    let wire = Wire::plug("wan");
    let _session = Session::open("wan");
    ip("link set ppp0 up");
    let mut watch = Watch::start(&[PORT]);
    wire.raw(NEAR_MAC, &in_session(0x0021, &initiation_v4(4)));
    wire.raw(NEAR_MAC, &in_session(0x0057, &initiation_v6(6)));
    let mut seen = watch.seen(&wire);
    seen.sort_by_key(|captured| captured.payload[147]);
    assert_eq!(tags(&seen), [4, 6]);
    assert!(seen.iter().all(|captured| captured.ifindex == ifindex("ppp0")));
}

/// An Ethernet type and a frame of PPPoE session 1 (RFC 2516, 4; RFC 1661, 2).
fn in_session(protocol: u16, packet: &[u8]) -> Vec<u8> {
    let length = 2 + packet.len() as u16;
    [&[0x8864, 0x1100, 1, length, protocol].map(u16::to_be_bytes).concat(), packet].concat()
}

/// The kernel's part of a PPPoE session, ppp0, as pppd sets it up (linux/if_pppox.h, linux/ppp-ioctl.h).
struct Session {
    _socket: OwnedFd,
    _channel: File,
    _unit: File,
}

impl Session {
    fn open(device: &str) -> Self {
        const AF_PPPOX: libc::c_int = 24;
        const PX_PROTO_OE: libc::c_int = 0;
        const PPPIOCGCHAN: u32 = 0x8004_7437;
        const PPPIOCATTCHAN: u32 = 0x4004_7438;
        const PPPIOCCONNECT: u32 = 0x4004_743a;
        const PPPIOCNEWUNIT: u32 = 0xc004_743e;
        // struct sockaddr_pppox, packed: family, protocol, session, address of the far end, device.
        let mut address = [0u8; 30];
        address[..2].copy_from_slice(&(AF_PPPOX as u16).to_ne_bytes());
        address[6..8].copy_from_slice(&1u16.to_be_bytes());
        address[8..14].copy_from_slice(&FAR_MAC);
        address[14..14 + device.len()].copy_from_slice(device.as_bytes());
        // SAFETY: the pointer is valid for its size, the descriptor is new and ours.
        let socket = unsafe {
            let fd = libc::socket(AF_PPPOX, libc::SOCK_STREAM, PX_PROTO_OE);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            let fd = OwnedFd::from_raw_fd(fd);
            let result = libc::connect(fd.as_raw_fd(), address.as_ptr().cast(), address.len() as u32);
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            fd
        };
        let ppp = || File::options().read(true).write(true).open("/dev/ppp").unwrap();
        let (channel, unit) = (ppp(), ppp());
        let mut number = 0;
        control(&socket, PPPIOCGCHAN, &mut number);
        control(&channel, PPPIOCATTCHAN, &mut number);
        let mut number = 0;
        control(&unit, PPPIOCNEWUNIT, &mut number);
        control(&channel, PPPIOCCONNECT, &mut number);
        Self { _socket: socket, _channel: channel, _unit: unit }
    }
}

fn control(fd: &impl AsRawFd, request: u32, number: &mut libc::c_int) {
    // SAFETY: these requests read or write one int.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, number) };
    assert_eq!(result, 0, "ioctl {request:#x}: {}", std::io::Error::last_os_error());
}
