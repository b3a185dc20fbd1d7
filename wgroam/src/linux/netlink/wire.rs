// SPDX-License-Identifier: GPL-2.0-only
//! The bytes of netlink: messages, attributes, and a writer for requests. No sockets here.
//!
//! Netlink speaks the machine's own byte order. The reader takes the order as an argument, so that bytes recorded on
//! a big-endian machine are read by the same code on any other (docs/design/netlink.md).

use zeroize::Zeroizing;

/// The byte order of a netlink conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// x86, ARM, mipsel.
    Little,
    /// mips (ath79), s390x.
    Big,
}

impl Endian {
    /// This machine's own.
    pub const NATIVE: Endian = if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };

    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Endian::Little => u64::from_le_bytes(bytes),
            Endian::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// The bytes are not what the kernel's headers promise; says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// A stretch of bytes in one byte order. Every read is checked; none panics.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl<'a> Bytes<'a> {
    /// These bytes, in this order.
    pub fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Self { bytes, endian }
    }

    /// All of it.
    pub fn all(&self) -> &'a [u8] {
        self.bytes
    }

    /// Exactly N bytes at an offset.
    pub fn array<const N: usize>(&self, offset: usize) -> Result<&'a [u8; N], Malformed> {
        let tail = self.bytes.get(offset..).ok_or(Malformed("a field is cut short"))?;
        tail.first_chunk().ok_or(Malformed("a field is cut short"))
    }

    /// The number at an offset.
    pub fn u8(&self, offset: usize) -> Result<u8, Malformed> {
        Ok(self.array::<1>(offset)?[0])
    }

    /// The number at an offset.
    pub fn u16(&self, offset: usize) -> Result<u16, Malformed> {
        Ok(self.endian.u16(*self.array(offset)?))
    }

    /// The number at an offset.
    pub fn u32(&self, offset: usize) -> Result<u32, Malformed> {
        Ok(self.endian.u32(*self.array(offset)?))
    }

    /// The number at an offset.
    pub fn u64(&self, offset: usize) -> Result<u64, Malformed> {
        Ok(self.endian.u64(*self.array(offset)?))
    }

    /// What is left from an offset on; nothing when it lies behind the end.
    pub fn from(&self, offset: usize) -> Bytes<'a> {
        Bytes { bytes: self.bytes.get(offset..).unwrap_or_default(), endian: self.endian }
    }

    /// The first bytes, up to an end.
    pub fn to(&self, end: usize) -> Result<Bytes<'a>, Malformed> {
        let bytes = self.bytes.get(..end).ok_or(Malformed("a length leads beyond the end"))?;
        Ok(Bytes { bytes, endian: self.endian })
    }

    /// The text, without the NUL that the kernel puts at its end.
    pub fn text(&self) -> Result<&'a str, Malformed> {
        let bytes = self.bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| Malformed("a name is not text"))
    }

    /// The attributes that these bytes hold.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes(*self)
    }
}

/// A message, its header taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it is: NLMSG_*, RTM_*, or a generic netlink family.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// Of the request that it answers.
    pub sequence: u32,
    /// The socket that it is for; of an announcement: the one that asked for what is announced, 0: the kernel itself.
    pub port: u32,
    /// What follows the header.
    pub payload: Bytes<'a>,
}

/// Bytes of struct nlmsghdr.
const MESSAGE_HEADER: usize = 16;
/// Bytes of struct nlattr.
const ATTRIBUTE_HEADER: usize = 4;
/// Without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const ATTRIBUTE_KIND: u16 = 0x3fff;

/// The messages of one datagram.
pub struct Messages<'a>(Bytes<'a>);

impl<'a> Messages<'a> {
    /// Of these bytes.
    pub fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Self(Bytes { bytes, endian })
    }

    fn take(&mut self) -> Result<Message<'a>, Malformed> {
        let length = self.0.u32(0)? as usize;
        let whole = self.0.to(length)?;
        if length < MESSAGE_HEADER {
            return Err(Malformed("a message is shorter than its header"));
        }
        let message = Message {
            kind: whole.u16(4)?,
            flags: whole.u16(6)?,
            sequence: whole.u32(8)?,
            port: whole.u32(12)?,
            payload: whole.from(MESSAGE_HEADER),
        };
        self.0 = self.0.from(align(length));
        Ok(message)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.bytes.is_empty() {
            return None;
        }
        let message = self.take();
        if message.is_err() {
            self.0.bytes = &[];
        }
        Some(message)
    }
}

/// An attribute: a number that says what it is, and a value.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// What it is, without flags.
    pub kind: u16,
    /// The value.
    pub value: Bytes<'a>,
}

/// The attributes in a stretch of bytes.
pub struct Attributes<'a>(Bytes<'a>);

impl<'a> Attributes<'a> {
    /// The first attribute of a kind, if there is one and the bytes up to it are sound.
    pub fn find(self, kind: u16) -> Option<Bytes<'a>> {
        self.map_while(Result::ok).find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    fn take(&mut self) -> Result<Attribute<'a>, Malformed> {
        let length = usize::from(self.0.u16(0)?);
        let whole = self.0.to(length)?;
        if length < ATTRIBUTE_HEADER {
            return Err(Malformed("an attribute is shorter than its header"));
        }
        let attribute =
            Attribute { kind: whole.u16(2)? & ATTRIBUTE_KIND, value: whole.from(ATTRIBUTE_HEADER) };
        self.0 = self.0.from(align(length));
        Ok(attribute)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.bytes.is_empty() {
            return None;
        }
        let attribute = self.take();
        if attribute.is_err() {
            self.0.bytes = &[];
        }
        Some(attribute)
    }
}

/// Netlink pads to 4 bytes.
fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// A request, in this machine's byte order. Wiped when dropped; see [`Request::reserve`] for one that holds a secret.
pub struct Request(Zeroizing<Vec<u8>>);

impl Request {
    /// A request of this kind; `fixed` is the header that its protocol puts before the attributes.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; MESSAGE_HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self(Zeroizing::new(bytes))
    }

    /// Makes room for so many bytes more. A request that outgrows its room is copied, and the old bytes are not wiped:
    /// to be called before a secret is added.
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Bytes so far.
    #[allow(clippy::len_without_is_empty, reason = "it has a header from the start")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.wrap(kind, &mut |request| request.0.extend_from_slice(value));
    }

    /// Adds an attribute that holds others. Generic netlink insists on the flag (nlattr.c: NL_VALIDATE_NESTED).
    pub fn nested(&mut self, kind: u16, fill: &mut dyn FnMut(&mut Self)) {
        self.wrap(kind | libc::NLA_F_NESTED as u16, fill);
    }

    fn wrap(&mut self, kind: u16, fill: &mut dyn FnMut(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        let padded = align(self.0.len());
        self.0.resize(padded, 0);
    }

    /// The bytes to send.
    pub fn finish(mut self, sequence: u32) -> Zeroizing<Vec<u8>> {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_as_it_was_written() {
        let mut request = Request::new(21, 5, &[2, 0, 0, 0]);
        request.attribute(3, b"wg0\0");
        request.nested(8, &mut |request| request.attribute(0, &7_u16.to_ne_bytes()));
        let bytes = request.finish(99);

        let message = Messages::new(&bytes, Endian::NATIVE).next().unwrap().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (21, 5, 99));
        let attributes = || message.payload.from(4).attributes();
        assert_eq!(attributes().find(3).unwrap().text(), Ok("wg0"));
        let nested = attributes().find(8).unwrap();
        assert_eq!(nested.attributes().find(0).unwrap().u16(0), Ok(7));
        assert_eq!(attributes().count(), 2);
        assert_eq!(Messages::new(&bytes, Endian::NATIVE).count(), 1);
    }

    #[test]
    fn the_byte_order_is_the_callers() {
        let big = [0, 0, 0, 24, 0, 16, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 6, 0x80, 5, 0x12, 0x34, 0, 0];
        let message = Messages::new(&big, Endian::Big).next().unwrap().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (16, 2, 1));
        assert_eq!(message.payload.attributes().find(5).unwrap().u16(0), Ok(0x1234));
        assert!(Messages::new(&big, Endian::Little).next().unwrap().is_err());
    }

    /// Cuts and wrong lengths at every place end in an error or an end, never in a panic or an endless loop.
    #[test]
    fn damaged_bytes_are_refused() {
        let mut request = Request::new(21, 5, &[2, 0, 0, 0]);
        request.nested(8, &mut |request| request.attribute(1, &[1; 7]));
        let whole = request.finish(1);
        let read = |bytes: &[u8]| {
            let mut attributes = 0;
            for message in Messages::new(bytes, Endian::NATIVE).take(100) {
                let Ok(message) = message else { return None };
                for outer in message.payload.from(4).attributes().take(100) {
                    for inner in outer.ok()?.value.attributes().take(100) {
                        inner.ok()?;
                        attributes += 1;
                    }
                }
            }
            Some(attributes)
        };
        assert_eq!(read(&whole), Some(1));
        for end in 1..whole.len() {
            assert_eq!(read(&whole[..end]), None, "cut at {end}");
        }
        for place in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[place] = value;
                assert!(read(&damaged).is_none_or(|attributes| attributes < 100));
            }
        }
    }
}
