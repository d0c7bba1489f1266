//! How a record lies in its slot.

/// A record of a fixed size.
pub trait Layout: Sized + Clone {
    /// Names the record's format: change it when the format changes, so that what an older release
    /// left in shared data is not misread.
    const FORMAT: &'static str;
    /// Writes all fields, in order.
    fn encode(&self, to: &mut Writer);
    /// Reads what [`Layout::encode`] wrote; `None` when it can't have.
    fn decode(from: &mut Reader<'_>) -> Option<Self>;
}

/// A value of a fixed size, of which a record may be made.
pub trait Fixed: Sized {
    /// Writes it.
    fn write(&self, to: &mut Writer);
    /// Reads what [`Fixed::write`] wrote.
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

impl Fixed for u32 {
    fn write(&self, to: &mut Writer) {
        to.u32(*self);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.u32()
    }
}

impl Fixed for u64 {
    fn write(&self, to: &mut Writer) {
        to.u64(*self);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.u64()
    }
}

impl<const N: usize> Fixed for [u8; N] {
    fn write(&self, to: &mut Writer) {
        to.bytes(self);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.array()
    }
}

/// Implements [`Layout`] for a type around a single [`Fixed`] value: the type, and the record's format.
#[macro_export]
macro_rules! layout_of_one {
    ($type:ident, $format:literal) => {
        impl $crate::Layout for $type {
            const FORMAT: &'static str = $format;
            fn encode(&self, to: &mut $crate::Writer) {
                $crate::Fixed::write(&self.0, to);
            }
            fn decode(from: &mut $crate::Reader<'_>) -> Option<Self> {
                $crate::Fixed::read(from).map(Self)
            }
        }
    };
}

/// Writes numbers, little-endian.
pub struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    /// Writes a byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    /// Writes two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }
    /// Writes four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }
    /// Writes eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }
}

/// Reads what a [`Writer`] wrote.
pub struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Reads bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }
    /// Reads a fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    /// Reads a byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }
    /// Reads two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    /// Reads four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    /// Reads eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
