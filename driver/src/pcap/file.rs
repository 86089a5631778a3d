//! Capture files: pcapng is written (draft-ietf-opsawg-pcapng), pcap and pcapng are read.
//!
//! The formats are `pcap-file`'s; here are the units, the directions and the link types that a stack
//! cares for. Left out: several sections in a file, and link types other than Ethernet and raw IP.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use pcap_file::DataLink;
use pcap_file::PcapError;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgBlock, PcapNgReader, PcapNgWriter};

use crate::device::Medium;

/// The first bytes of a pcapng file: the type of its section header block.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Timestamps are in powers of ten of a second; this is nanoseconds.
const NANOSECONDS: u8 = 9;
/// What they are in when the file does not say.
const MICROSECONDS: u8 = 6;

/// Which way a frame went, seen from the device that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received.
    In,
    /// Transmitted.
    Out,
}

/// A frame in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When, since the epoch of the file: 1970 for those of real devices.
    pub at: Duration,
    /// Which way, where the file tells.
    pub direction: Option<Direction>,
    /// What the frame begins with.
    pub medium: Medium,
    /// The bytes, as far as they were captured.
    pub data: Bytes,
    /// How long it was on the wire.
    pub original_len: usize,
}

/// Writes a pcapng file.
pub struct FileWriter {
    writer: PcapNgWriter<BufWriter<File>>,
    snap_len: usize,
    written_bytes: u64,
}

impl FileWriter {
    /// Creates the file, or empties it. Of each frame, `snap_len` bytes are kept.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(
        path: &Path,
        medium: Medium,
        interface: &str,
        snap_len: usize,
    ) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut writer = PcapNgWriter::new(file).map_err(into_io)?;
        let description = InterfaceDescriptionBlock {
            linktype: match medium {
                Medium::Ethernet => DataLink::ETHERNET,
                Medium::Ip => DataLink::RAW,
            },
            snaplen: u32::try_from(snap_len).unwrap_or(0), // 0: no limit
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(interface.to_owned())),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        let written = writer
            .write_block(&description.into_block())
            .map_err(into_io)?;
        Ok(Self {
            writer,
            snap_len,
            written_bytes: written as u64,
        })
    }

    /// Appends a frame. What is buffered reaches the file with [`Self::flush`], or when this is dropped.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&mut self, at: Duration, direction: Direction, frame: &[u8]) -> io::Result<()> {
        let kept = &frame[..frame.len().min(self.snap_len)];
        // epb_flags, bits 0 and 1: 01 inbound, 10 outbound.
        let flags = match direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: at,
            original_len: frame.len() as u32,
            data: Cow::Borrowed(kept),
            options: vec![EnhancedPacketOption::Flags(flags)],
        };
        let written = self
            .writer
            .write_block(&block.into_block())
            .map_err(into_io)?;
        self.written_bytes += written as u64;
        Ok(())
    }

    /// Bytes written so far, buffered ones included.
    #[must_use]
    pub const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Hands everything to the file system.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }
}

/// Reads the frames of a pcap or pcapng file.
pub struct FileReader {
    format: Format,
}

enum Format {
    Pcap(PcapReader<BufReader<File>>, Medium),
    PcapNg(Box<PcapNgReader<BufReader<File>>>),
}

impl FileReader {
    /// Opens a file, of either format.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` for what is no capture of Ethernet or IP.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)?;
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::new(file);
        let format = if magic == PCAPNG_MAGIC {
            Format::PcapNg(Box::new(PcapNgReader::new(file).map_err(into_io)?))
        } else {
            let reader = PcapReader::new(file).map_err(into_io)?;
            let medium = medium(reader.header().datalink)?;
            Format::Pcap(reader, medium)
        };
        Ok(Self { format })
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` where the file is damaged.
    pub fn next_frame(&mut self) -> io::Result<Option<Recorded>> {
        match &mut self.format {
            Format::Pcap(reader, medium) => {
                let Some(packet) = reader.next_packet() else {
                    return Ok(None);
                };
                let packet = packet.map_err(into_io)?;
                Ok(Some(Recorded {
                    at: packet.timestamp,
                    direction: None,
                    medium: *medium,
                    data: Bytes::copy_from_slice(&packet.data),
                    original_len: packet.orig_len as usize,
                }))
            }
            Format::PcapNg(reader) => next_of_pcapng(reader),
        }
    }
}

fn next_of_pcapng(reader: &mut PcapNgReader<BufReader<File>>) -> io::Result<Option<Recorded>> {
    loop {
        let packet = match reader.next_block() {
            None => return Ok(None),
            Some(Ok(Block::EnhancedPacket(packet))) => packet.into_owned(),
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Err(into_io(error)),
        };
        let Some(interface) = reader.packet_interface(&packet) else {
            return Err(invalid("a packet of an interface that was not described"));
        };
        let direction = packet.options.iter().find_map(|option| match option {
            EnhancedPacketOption::Flags(flags) if flags & 3 == 1 => Some(Direction::In),
            EnhancedPacketOption::Flags(flags) if flags & 3 == 2 => Some(Direction::Out),
            _ => None,
        });
        return Ok(Some(Recorded {
            at: time(&packet, interface)?,
            direction,
            medium: medium(interface.linktype)?,
            original_len: packet.original_len as usize,
            data: Bytes::from(packet.data.into_owned()),
        }));
    }
}

/// `pcap-file` takes the units of every file for nanoseconds; they are what `if_tsresol` says.
fn time(
    packet: &EnhancedPacketBlock<'_>,
    interface: &InterfaceDescriptionBlock<'_>,
) -> io::Result<Duration> {
    let units = packet.timestamp.as_nanos();
    let resolution = interface.options.iter().find_map(|option| match option {
        InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
        _ => None,
    });
    let resolution = resolution.unwrap_or(MICROSECONDS);
    let per_second = if resolution & 0x80 == 0 {
        10u128.checked_pow(u32::from(resolution))
    } else {
        1u128.checked_shl(u32::from(resolution & 0x7f))
    };
    let nanos =
        per_second.and_then(|per_second| Some(units.checked_mul(1_000_000_000)? / per_second));
    let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| invalid("a time that cannot be"))
}

fn medium(link: DataLink) -> io::Result<Medium> {
    match link {
        DataLink::ETHERNET => Ok(Medium::Ethernet),
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => Ok(Medium::Ip),
        other => Err(invalid(&format!(
            "frames of link type {other:?}; Ethernet or raw IP is needed"
        ))),
    }
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => invalid(&other.to_string()),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
