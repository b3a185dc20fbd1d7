// SPDX-License-Identifier: GPL-2.0-only
//! What WireGuard refused or left unanswered. A device is asked every few seconds and told about thousands of peers:
//! the same trouble is said once in a while, and who does not answer is not waited for again and again.

use std::io;
use std::time::{Duration, Instant};

use crate::linux::wireguard::Error;
use crate::lists;
use crate::model::Interface;

/// The same trouble of an interface is said again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// The last trouble of each interface.
#[derive(Default)]
pub struct Troubles(Vec<Trouble>);

struct Trouble {
    interface: Interface,
    text: String,
    said: Instant,
    silent: bool,
}

impl Troubles {
    /// Takes in an error. Returns its text when it is worth saying.
    pub fn note(&mut self, now: Instant, interface: Interface, error: &Error) -> Option<String> {
        let text = error.to_string();
        let silent = is_silence(error);
        if let Some(known) = self.find(interface) {
            known.silent |= silent;
            if known.text == text && now.saturating_duration_since(known.said) < SAY_AGAIN {
                return None;
            }
        }
        self.remove(interface);
        self.0.push(Trouble { interface, text: text.clone(), said: now, silent });
        Some(text)
    }

    /// The interface answered a question.
    pub fn answered(&mut self, interface: Interface) {
        if let Some(known) = self.find(interface) {
            known.silent = false;
        }
    }

    /// Did it leave the last question unanswered? Each further one would stop the loop for a second.
    pub fn is_silent(&self, interface: Interface) -> bool {
        self.0.iter().any(|known| known.interface == interface && known.silent)
    }

    /// The interface is gone.
    pub fn remove(&mut self, interface: Interface) {
        lists::keep(&mut self.0, |known| known.interface != interface);
    }

    fn find(&mut self, interface: Interface) -> Option<&mut Trouble> {
        self.0.iter_mut().find(|known| known.interface == interface)
    }
}

/// Is there no WireGuard that could be asked again? What else goes wrong (a program that hangs, a dump that others
/// change under, no memory for the moment) passes.
pub fn is_final(error: &Error) -> bool {
    match error {
        Error::Gone(_) | Error::NotWireGuard(_) | Error::Denied(_) | Error::SocketDenied(_) => true,
        // The device is there all the same.
        Error::NoPeer(..) | Error::TooManyAllowedIps(..) => false,
        Error::Malformed(..) | Error::Io(..) => false,
    }
}

fn is_silence(error: &Error) -> bool {
    matches!(error, Error::Io(_, error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_said_once_in_a_while() {
        let (start, wg0) = (Instant::now(), "wg0".parse().unwrap());
        let hangs = Error::Io(wg0, io::ErrorKind::TimedOut.into());
        let refuses = Error::Io(wg0, io::ErrorKind::InvalidInput.into());
        let mut troubles = Troubles::default();
        assert!(troubles.note(start, wg0, &hangs).is_some());
        assert!(troubles.is_silent(wg0));
        assert!(troubles.note(start, wg0, &hangs).is_none());
        troubles.answered(wg0);
        assert!(!troubles.is_silent(wg0));
        assert!(troubles.note(start, wg0, &hangs).is_none(), "answered in between, and said just now");
        assert!(troubles.note(start + SAY_AGAIN, wg0, &hangs).is_some());
        assert!(troubles.note(start + SAY_AGAIN, wg0, &refuses).is_some());
        assert!(!troubles.is_silent("wg1".parse().unwrap()));
    }
}
