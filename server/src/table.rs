//! Tables for people: columns as wide as their widest cell, sizes and ages in round numbers.

use std::time::Duration;

/// Sets rows in columns below a head, each as wide as its widest cell. Cells are made [`plain`].
pub fn table<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let rows = rows.into_iter().map(|row| row.map(|cell| plain(&cell)));
    let cells: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &cells {
        let columns = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(columns.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Writes a text so that it stays on its line: what a stranger has sent must not steer a terminal.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            // Controls, and what turns the direction of writing or cannot be seen.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(sign.escape_unicode());
            }
            sign if sign.is_control() => out.extend(sign.escape_debug()),
            sign => out.push(sign),
        }
    }
    out
}

/// Writes a number of bytes with at most one digit behind the point: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut scaled, mut unit) = (bytes as f64, 0);
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let text = format!("{scaled:.1}");
    format!("{} {}", text.trim_end_matches(".0"), UNITS[unit])
}

/// Writes how long ago something was, in its largest whole unit: `12 s ago`.
pub fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{number} {unit} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long ä".to_owned(), String::new()]];
        assert_eq!(table(["id", "n"], rows), "id      n\na       1\nlong ä\n");
    }

    #[test]
    fn what_strangers_write_does_not_steer_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d é"), "a\\u{1b}[31mb\\nc\\u{202e}d é");
        assert_eq!(table(["a"], [["\u{9b}x".to_owned()]]), "a\n\\u{9b}x\n");
    }

    #[test]
    fn sizes_and_ages_are_round() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (1_048_575, "1 MiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (seconds, text) in
            [(0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7_200, "2 h ago")]
        {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
        assert_eq!(ago(Duration::from_secs(172_800)), "2 d ago");
    }
}
