// SPDX-License-Identifier: GPL-2.0-only
//! WireGuard in user space (wireguard-go and its kin), over its socket.
//!
//! The protocol is lines of `key=value` and an empty line at the end; keys are in hexadecimal
//! (www.wireguard.com/xplatform, "Cross-platform userspace implementation").

mod socket;

pub use socket::{answers, socket_path};

use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::super::route::message::Link;
use super::readd::Kept;
use super::{Backend, Error};
use crate::model::{Device, Peer, PrivateKey, PublicKey, WallTime, digits};
use socket::ask;

/// Any keepalive will do to go on from 0 for a moment; this is the usual one.
const SOME_KEEPALIVE: u16 = 25;

/// WireGuard in user space. Holds nothing: each question has a connection of its own, as `wg` does it.
#[derive(Default)]
pub struct Userspace;

impl Backend for Userspace {
    fn device(&mut self, link: &Link) -> Result<(Device, Option<PrivateKey>), Error> {
        let mut dump = Dump::new(link);
        ask(link.interface, "get=1\n\n", &mut |key, value| dump.line(key, value))?;
        Ok((dump.device, dump.private_key))
    }

    fn set_endpoint(&mut self, link: &Link, peer: &PublicKey, endpoint: SocketAddr) -> Result<(), Error> {
        let peer = hex(&peer.0);
        let peer = peer.as_str();
        let request = format!("set=1\npublic_key={peer}\nupdate_only=true\nendpoint={endpoint}\n\n");
        ask(link.interface, &request, &mut |_, _| Ok(()))
    }

    fn poke(&mut self, link: &Link, peer: &PublicKey, keepalive: u16) -> Result<(), Error> {
        let mut request = String::from("set=1\n");
        poke(&mut request, &hex(&peer.0), keepalive);
        request += "\n";
        ask(link.interface, &request, &mut |_, _| Ok(()))
    }

    fn set_port(&mut self, link: &Link, port: u16) -> Result<(), Error> {
        ask(link.interface, &format!("set=1\nlisten_port={port}\n\n"), &mut |_, _| Ok(()))
    }

    fn kept(&mut self, link: &Link, peer: &PublicKey) -> Result<Kept, Error> {
        let mut kept = Kept::new(peer);
        let name = hex(&peer.0);
        let mut here = false;
        ask(link.interface, "get=1\n\n", &mut |key, value| {
            if key == "public_key" {
                here = value == *name;
                kept.found |= here;
            } else if here {
                kept_line(&mut kept, key, value)?;
            }
            Ok(())
        })?;
        Ok(kept)
    }

    /// wireguard-go takes one request at a time (IpcSetOperation holds its lock), so that whoever reads the device sees
    /// the peer before or after.
    fn readd_peer(&mut self, link: &Link, kept: &Kept, endpoint: SocketAddr) -> Result<(), Error> {
        let name = hex(&kept.peer.public_key.0);
        // It holds the preshared key: room for all of it from the start, so that it is not copied when it grows. An
        // allowed IP takes 54 bytes at most.
        let mut request = Zeroizing::new(String::with_capacity(1024 + 64 * kept.allowed_ips.len()));
        *request += "set=1\npublic_key=";
        *request += &name;
        *request += "\nupdate_only=true\nremove=true\npublic_key=";
        *request += &name;
        *request += &format!("\nreplace_allowed_ips=true\nendpoint={endpoint}\n");
        if let Some(key) = &kept.preshared_key {
            *request += "preshared_key=";
            *request += &hex(key);
            *request += "\n";
        }
        for (ip, length) in &kept.allowed_ips {
            *request += &format!("allowed_ip={ip}/{length}\n");
        }
        poke(&mut request, &name, kept.peer.keepalive);
        *request += "\n";
        ask(link.interface, &request, &mut |_, _| Ok(()))
    }
}

/// As in the kernel, a keepalive that goes from 0 to something sends (wireguard-go's device/uapi.go: pkaOn), and
/// peers that are named twice are changed twice, in turn.
fn poke(request: &mut String, peer: &str, keepalive: u16) {
    let steps: &[u16] = if keepalive == 0 { &[0, SOME_KEEPALIVE, 0] } else { &[0, keepalive] };
    for seconds in steps {
        *request += "public_key=";
        *request += peer;
        *request += "\nupdate_only=true\npersistent_keepalive_interval=";
        *request += &seconds.to_string();
        *request += "\n";
    }
}

fn kept_line(kept: &mut Kept, key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "preshared_key" => kept.set_preshared_key(&*unhex(value)?),
        "allowed_ip" => {
            let wrong = "an allowed IP is none";
            let (ip, length) = value.split_once('/').ok_or(wrong)?;
            kept.allowed_ips.push((ip.parse().map_err(|_| wrong)?, number(length)?));
        }
        _ => peer_line(&mut kept.peer, key, value)?,
    }
    Ok(())
}

/// A device while its lines are read.
struct Dump {
    device: Device,
    private_key: Option<PrivateKey>,
}

impl Dump {
    fn new(link: &Link) -> Self {
        let device = Device {
            interface: link.interface,
            ifindex: link.ifindex,
            up: link.up,
            public_key: None,
            listen_port: 0,
            fwmark: 0,
            peers: Vec::new(),
        };
        Self { device, private_key: None }
    }

    fn line(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "private_key" => {
                let bytes = unhex(value)?;
                // Zeroes: none is set.
                self.private_key = bytes.iter().any(|&byte| byte != 0).then(|| PrivateKey::new(&bytes));
                self.device.public_key = self.private_key.as_ref().map(PublicKey::from);
            }
            "listen_port" => self.device.listen_port = number(value)?,
            "fwmark" => self.device.fwmark = number(value)?,
            "public_key" => self.device.peers.push(Peer::new(PublicKey(*unhex(value)?))),
            _ => {
                if let Some(peer) = self.device.peers.last_mut() {
                    peer_line(peer, key, value)?;
                }
            }
        }
        Ok(())
    }
}

fn peer_line(peer: &mut Peer, key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "endpoint" => peer.endpoint = Some(endpoint(value)?),
        "persistent_keepalive_interval" => peer.keepalive = number(value)?,
        "rx_bytes" => peer.rx_bytes = number(value)?,
        "tx_bytes" => peer.tx_bytes = number(value)?,
        // Both are 0 for never. Seconds come first.
        "last_handshake_time_sec" => {
            let seconds = number(value)?;
            peer.last_handshake = (seconds != 0).then_some(WallTime { seconds, nanos: 0 });
        }
        "last_handshake_time_nsec" => {
            let nanos = number::<u32>(value)?.min(999_999_999);
            if let Some(time) = &mut peer.last_handshake {
                time.nanos = nanos;
            }
        }
        _ => {}
    }
    Ok(())
}

fn number<N: TryFrom<u64>>(value: &str) -> Result<N, &'static str> {
    digits(value).ok_or("a number is none")
}

/// `192.0.2.1:51820`, `[2001:db8::1]:51820`, `[fe80::1%eth0]:51820`: the scope may be a number or a name.
fn endpoint(value: &str) -> Result<SocketAddr, &'static str> {
    if let Ok(endpoint) = value.parse() {
        return Ok(endpoint);
    }
    let wrong = "an endpoint is none";
    let (ip, rest) = value.split_once('%').ok_or(wrong)?;
    let (scope, port) = rest.split_once(']').ok_or(wrong)?;
    let mut endpoint: SocketAddr = format!("{ip}]{port}").parse().map_err(|_| wrong)?;
    if let SocketAddr::V6(v6) = &mut endpoint {
        // A link that is gone by now leaves the scope open: such an endpoint leads nowhere anyhow.
        v6.set_scope_id(nix::net::if_::if_nametoindex(scope).unwrap_or(0));
    }
    Ok(endpoint)
}

/// Wiped when dropped: some keys are secret.
fn hex(key: &[u8; 32]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in key {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn unhex(text: &str) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    let wrong = "a key is not 64 hexadecimal digits";
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(wrong);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(wrong);
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(text: &str) -> Result<Dump, &'static str> {
        let link =
            Link { interface: "wg0".parse().unwrap(), ifindex: 7, up: true, running: true, kind: None };
        let mut dump = Dump::new(&link);
        for line in text.lines() {
            let (key, value) = line.split_once('=').unwrap();
            dump.line(key, value)?;
        }
        Ok(dump)
    }

    /// The example of www.wireguard.com/xplatform, its peers cut down to what is read.
    #[test]
    fn the_protocols_own_example_is_read() {
        let dump = dump(
            "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\n\
             listen_port=12912\n\
             public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n\
             preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52\n\
             allowed_ip=192.168.4.4/32\n\
             endpoint=[abcd:23::33%2]:51820\n\
             last_handshake_time_sec=0\n\
             last_handshake_time_nsec=0\n\
             public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376\n\
             tx_bytes=38333\n\
             rx_bytes=2224\n\
             allowed_ip=192.168.4.6/32\n\
             persistent_keepalive_interval=111\n\
             endpoint=182.122.22.19:3233\n\
             last_handshake_time_sec=1700000000\n\
             last_handshake_time_nsec=5",
        )
        .unwrap();
        let device = dump.device;
        assert_eq!((device.listen_port, device.ifindex, device.up), (12912, 7, true));
        // `echo 6EtabScXwQA6E7QxVwNT26ypFGzxUMX4V1aA/rpSAno= | wg pubkey`
        assert_eq!(device.public_key.unwrap().to_string(), "wVMuGz01CPx+vDVPpnliDzPyhxSVQuaExnt7DYE2Kyk=");
        assert_eq!(dump.private_key.unwrap().bytes()[..2], [0xe8, 0x4b]);
        let [first, second] = device.peers[..] else { panic!("{} peers", device.peers.len()) };
        assert_eq!(first.endpoint, Some("[abcd:23::33%2]:51820".parse().unwrap()));
        assert_eq!((first.last_handshake, first.keepalive), (None, 0));
        assert_eq!(second.last_handshake, Some(WallTime { seconds: 1_700_000_000, nanos: 5 }));
        assert_eq!((second.tx_bytes, second.rx_bytes, second.keepalive), (38333, 2224, 111));
        assert_eq!(second.endpoint, Some("182.122.22.19:3233".parse().unwrap()));
    }

    #[test]
    fn a_scope_may_be_a_name() {
        let SocketAddr::V6(v6) = endpoint("[fe80::1%lo]:51820").unwrap() else { panic!("not IPv6") };
        assert_eq!((v6.scope_id(), v6.port()), (1, 51820));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "private_key=e84b",
            "listen_port=70000",
            &format!("public_key={}\nendpoint=nowhere", "00".repeat(32)),
            &format!("public_key={}\nendpoint=[fe80::1%lo", "00".repeat(32)),
        ] {
            assert!(dump(text).is_err(), "{text}");
        }
    }
}
