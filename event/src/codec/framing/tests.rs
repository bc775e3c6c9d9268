use super::*;
use crate::codec::testing::block_of;
use proptest::prelude::*;

/// What a stream comes to, frame by frame.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Frame(Vec<u8>),
    Refused(Reason, Vec<u8>, usize),
}

fn frame(bytes: &[u8]) -> Piece {
    Piece::Frame(bytes.to_vec())
}

fn too_long(bytes: &[u8]) -> Piece {
    Piece::Refused(Reason::TooLong, bytes.to_vec(), bytes.len())
}

fn records(bytes: &[u8], layout: Layout) -> Vec<Vec<u8>> {
    let block = block_of(bytes, layout, Vec::new());
    frames(&block).map(|frame| block.bytes[frame.range].to_vec()).collect()
}

fn pieces_of(cut: Cut, framing: Framing, pieces: &mut Vec<Piece>) {
    match cut {
        Cut::Records(bytes) => {
            assert!(!bytes.is_empty());
            pieces.extend(records(&bytes, framing.layout()).into_iter().map(Piece::Frame));
        }
        Cut::Refused { reason, bytes, length } => {
            pieces.push(Piece::Refused(reason, bytes.to_vec(), length));
        }
    }
}

/// Gives the stream to a framer in reads of `sizes`, over and over.
fn framed(framing: Framing, max: usize, stream: &[u8], sizes: &[usize]) -> Vec<Piece> {
    let mut framer = StreamFramer::new(framing, max);
    let mut pieces = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        let (read, later) = rest.split_at((*size).min(rest.len()));
        framer.push(read);
        while let Some(cut) = framer.next_cut() {
            pieces_of(cut, framing, &mut pieces);
        }
        // The longest head of a count is ten bytes.
        assert!(framer.waiting_bytes() <= max + 10, "{} bytes wait", framer.waiting_bytes());
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    while let Some(cut) = framer.finish() {
        pieces_of(cut, framing, &mut pieces);
    }
    pieces
}

/// Divides the whole stream at once, with nothing but the rules.
fn model(framing: Framing, max: usize, stream: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        if framing == Framing::Syslog
            && let Some((head, count)) = model_count(rest, max)
        {
            let body = &rest[head..(head + count).min(rest.len())];
            rest = &rest[head + body.len()..];
            let kept = body[..body.len().min(DEAD_LETTER_RAW_BYTES)].to_vec();
            if count > max {
                pieces.push(Piece::Refused(Reason::TooLong, kept, body.len()));
            } else if body.len() < count {
                pieces.push(Piece::Refused(Reason::IncompleteFrame, kept, body.len()));
            } else {
                push_trimmed(body, framing, &mut pieces);
            }
            continue;
        }
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = &rest[(end + 1).min(rest.len())..];
        if line.len() > max {
            let kept = line[..line.len().min(DEAD_LETTER_RAW_BYTES)].to_vec();
            pieces.push(Piece::Refused(Reason::TooLong, kept, line.len()));
        } else {
            push_trimmed(line, framing, &mut pieces);
        }
    }
    pieces
}

fn model_count(rest: &[u8], max: usize) -> Option<(usize, usize)> {
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(&rest[..space]).ok()?;
    let is_count = (1..=9).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    let count: usize = if is_count { digits.parse().ok()? } else { return None };
    let body = &rest[space + 1..];
    let counted = match body.first() {
        _ if count > RECORD_BYTES_MAX => false,
        Some(b'<') => true,
        _ => count <= max && body.len() >= count && !body[..count - 1].contains(&b'\n'),
    };
    counted.then_some((space + 1, count))
}

fn push_trimmed(mut bytes: &[u8], framing: Framing, pieces: &mut Vec<Piece>) {
    let all = framing == Framing::Syslog;
    while let Some((last, shorter)) = bytes.split_last() {
        if *last == b'\r' || all && (*last == 0 || *last == b'\n') {
            bytes = shorter;
            if all {
                continue;
            }
        }
        break;
    }
    if !bytes.is_empty() {
        pieces.push(frame(bytes));
    }
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\0".to_vec()),
        2 => Just(b"<13>text".to_vec()),
        2 => Just(b"a line of text\n".to_vec()),
        2 => Just(b"2024 was a year\n".to_vec()),
        1 => Just(b"999999999 <1>x\n".to_vec()),
        1 => Just(b"1234567890 <1>x\n".to_vec()),
        1 => Just(b"7".to_vec()),
        1 => Just(b"07 <13>abc".to_vec()),
        3 => (1..40_usize).prop_map(|count| format!("{count} <7>counted text").into_bytes()),
        3 => proptest::collection::vec(any::<u8>(), 1..30).prop_map(|bytes| {
            let mut frame = format!("{} <", bytes.len() + 1).into_bytes();
            frame.extend(bytes);
            frame
        }),
        2 => (1..40_usize).prop_map(|count| format!("{count} counted").into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..50),
    ];
    proptest::collection::vec(part, 0..20).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_cutting_into_reads_gives_the_frames_of_the_model(
        stream in streams(),
        sizes in proptest::collection::vec(1..30_usize, 1..20),
        max in 1..60_usize,
        by_line: bool,
    ) {
        let framing = if by_line { Framing::Lines } else { Framing::Syslog };
        let expected = model(framing, max, &stream);
        prop_assert_eq!(&framed(framing, max, &stream, &[stream.len().max(1)]), &expected);
        prop_assert_eq!(&framed(framing, max, &stream, &sizes), &expected);
        prop_assert_eq!(&framed(framing, max, &stream, &[1]), &expected);
    }

    #[test]
    fn lines_account_for_every_byte_that_delimits_nothing(
        stream in streams(),
        sizes in proptest::collection::vec(1..30_usize, 1..20),
        max in 1..60_usize,
    ) {
        let mut joined = Vec::new();
        for piece in framed(Framing::Lines, max, &stream, &sizes) {
            match piece {
                Piece::Frame(bytes) => joined.extend(bytes),
                Piece::Refused(_, bytes, length) => {
                    prop_assert_eq!(bytes.len(), length);
                    joined.extend(bytes);
                }
            }
        }
        // A CR is part of some frames and ends others; what is neither CR nor LF must all be there.
        let text = |bytes: &[u8]| -> Vec<u8> {
            bytes.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect()
        };
        prop_assert_eq!(text(&joined), text(&stream));
    }

    #[test]
    fn any_bytes_are_divided_without_panic(bytes: Vec<u8>) {
        for layout in [Layout::Lines, Layout::Syslog, Layout::Heads] {
            let block = block_of(&bytes, layout, Vec::new());
            let mut end = 0;
            for frame in frames(&block) {
                prop_assert!(frame.range.start >= end && frame.range.end <= bytes.len());
                end = frame.range.end;
            }
        }
    }

    #[test]
    fn heads_give_back_what_was_written(
        records in proptest::collection::vec((any::<Vec<u8>>(), any::<u32>(), any::<u32>()), 0..9),
    ) {
        let mut writer = crate::block::HeadWriter::new();
        for (bytes, peer, delta) in &records {
            writer.push(bytes, *peer, *delta);
        }
        let block = block_of(&writer.take(), Layout::Heads, Vec::new());
        let read: Vec<_> = frames(&block)
            .map(|frame| {
                let bytes = block.bytes[frame.range].to_vec();
                (bytes, u32::try_from(frame.peer).unwrap(), frame.received_delta_us)
            })
            .collect();
        prop_assert_eq!(read, records);
    }
}

#[test]
fn lines_lose_their_end_and_empty_ones_are_no_records() {
    let lines = records(b"one\r\n\n\r\ntwo\r\r\nthree", Layout::Lines);
    assert_eq!(lines, [&b"one"[..], b"two\r", b"three"]);
}

#[test]
fn counted_frames_and_lines_may_mix() {
    let stream = b"10 <13>first\n<13>second\r\n11 <13>t\nhird\0<13>fourth\0\n<13>last";
    let all = records(stream, Layout::Syslog);
    assert_eq!(
        all,
        [&b"<13>first"[..], b"<13>second", b"<13>t\nhird", b"<13>fourth", b"<13>last",]
    );
}

#[test]
fn what_is_no_count_is_text() {
    for line in [
        &b"2024 was a quiet year"[..],
        b"0 <13>zero",
        b"007 <13>abc",
        b"12<13>no space",
        b" 9 <13>abcde",
        b"1234567890 <13>ten digits",
        b"999999999 <13>more than any record may have",
        b"2024",
    ] {
        let stream = [line, b"\n"].concat();
        assert_eq!(framed(Framing::Syslog, 1_000, &stream, &[3]), [frame(line)]);
    }
}

#[test]
fn a_count_without_priority_holds_when_no_line_ends_within() {
    assert_eq!(records(b"5 hello5 world", Layout::Syslog), [b"hello", b"world"]);
    assert_eq!(records(b"9 hello\nyou", Layout::Syslog), [&b"9 hello"[..], b"you"]);
}

#[test]
fn a_count_above_the_maximum_is_passed_over_to_its_end() {
    let stream = b"20 <13>twenty bytes all8 <13>good20 <13>twenty bytes all8 <13>also";
    let pieces = framed(Framing::Syslog, 16, stream, &[5]);
    let refused = || too_long(b"<13>twenty bytes all");
    assert_eq!(pieces, [refused(), frame(b"<13>good"), refused(), frame(b"<13>also")]);
}

#[test]
fn the_end_of_a_stream_ends_a_line_but_no_count() {
    assert_eq!(framed(Framing::Lines, 16, b"one\ntwo", &[2]), [frame(b"one"), frame(b"two")]);
    assert_eq!(
        framed(Framing::Syslog, 16, b"<13>x\n<13>y", &[2]),
        [frame(b"<13>x"), frame(b"<13>y")]
    );
    let short = Piece::Refused(Reason::IncompleteFrame, b"<13>sho".to_vec(), 7);
    assert_eq!(framed(Framing::Syslog, 16, b"9 <13>sho", &[2]), [short]);
}

#[test]
fn what_might_have_been_a_count_is_no_longer_a_line_than_others() {
    // Found by the property above: the end comes while the count's last byte is still awaited.
    assert_eq!(framed(Framing::Syslog, 5, b"5 abcd", &[1]), [too_long(b"5 abcd")]);
    assert_eq!(framed(Framing::Syslog, 6, b"5 abcd", &[1]), [frame(b"5 abcd")]);
    assert_eq!(framed(Framing::Syslog, 3, b"1234", &[1]), [too_long(b"1234")]);
}

#[test]
fn an_endless_line_takes_bounded_memory_and_is_counted_whole() {
    let mut framer = StreamFramer::new(Framing::Syslog, 1_000);
    for _ in 0..1_000 {
        framer.push(&[b'x'; 1_000]);
        assert_eq!(framer.next_cut(), None);
        assert!(framer.waiting_bytes() <= 1_000);
    }
    framer.push(b"end\nnext\n");
    let Some(Cut::Refused { reason: Reason::TooLong, bytes, length }) = framer.next_cut() else {
        panic!("the endless line is refused");
    };
    assert_eq!((bytes.len(), length), (DEAD_LETTER_RAW_BYTES, 1_000_003));
    assert_eq!(framer.next_cut(), Some(Cut::Records(Bytes::from_static(b"next\n"))));
    assert_eq!(framer.finish(), None);
}

#[test]
fn waiting_bytes_are_not_searched_again() {
    for framing in [Framing::Lines, Framing::Syslog] {
        let mut framer = StreamFramer::new(framing, 10_000);
        for length in [7, 14, 21] {
            framer.push(b"no end ");
            assert_eq!(framer.next_cut(), None);
            assert_eq!(framer.scanned, length);
        }
        framer.push(b"but now\nand");
        assert_eq!(
            framer.next_cut(),
            Some(Cut::Records(Bytes::from_static(b"no end no end no end but now\n")))
        );
        assert_eq!(framer.next_cut(), None);
        assert_eq!(framer.scanned, 3);
    }
}

#[test]
fn what_was_read_is_not_copied() {
    let mut framer = StreamFramer::new(Framing::Lines, 1_000);
    framer.buffer().extend_from_slice(b"one\ntwo\nthr");
    let read_at = framer.buffer().as_ptr();
    let Some(Cut::Records(records)) = framer.next_cut() else { panic!("there are two lines") };
    assert_eq!((&records[..], records.as_ptr()), (&b"one\ntwo\n"[..], read_at));
}
