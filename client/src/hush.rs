//! [`Hush`] takes secrets out of what is told: errors, traces, recordings.

use crate::limits::{HUSHED_BYTES_MIN, HUSHED_MAX};
use azud_plan::component::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Stands where a secret stood.
const STARS: &str = "***";

/// The secrets that were used lately, so that none is told. Clones know the same.
#[derive(Clone, Default)]
pub struct Hush(Arc<Mutex<VecDeque<Secret>>>);

impl Hush {
    /// Remembers a secret, also as it stands in addresses, in JSON and in Base64.
    pub fn keep(&self, secret: &Secret) {
        let text = secret.reveal();
        if text.len() < HUSHED_BYTES_MIN {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is used goes to the end of those that leave, before it is among the first.
        let at = known.iter().rposition(|known| known == secret);
        if at.is_some_and(|at| at >= known.len() / 2) {
            return;
        }
        let json = serde_json::Value::from(text).to_string();
        let forms = [
            text.to_owned(),
            crate::url::encode(text),
            STANDARD.encode(text),
            json[1..json.len() - 1].to_owned(),
        ];
        for form in forms {
            known.retain(|known| known.reveal() != form);
            known.push_back(Secret::new(form));
        }
        while known.len() > HUSHED_MAX {
            known.pop_front();
        }
    }

    /// Gives a text without them.
    pub fn clean(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut clean = text.to_owned();
        // The longest first: of two where one begins the other, the rest of the longer would stay.
        let mut secrets: Vec<&str> = known.iter().map(Secret::reveal).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in secrets {
            if clean.contains(secret) {
                clean = clean.replace(secret, STARS);
            }
        }
        clean
    }
}

impl std::fmt::Debug for Hush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hush")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_in_all_their_forms() {
        let hush = Hush::default();
        hush.keep(&Secret::new("pa ss\"word".to_owned()));
        hush.keep(&Secret::new("pa ss\"word-longer".to_owned()));
        hush.keep(&Secret::new("x".to_owned()));
        let text = "a pa ss\"word b pa%20ss%22word c cGEgc3Mid29yZA== d pa ss\\\"word-longer x";
        assert_eq!(hush.clean(text), "a *** b *** c *** d *** x");
    }

    #[test]
    fn what_is_used_all_the_time_is_not_forgotten_for_tokens_that_come_and_go() {
        let hush = Hush::default();
        let keep = |text: &str| hush.keep(&Secret::new(text.to_owned()));
        for number in 0..4 * HUSHED_MAX {
            keep("the secret/of a client");
            (0..4).for_each(|kind| keep(&format!("token {kind}/{number}")));
            assert_eq!(hush.clean("with the secret/of a client"), "with ***", "{number}");
        }
    }
}
