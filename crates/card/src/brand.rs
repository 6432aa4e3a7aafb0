//! Brands by their number ranges, as the schemes publish them.
//!
//! Checked against the npm package `credit-card-type` 10.3. Brands that are not in
//! [`Brand`] (Elo, Mir, Troy, …) are not told apart: inside a range below they count as its brand.

use hushpad_domain::masked_card::Brand;

/// What is known of a brand's cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrandRules {
    /// How many digits its numbers have, shortest first.
    pub lengths: &'static [u8],
    /// How many digits its security code has.
    pub security_code_length: u8,
    /// Whether every card has a security code.
    pub security_code_always: bool,
    /// Whether every number passes the Luhn check. UnionPay has cards that do not.
    pub luhn_always: bool,
}

/// The rules of a brand.
#[must_use]
pub fn rules(brand: Brand) -> BrandRules {
    let usual =
        BrandRules { lengths: &[16], security_code_length: 3, security_code_always: true, luhn_always: true };
    match brand {
        Brand::Visa => BrandRules { lengths: &[16, 18, 19], ..usual },
        Brand::Mastercard => usual,
        Brand::Amex => BrandRules { lengths: &[15], security_code_length: 4, ..usual },
        Brand::Diners => BrandRules { lengths: &[14, 16, 19], ..usual },
        Brand::Discover => BrandRules { lengths: &[16, 19], ..usual },
        Brand::Jcb => BrandRules { lengths: &[16, 17, 18, 19], ..usual },
        Brand::UnionPay => BrandRules { lengths: &[14, 15, 16, 17, 18, 19], luhn_always: false, ..usual },
        Brand::Maestro => {
            BrandRules { lengths: &[12, 13, 14, 15, 16, 17, 18, 19], security_code_always: false, ..usual }
        }
    }
}

/// The brand of a number by its first digits (ASCII): the longest prefix that matches wins, so the answer
/// can change while a number is keyed, and is final from the sixth digit on. `None` outside every range.
#[must_use]
pub fn detect(digits: &[u8]) -> Option<Brand> {
    RANGES
        .iter()
        .filter(|range| range.holds(digits))
        .max_by_key(|range| range.from.len())
        .map(|range| range.brand)
}

/// Every range of first digits: from, to (both of the same length, both included), and the brand. For a page that
/// shows the brand while a number is typed: the longest prefix that matches wins.
pub fn ranges() -> impl Iterator<Item = (&'static str, &'static str, Brand)> {
    let text = |digits: &'static [u8]| std::str::from_utf8(digits).unwrap_or_default();
    RANGES.iter().map(move |range| (text(range.from), text(range.to), range.brand))
}

/// Prefixes from `from` to `to`, both of the same length and both included.
struct Range {
    from: &'static [u8],
    to: &'static [u8],
    brand: Brand,
}

impl Range {
    fn holds(&self, digits: &[u8]) -> bool {
        digits.get(..self.from.len()).is_some_and(|prefix| self.from <= prefix && prefix <= self.to)
    }
}

const fn range(from: &'static [u8], to: &'static [u8], brand: Brand) -> Range {
    Range { from, to, brand }
}

const RANGES: &[Range] = &[
    range(b"4", b"4", Brand::Visa),
    range(b"51", b"55", Brand::Mastercard),
    range(b"2221", b"2720", Brand::Mastercard),
    range(b"34", b"34", Brand::Amex),
    range(b"37", b"37", Brand::Amex),
    range(b"300", b"305", Brand::Diners),
    range(b"36", b"36", Brand::Diners),
    range(b"38", b"39", Brand::Diners),
    range(b"6011", b"6011", Brand::Discover),
    range(b"644", b"649", Brand::Discover),
    range(b"65", b"65", Brand::Discover),
    range(b"2131", b"2131", Brand::Jcb),
    range(b"1800", b"1800", Brand::Jcb),
    range(b"3528", b"3589", Brand::Jcb),
    range(b"62", b"62", Brand::UnionPay),
    range(b"81", b"81", Brand::UnionPay),
    // The old Switch range inside Visa's.
    range(b"493698", b"493698", Brand::Maestro),
    // 50 without the pieces that are Elo's: 504175, 506699 to 506778, 509.
    range(b"500000", b"504174", Brand::Maestro),
    range(b"504176", b"506698", Brand::Maestro),
    range(b"506779", b"508999", Brand::Maestro),
    range(b"56", b"59", Brand::Maestro),
    range(b"63", b"63", Brand::Maestro),
    range(b"67", b"67", Brand::Maestro),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out from `credit-card-type` 10.3: its best match for each start of a number.
    #[test]
    fn numbers_have_the_brand_that_others_give_them() {
        let cases: &[(Option<Brand>, &[&str])] = &[
            (Some(Brand::Visa), &["4", "41", "4111111111111111", "493697", "493699"]),
            (Some(Brand::Mastercard), &["51", "55", "5555555555554444", "2221", "2230", "2699", "2720"]),
            (Some(Brand::Amex), &["34", "37", "378282246310005", "371449635398431"]),
            (Some(Brand::Diners), &["300", "305", "36", "38", "39", "30569309025904", "38520000023237"]),
            (Some(Brand::Discover), &["6011", "644", "649", "65", "6011111111111117"]),
            (Some(Brand::Jcb), &["2131", "1800", "3528", "3589", "3530111333300000"]),
            (Some(Brand::UnionPay), &["620", "6221", "6283", "810", "8171", "6200000000000005"]),
            (Some(Brand::Maestro), &["493698", "500000", "504174", "504176", "506698", "508999", "501800"]),
            (Some(Brand::Maestro), &["56", "59", "63", "67", "6759649826438453"]),
            (None, &["", "0", "1", "2", "5", "50", "7", "9", "2220", "2721", "2130", "3527", "3590"]),
            (None, &["306", "504175", "506699", "506778", "509000"]),
        ];
        for (brand, starts) in cases {
            for start in *starts {
                assert_eq!(detect(start.as_bytes()), *brand, "{start}");
            }
        }
    }

    /// Written out from `credit-card-type` 10.3: `lengths` and `code.size`.
    #[test]
    fn brands_have_the_lengths_that_others_give_them() {
        let cases: [(Brand, &[u8], u8); 8] = [
            (Brand::Visa, &[16, 18, 19], 3),
            (Brand::Mastercard, &[16], 3),
            (Brand::Amex, &[15], 4),
            (Brand::Diners, &[14, 16, 19], 3),
            (Brand::Discover, &[16, 19], 3),
            (Brand::Jcb, &[16, 17, 18, 19], 3),
            (Brand::UnionPay, &[14, 15, 16, 17, 18, 19], 3),
            (Brand::Maestro, &[12, 13, 14, 15, 16, 17, 18, 19], 3),
        ];
        for (brand, lengths, code_length) in cases {
            assert_eq!((rules(brand).lengths, rules(brand).security_code_length), (lengths, code_length));
        }
    }

    #[test]
    fn no_two_ranges_of_the_same_length_overlap() {
        for (index, one) in RANGES.iter().enumerate() {
            assert_eq!(one.from.len(), one.to.len());
            assert!(one.from <= one.to);
            for other in &RANGES[index + 1..] {
                let apart = one.to < other.from || other.to < one.from;
                assert!(apart || one.from.len() != other.from.len(), "{:?} {:?}", one.from, other.from);
            }
        }
    }
}
