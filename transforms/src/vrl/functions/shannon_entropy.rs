//! `shannon_entropy`: how evenly the parts of a text are spread.

use super::ours::{Call, Replacement};
use std::collections::BTreeMap;
use unicode_segmentation::UnicodeSegmentation;
use vrl::prelude::{Resolved, Value, VrlValueConvert};

/// `shannon_entropy`, summed in a fixed order.
pub const SHANNON_ENTROPY: Replacement = Replacement {
    name: "shannon_entropy",
    arguments: &["value", "segmentation"],
    run,
    reason: "it adds floats up in an order that differs from run to run, and so may the last digit",
};

fn run(call: &Call<'_>) -> Resolved {
    let value = call.required(0)?;
    let segmentation = match call.optional(1) {
        Some(segmentation) => segmentation.try_bytes_utf8_lossy()?,
        None => "byte".into(),
    };
    let entropy = match &*segmentation {
        "codepoint" => entropy_of(value.try_bytes_utf8_lossy()?.chars()),
        "grapheme" => entropy_of(value.try_bytes_utf8_lossy()?.graphemes(true)),
        _ => entropy_of(value.clone().try_bytes()?.iter()),
    };
    Ok(Value::from_f64_or_zero(entropy))
}

/// Gives −Σ p·log₂ p over the shares of equal parts, the parts in ascending order.
fn entropy_of<T: Ord>(parts: impl Iterator<Item = T>) -> f64 {
    let mut counts: BTreeMap<T, u32> = BTreeMap::new();
    for part in parts {
        let count = counts.entry(part).or_default();
        *count = count.saturating_add(1);
    }
    let total: f64 = counts.values().copied().map(f64::from).sum();
    counts.values().fold(0.0, |sum, count| {
        let share = f64::from(*count) / total;
        sum - share * share.log2()
    })
}

#[cfg(test)]
mod tests {
    use crate::vrl::testing::evaluate;
    use vrl::value;
    use vrl::value::Value;

    #[test]
    fn it_gives_what_vrl_documents() {
        let bits = |source: &str| match evaluate(source, value!({})).unwrap() {
            Value::Float(bits) => *bits,
            other => panic!("{other}"),
        };
        assert!((bits(r#"shannon_entropy("vector.dev")"#) - 2.921_928_094_887_362_6).abs() < 1e-12);
        let text = r#"shannon_entropy("test123%456.فوائد.net.", segmentation: "grapheme")"#;
        assert!((bits(text) - 3.936_260_027_531_526_7).abs() < 1e-12);
        assert_eq!(bits(r#"shannon_entropy("")"#), 0.0);
    }
}
