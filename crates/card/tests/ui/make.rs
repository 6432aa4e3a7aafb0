//! A card comes from a checked entry only.

fn main() {
    let secret = || hushpad_card::Secret::new().unwrap();
    let _card = hushpad_card::Card { number: secret(), expiry: secret(), security_code: None };
}
