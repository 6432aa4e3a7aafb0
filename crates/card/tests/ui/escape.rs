//! Digits are seen inside the closure and nowhere else.

fn keep(card: &hushpad_card::Card) -> &[u8] {
    card.read_number(|digits| digits)
}

fn keep_code(card: &hushpad_card::Card) -> Option<&[u8]> {
    card.read_security_code(|digits| digits)
}

fn main() {
    let secret = hushpad_card::Secret::new().unwrap();
    let _digits: &[u8] = secret.read(|digits| digits);
    let _ = (keep, keep_code);
}
