//! Secrets come from a file or the environment, never from the config file itself.

use zeroize::Zeroizing;

use super::raw::SecretRef;

/// A 256-bit key, wiped when dropped.
pub type MasterKey = Zeroizing<[u8; 32]>;

/// The key that the examples use. Anyone can read it, so only test mode takes it.
pub const SAMPLE_MASTER_KEY: &str = "687573687061642d73616d706c652d6b65792d666f722d746573742d6f6e6c79";

/// Reads the text behind a reference, without the white space around it.
pub(super) fn read(reference: &SecretRef) -> Result<Zeroizing<String>, String> {
    let text = match (&reference.file, &reference.env) {
        (Some(path), None) => {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        (None, Some(name)) => read_env(name)?,
        (Some(_), Some(_)) | (None, None) => {
            return Err("must be { file = \"…\" } or { env = \"…\" }, one of the two".to_owned());
        }
    };
    let text = Zeroizing::new(text);
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}

/// Reads a 256-bit key: 64 hexadecimal digits.
pub(super) fn read_key(reference: &SecretRef, test_mode: bool) -> Result<MasterKey, String> {
    let text = read(reference)?;
    if text.as_str() == SAMPLE_MASTER_KEY && !test_mode {
        return Err("is the sample key of the documentation; make one with `openssl rand -hex 32`, or set \
                    test_mode = true"
            .to_owned());
    }
    let mut key = Zeroizing::new([0_u8; 32]);
    let bytes = text.as_bytes();
    let wrong = || "must be 64 hexadecimal digits: make one with `openssl rand -hex 32`".to_owned();
    if bytes.len() != 64 {
        return Err(wrong());
    }
    for (byte, pair) in key.iter_mut().zip(bytes.chunks_exact(2)) {
        let digit = |ascii: u8| char::from(ascii).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => high << 4 | low,
            _ => return Err(wrong()),
        };
    }
    Ok(key)
}

#[expect(clippy::disallowed_methods, reason = "the config's door to the environment")]
fn read_env(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))
}
