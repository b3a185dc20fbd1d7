// SPDX-License-Identifier: GPL-2.0-only
//! Two routers on one cable: the near one dials the far one by name, through tunnels. The far one has the name server.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::world::{World, wait};

/// The far end's port of tunnel `n`.
pub fn port(n: usize) -> u16 {
    51820 + n as u16
}

pub struct Pair {
    pub near: World,
    pub far: World,
}

impl Pair {
    /// With the tunnels wg0, wg1, ...: 10.99.N.1 near, 10.99.N.2 far. No endpoint is set near.
    pub fn new(tunnels: usize) -> Self {
        let (near, far) = (World::new(), World::new());
        let mut pair = Self { near, far };
        pair.cable();
        for n in 0..tunnels {
            pair.tunnel(n);
        }
        pair
    }

    /// Neither end asks for the other's hardware address or for IPv6 routers, so that what is seen on the cable is what somebody sent.
    fn cable(&mut self) {
        let far = self.far.namespace().to_string();
        self.near.sh(&format!(
            "ip link add v0 address 02:00:00:00:00:01 type veth peer name v0 address 02:00:00:00:00:02 netns {far}"
        ));
        for (world, here, there) in [(&self.near, 1, 2), (&self.far, 2, 1)] {
            world.sh(&format!(
                "echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6 >/dev/null
                 ip addr add 10.9.0.{here}/24 dev v0
                 ip link set v0 up
                 ip neigh replace 10.9.0.{there} lladdr 02:00:00:00:00:0{there} nud permanent dev v0"
            ));
        }
        self.near.sh("ip route add default via 10.9.0.2");
        fs::write(self.near.dir.join("resolv.conf"), "nameserver 10.9.0.2\n").unwrap();
        let mut dnsmasq = self.far.command("dnsmasq");
        dnsmasq.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
        ]);
        dnsmasq.args(["--bind-interfaces", "--listen-address=10.9.0.2", "--pid-file=", "--local=/example/"]);
        dnsmasq.args(["--host-record=home.example,10.9.0.2", "--log-queries", "--log-facility=-"]);
        self.far.background("dnsmasq", &mut dnsmasq);
    }

    fn tunnel(&mut self, n: usize) {
        let name = format!("wg{n}");
        for (world, here) in [(&mut self.near, 1), (&mut self.far, 2)] {
            world.bare_wireguard(&name);
            world.sh(&format!(
                "wg genkey >{dir}/{name}.key; wg set {name} private-key {dir}/{name}.key
                 ip addr add 10.99.{n}.{here}/24 dev {name}",
                dir = world.dir.display()
            ));
        }
        let (near, far) = (self.key(&self.near, &name), self.key(&self.far, &name));
        self.far.sh(&format!(
            "wg set {name} listen-port {} peer {near} allowed-ips 10.99.{n}.1/32; ip link set {name} up",
            port(n)
        ));
        self.near.sh(&format!("wg set {name} peer {far} allowed-ips 10.99.{n}.2/32; ip link set {name} up"));
    }

    fn key(&self, world: &World, name: &str) -> String {
        world.sh(&format!("wg show {name} public-key")).trim().to_string()
    }

    /// The section of the far end of a tunnel, at `home.example`, with more lines.
    pub fn section(&self, n: usize, more: &str) -> String {
        let key = self.key(&self.far, &format!("wg{n}"));
        format!(
            "config peer 'far{n}'\n\toption tunnel 'wg{n}'\n\toption public_key '{key}'\n\toption keepalive '25'\n\
             \tlist endpoint 'home.example:{}'\n{more}",
            port(n)
        )
    }

    /// Waits until the tunnel carries something.
    pub fn works(&self, n: usize) {
        wait(&format!("wg{n} to work"), || {
            let mut ping = self.near.command("ping");
            ping.args(["-c", "1", "-W", "1", &format!("10.99.{n}.2")]).stdout(Stdio::null());
            ping.status().unwrap().success()
        });
    }

    /// Hears all that passes the cable.
    pub fn listen(&self) -> OwnedFd {
        self.far.inside(|| {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap()
        })
    }
}

/// What was heard: a line for each frame, and the bytes of UDP payload if it is UDP over IPv4.
pub fn heard(listener: &OwnedFd) -> Vec<(Option<usize>, String)> {
    let mut frames = Vec::new();
    let mut frame = [0; 2048];
    while let Ok(length) = nix::unistd::read(listener, &mut frame) {
        let frame = &frame[..length];
        let udp = length >= 42 && frame[12..14] == [8, 0] && frame[23] == 17;
        let payload = udp.then(|| usize::from(u16::from_be_bytes([frame[38], frame[39]])) - 8);
        let ends = udp.then(|| {
            let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
            format!("{:?}:{} to {:?}:{}", &frame[26..30], port(34), &frame[30..34], port(36))
        });
        let text = ends.unwrap_or_else(|| format!("{:02x?}", &frame[..length.min(64)]));
        frames.push((payload, text));
    }
    frames
}
