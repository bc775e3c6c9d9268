//! What servers pack, without packing anything: stored blocks are whole gzip and whole ZIP.

/// Gives gzip of a text, as a server would send it.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut parts = text.chunks(usize::from(u16::MAX)).peekable();
    while let Some(part) = parts.next() {
        out.push(u8::from(parts.peek().is_none()));
        let length = u16::try_from(part.len()).unwrap();
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(part);
    }
    out.extend(crc(text).to_le_bytes());
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Gives a ZIP archive of files; a name that ends with `/` is that of a folder.
pub(crate) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let entry = |name: &str, bytes: &[u8]| {
        let mut head = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        head.extend([length, length].concat());
        head.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        head
    };
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let at = u32::try_from(out.len()).unwrap();
        out.extend(b"PK\x03\x04");
        out.extend(entry(name, bytes));
        out.extend([0, 0]);
        out.extend(name.as_bytes());
        out.extend(bytes);
        list.extend(b"PK\x01\x02\x14\x00");
        list.extend(entry(name, bytes));
        list.extend([0; 12]);
        list.extend(at.to_le_bytes());
        list.extend(name.as_bytes());
    }
    let from = u32::try_from(out.len()).unwrap();
    out.extend(list);
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend([0; 4]);
    out.extend(from.to_le_bytes());
    out.extend([0, 0]);
    out
}
