//! Texts that must stand nowhere but in Secrets.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Shortest piece that is looked for: longer than anything that two texts share by chance.
const PIECE: usize = 40;

/// Length of a join token's secret half, which no two share by chance.
const TOKEN: usize = 16;

/// Pieces of everything that is secret.
#[derive(Debug, Default)]
pub(crate) struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Takes note of what is in a Secret.
    pub(crate) fn learn(&mut self, secret: &Value) {
        for value in secret["data"]
            .as_object()
            .into_iter()
            .flat_map(|data| data.values())
        {
            let Some(text) = value.as_str() else { continue };
            let Some(plain) = STANDARD
                .decode(text)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
            else {
                continue;
            };
            self.learn_text(&plain);
        }
    }

    /// Takes note of the secret half of a join token.
    pub(crate) fn learn_token(&mut self, secret: &Value) {
        let half = secret["data"]["token-secret"].as_str();
        let plain = half.and_then(|data| String::from_utf8(STANDARD.decode(data).ok()?).ok());
        self.0.extend(plain.filter(|half| half.len() >= TOKEN));
    }

    fn learn_text(&mut self, text: &str) {
        if text.contains("PRIVATE KEY") {
            // The first line of every key of a sort is the same for its first half.
            let mut lines = text
                .lines()
                .skip_while(|line| !line.contains("PRIVATE KEY"))
                .skip(2);
            if let Some(line) = lines.next() {
                self.add(line.trim());
            }
            self.add(&STANDARD.encode(text)[64..]);
        }
        for line in text.lines() {
            if let Some((_, data)) = line.split_once("client-key-data:") {
                let data = data.trim().trim_matches('"');
                if let Some(key) = STANDARD.decode(data).ok().and_then(|b| String::from_utf8(b).ok()) {
                    self.learn_text(&key);
                }
            }
        }
    }

    fn add(&mut self, piece: &str) {
        if let Some(piece) = piece
            .get(..PIECE.min(piece.len()))
            .filter(|piece| piece.len() == PIECE)
        {
            self.0.insert(piece.to_owned());
        }
    }

    /// One that stands in the text, if one does; told by its beginning.
    pub(crate) fn found_in(&self, text: &str) -> Option<String> {
        if text.contains("PRIVATE KEY") {
            return Some("a private key".to_owned());
        }
        let found = self.0.iter().find(|piece| text.contains(piece.as_str()))?;
        Some(format!("{}…", &found[..6]))
    }
}
