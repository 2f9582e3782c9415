//! Bootstrap tokens: the short-lived credential with which a machine asks for its kubelet certificate.

use std::fmt;

/// A kubeadm bootstrap token, `<id>.<secret>`.
///
/// Its `Debug` form shows the id alone: the id is the public half (it is part of the Secret's name).
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    id: String,
    secret: String,
}

/// A text that is not a bootstrap token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "bootstrap token: expected 6 and 16 characters of a-z and 0-9 with a dot between them, found a text of another form"
)]
pub struct MalformedToken;

/// Characters a token is made of (`[a-z0-9]`, from the bootstrap token format of Kubernetes).
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

impl BootstrapToken {
    /// Number of random bytes that [`Self::from_random`] wants.
    pub const RANDOM_BYTES: usize = 2 * (ID_LENGTH + SECRET_LENGTH);

    /// Makes a token from random bytes. Two bytes go into each character, so that the bias of the remainder is below
    /// one in a thousand.
    pub fn from_random(random: &[u8; Self::RANDOM_BYTES]) -> Self {
        let mut characters = random.chunks_exact(2).map(|pair| {
            let number = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
            char::from(ALPHABET[number % ALPHABET.len()])
        });
        let id = characters.by_ref().take(ID_LENGTH).collect();
        let secret = characters.collect();
        Self { id, secret }
    }

    /// Reads a token of the form `<id>.<secret>`.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let well_formed =
            |part: &str, length| part.len() == length && part.bytes().all(|byte| ALPHABET.contains(&byte));
        match text.split_once('.') {
            Some((id, secret)) if well_formed(id, ID_LENGTH) && well_formed(secret, SECRET_LENGTH) => {
                Ok(Self {
                    id: id.into(),
                    secret: secret.into(),
                })
            }
            _ => Err(MalformedToken),
        }
    }

    /// The public half: the Secret that carries the token is `bootstrap-token-<id>` in `kube-system`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret half. Keep it out of logs, events and command lines.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The whole token, `<id>.<secret>`. Keep it out of logs, events and command lines.
    pub fn expose(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootstrapToken({}.<redacted>)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_made_token_is_read_back(random in prop::array::uniform32(any::<u8>()), rest in prop::array::uniform12(any::<u8>())) {
            let mut bytes = [0; BootstrapToken::RANDOM_BYTES];
            bytes[..32].copy_from_slice(&random);
            bytes[32..].copy_from_slice(&rest);
            let token = BootstrapToken::from_random(&bytes);
            prop_assert_eq!(BootstrapToken::parse(&token.expose()), Ok(token));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "abcdef",
            "abcdef.0123456789abcde",
            "abcdef.0123456789abcdefg",
            "ABCDEF.0123456789abcdef",
            "abcdéf.0123456789abcdef",
        ] {
            assert_eq!(BootstrapToken::parse(text), Err(MalformedToken), "{text:?}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "BootstrapToken(abcdef.<redacted>)");
    }
}
