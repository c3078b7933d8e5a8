//! How does git frame what it sends? In pkt-lines: four hexadecimal digits of length, then the payload.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest payload (*gitprotocol-common*, "pkt-line Format").
const PAYLOAD_BYTES_MAX: usize = 65516;

/// The most data in one packet of a side band of 64k: the payload without the number of the band.
const BAND_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - 1;

/// The side band of data.
pub(crate) const BAND_DATA: u8 = 1;

/// The side band of text that the client shows its user after `remote: `.
pub(crate) const BAND_MESSAGE: u8 = 2;

/// One framed piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// A payload, empty perhaps.
    Data(Bytes),
    /// The end of a section.
    Flush,
    /// `0001` or `0002`, which only protocol version 2 has.
    Special,
}

/// Reads one packet; none at a clean end of the input.
///
/// # Errors
/// `InvalidData` for what is not a pkt-line; `UnexpectedEof` for half of one.
pub(crate) async fn read(input: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Packet>> {
    let mut digits = [0; 4];
    if input.read(&mut digits[..1]).await? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut digits[1..]).await?;
    let invalid = || {
        let found = digits.escape_ascii();
        std::io::Error::new(std::io::ErrorKind::InvalidData, format!("`{found}` is not the length of a git pkt-line"))
    };
    let text = std::str::from_utf8(&digits).map_err(|_| invalid())?;
    // `from_str_radix` alone would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid());
    }
    match usize::from_str_radix(text, 16).map_err(|_| invalid())? {
        0 => Ok(Some(Packet::Flush)),
        1 | 2 => Ok(Some(Packet::Special)),
        length if (4..=PAYLOAD_BYTES_MAX + 4).contains(&length) => {
            let mut payload = vec![0; length - 4];
            input.read_exact(&mut payload).await?;
            Ok(Some(Packet::Data(payload.into())))
        }
        _ => Err(invalid()),
    }
}

/// Appends a packet; the payload must fit.
pub(crate) fn write(out: &mut BytesMut, payload: impl AsRef<[u8]>) {
    let payload = payload.as_ref();
    debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload fits its packet");
    out.put_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.put_slice(payload);
}

/// Appends the end of a section.
pub(crate) fn flush(out: &mut BytesMut) {
    out.put_slice(b"0000");
}

/// Appends data of any length on a side band.
pub(crate) fn write_band(out: &mut BytesMut, band: u8, data: &[u8]) {
    for piece in data.chunks(BAND_BYTES_MAX) {
        out.put_slice(format!("{:04x}", piece.len() + 5).as_bytes());
        out.put_u8(band);
        out.put_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read_all(mut input: &[u8]) -> std::io::Result<Vec<Packet>> {
        let mut packets = Vec::new();
        while let Some(packet) = read(&mut input).await? {
            packets.push(packet);
        }
        Ok(packets)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn packets_are_framed_as_git_documents_them() {
        let mut out = BytesMut::new();
        write(&mut out, "a\n");
        write(&mut out, "");
        flush(&mut out);
        write_band(&mut out, BAND_MESSAGE, b"hi");
        assert_eq!(&out[..], b"0006a\n000400000007\x02hi");
        let packets = block_on(read_all(&out)).expect("valid");
        assert_eq!(
            packets,
            [Packet::Data("a\n".into()), Packet::Data(Bytes::new()), Packet::Flush, Packet::Data("\x02hi".into())]
        );
    }

    #[test]
    fn what_is_not_framed_is_an_error_and_not_a_packet() {
        for bad in [&b"zzzz"[..], b"+001", b"0003", b"fff5", b"00", b"0006a", b"\xff\xff\xff\xff"] {
            block_on(read_all(bad)).expect_err("not a pkt-line");
        }
    }

    #[test]
    fn long_data_is_cut_to_packets() {
        let data = vec![7; BAND_BYTES_MAX * 2 + 1];
        let mut out = BytesMut::new();
        write_band(&mut out, BAND_DATA, &data);
        let packets = block_on(read_all(&out)).expect("valid");
        assert_eq!(packets.len(), 3);
        let joined: Vec<u8> = packets
            .iter()
            .flat_map(|packet| match packet {
                Packet::Data(data) => data[1..].to_vec(),
                _ => Vec::new(),
            })
            .collect();
        assert_eq!(joined, data);
    }

    proptest! {
        #[test]
        fn any_input_ends_in_packets_or_an_error(input: Vec<u8>) {
            let _ = block_on(read_all(&input));
        }
    }
}
