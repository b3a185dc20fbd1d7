// SPDX-License-Identifier: GPL-2.0-only
//! Which name servers this machine asks, as its files say. Who the C library asks itself, and where that is a program
//! on this machine (dnsmasq, systemd-resolved), who that one asks.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::files::read_limited;

/// The C library's file, and then those that programs on this machine take their servers from: netifd's for dnsmasq,
/// the same before OpenWrt 21, systemd-resolved's.
pub const FILES: [&str; 4] = [
    "/etc/resolv.conf",
    "/tmp/resolv.conf.d/resolv.conf.auto",
    "/tmp/resolv.conf.auto",
    "/run/systemd/resolve/resolv.conf",
];

/// The C library asks three; a router with some uplinks has more.
const MOST: usize = 8;

/// Such a file has some hundred bytes.
const MAX_BYTES: usize = 16 * 1024;

/// The servers that these files name, none of them on this machine. The first file is the C library's; the others count
/// where it names this machine, or nobody, which means the same (resolv.conf(5)). What can't be read names nobody.
pub fn read(files: &[&str]) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for (at, file) in files.iter().enumerate() {
        if !may_be_read(file) {
            continue;
        }
        let text = read_limited(Path::new(file), MAX_BYTES).unwrap_or_default();
        let mut here = false;
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.split_whitespace();
            // Of link-local ones, which have a scope, nobody wants to know where they are led.
            let server =
                words.next().filter(|word| *word == "nameserver").and_then(|_| words.next()?.parse().ok());
            let Some(server): Option<IpAddr> = server else { continue };
            if server.is_loopback() || server.is_unspecified() {
                here = true;
            } else if servers.len() < MOST && !servers.contains(&server) {
                servers.push(server);
            }
        }
        if at == 0 && !here && !servers.is_empty() {
            break;
        }
    }
    servers
}

/// Anybody may put a file into /tmp, and would then say which addresses are led around a tunnel.
fn may_be_read(file: &str) -> bool {
    let by_root = |found: fs::Metadata| found.is_file() && found.uid() == 0;
    !file.starts_with("/tmp/") || fs::symlink_metadata(file).is_ok_and(by_root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The servers that are found, with these texts in files of the test's own; None: there is no such file.
    fn found(texts: &[Option<&str>]) -> Vec<String> {
        let folder = std::env::temp_dir().join(format!(
            "wgroam-servers-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::create_dir_all(&folder).unwrap();
        let path = |at: usize| folder.join(at.to_string()).to_str().unwrap().to_string();
        for (at, text) in texts.iter().enumerate() {
            text.iter().for_each(|text| fs::write(path(at), text).unwrap());
        }
        let paths: Vec<String> = (0..texts.len()).map(path).collect();
        // Not by their names: there, who a file belongs to counts.
        let paths: Vec<String> = paths.iter().map(|path| format!("/{path}")).collect();
        let found = read(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        fs::remove_dir_all(&folder).unwrap();
        found.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn servers_are_whom_the_c_library_asks_or_whom_the_program_asks_that_it_asks() {
        let further = Some("# Interface wan\nnameserver 192.0.2.1\nsearch lan\nnameserver 2001:db8::53\n");
        let both = ["192.0.2.1", "2001:db8::53"];
        assert_eq!(found(&[further, Some("nameserver 9.9.9.9")]), both);
        for local in
            ["nameserver 127.0.0.1", "nameserver ::1\n", "nameserver 127.0.0.53\n", "nameserver 0.0.0.0", ""]
        {
            assert_eq!(found(&[Some(local), None, further, further]), both, "{local}");
        }
        assert_eq!(found(&[None, further]), both);
        // One that is asked beside the program.
        let text = "options edns0\r\nnameserver\t127.0.0.1\r\nnameserver 192.0.2.9 \r\n";
        assert_eq!(found(&[Some(text), further]), ["192.0.2.9", both[0], both[1]]);
    }

    #[test]
    fn what_names_no_server_is_passed_over_and_there_are_never_many() {
        let odd = "nameserver fe80::1%wan\nnameserver dns.example.net\nnameserver\n;nameserver 192.0.2.8\n\
                   nameserverx 192.0.2.7\nnameserver 192.0.2.1 192.0.2.2\nnameserver 192.0.2.1\n";
        assert_eq!(found(&[Some(odd)]), ["192.0.2.1"]);
        let many: String = (0..200).map(|number| format!("nameserver 10.0.0.{number}\n")).collect();
        assert_eq!(found(&[Some(&many), Some("nameserver 9.9.9.9")]).len(), MOST);
        assert_eq!(found(&[Some(""), Some(&many), Some("nameserver 9.9.9.9")]).len(), MOST);
        assert_eq!(found(&[Some(&" ".repeat(MAX_BYTES + 1)), Some("nameserver 9.9.9.9")]), ["9.9.9.9"]);
    }

    /// Whoever has an account could else have an address of his choice led around the tunnel.
    #[test]
    fn in_tmp_a_file_has_to_be_roots() {
        let file = format!("/tmp/wgroam-servers-of-{}", std::process::id());
        let link = format!("{file}-link");
        fs::write(&file, "nameserver 9.9.9.9").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let root = fs::metadata(&file).unwrap().uid() == 0;
        let found = |file: &str| !read(&["/nonexistent", file]).is_empty();
        assert_eq!((found(&file), found(&link)), (root, false));
        if root {
            std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
            assert!(!found(&file));
        }
        fs::remove_file(&link).unwrap();
        fs::remove_file(&file).unwrap();
    }
}
