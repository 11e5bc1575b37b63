//! Numbers of Terraform: decimal, of any size, equal when their values are.
//!
//! Almost every number is a small integer, so that case is a plain `i64`. Everything else is kept as decimal
//! digits and a power of ten in one canonical form; no arithmetic is ever done, so no big-number library is
//! needed and a hostile exponent costs nothing.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Powers of ten beyond this are refused: nothing Terraform computes comes near.
const MAX_EXPONENT: u64 = 100_000;

/// A plain rendering with more padding zeros than this is written with an exponent instead.
const MAX_PADDING: i64 = 400;

/// A number, exact.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(Repr);

/// Canonical: what fits an `i64` is an `Integer`, so that derived equality is numeric equality.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Integer(i64),
    Decimal(Box<Decimal>),
    Infinity(Sign),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Sign {
    Plus,
    Minus,
}

/// `±digits × 10^exponent`; digits neither begin nor end with a zero and are never empty.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Decimal {
    sign: Sign,
    digits: String,
    exponent: i64,
}

/// A text or float that is no number of Terraform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text is not a decimal number.
    #[error("not a decimal number")]
    Syntax,
    /// The power of ten is out of all proportion.
    #[error("the number's exponent is out of range")]
    Exponent,
    /// A float that is not a number.
    #[error("NaN is not a number of Terraform")]
    NotANumber,
}

impl Number {
    /// The number, if it is a whole one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.0 {
            Repr::Integer(n) => Some(n),
            _ => None,
        }
    }

    /// The number, if it is a whole one that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Integer(n) => u64::try_from(*n).ok(),
            Repr::Decimal(d) => d.whole_digits(20)?.parse().ok(),
            Repr::Infinity(_) => None,
        }
    }

    /// The nearest float; infinite where the number is too large for one.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "the nearest float is what is asked for"
    )]
    pub fn to_f64(&self) -> f64 {
        match &self.0 {
            Repr::Integer(n) => *n as f64,
            Repr::Decimal(d) => format!("{}{}e{}", d.sign.prefix(), d.digits, d.exponent)
                .parse()
                .unwrap_or(f64::NAN),
            Repr::Infinity(Sign::Plus) => f64::INFINITY,
            Repr::Infinity(Sign::Minus) => f64::NEG_INFINITY,
        }
    }

    /// The float with exactly this value, where there is one.
    #[must_use]
    pub fn to_f64_exact(&self) -> Option<f64> {
        if let Repr::Decimal(d) = &self.0
            && d.exponent < 0
            && !d.digits.ends_with('5')
        {
            // A finite binary fraction always ends in 5 when written in decimal.
            return None;
        }
        let float = self.to_f64();
        (Self::try_from(float).as_ref() == Ok(self)).then_some(float)
    }

    /// Whether it is an ordinary number, neither of the infinities.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        !matches!(self.0, Repr::Infinity(_))
    }

    fn from_parts(sign: Sign, digits: &str, exponent: i64) -> Result<Self, NumberError> {
        let digits = digits.trim_start_matches('0');
        let trimmed = digits.trim_end_matches('0');
        if trimmed.is_empty() {
            return Ok(Self(Repr::Integer(0)));
        }
        let dropped = i64::try_from(digits.len() - trimmed.len()).map_err(|_| NumberError::Exponent)?;
        let exponent = exponent.checked_add(dropped).ok_or(NumberError::Exponent)?;
        if exponent.unsigned_abs() > MAX_EXPONENT {
            return Err(NumberError::Exponent);
        }
        let decimal = Decimal {
            sign,
            digits: trimmed.to_owned(),
            exponent,
        };
        let small = decimal.whole_digits(19).and_then(|text| text.parse().ok());
        Ok(Self(
            small.map_or_else(|| Repr::Decimal(Box::new(decimal)), Repr::Integer),
        ))
    }

    fn to_decimal(&self) -> Option<Decimal> {
        match &self.0 {
            Repr::Integer(n) => Some(Decimal {
                sign: if *n < 0 { Sign::Minus } else { Sign::Plus },
                digits: n.unsigned_abs().to_string(),
                exponent: 0,
            }),
            Repr::Decimal(d) => Some((**d).clone()),
            Repr::Infinity(_) => None,
        }
    }
}

impl Decimal {
    /// The signed digits of a whole number of at most `max` digits.
    fn whole_digits(&self, max: usize) -> Option<String> {
        let zeros = usize::try_from(self.exponent).ok()?;
        if self.digits.len().checked_add(zeros)? > max {
            return None;
        }
        Some(format!(
            "{}{}{}",
            self.sign.prefix(),
            self.digits,
            "0".repeat(zeros)
        ))
    }

    /// The power of ten just above the number's magnitude.
    fn magnitude(&self) -> i64 {
        self.exponent
            .saturating_add(i64::try_from(self.digits.len()).unwrap_or(i64::MAX))
    }

    fn cmp_magnitude(&self, other: &Self) -> Ordering {
        // Without leading zeros, digits aligned at the point compare like text; trailing zeros decide nothing.
        let by_digits = || {
            self.digits
                .trim_end_matches('0')
                .cmp(other.digits.trim_end_matches('0'))
        };
        self.magnitude().cmp(&other.magnitude()).then_with(by_digits)
    }
}

impl Sign {
    fn prefix(self) -> &'static str {
        match self {
            Self::Plus => "",
            Self::Minus => "-",
        }
    }
}

impl From<i64> for Number {
    fn from(n: i64) -> Self {
        Self(Repr::Integer(n))
    }
}

impl From<i32> for Number {
    fn from(n: i32) -> Self {
        Self::from(i64::from(n))
    }
}

impl From<u32> for Number {
    fn from(n: u32) -> Self {
        Self::from(i64::from(n))
    }
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        match i64::try_from(n) {
            Ok(small) => Self::from(small),
            // Digits of an integer always parse.
            Err(_) => {
                Self::from_parts(Sign::Plus, &n.to_string(), 0).unwrap_or(Self(Repr::Infinity(Sign::Plus)))
            }
        }
    }
}

impl TryFrom<f64> for Number {
    type Error = NumberError;

    /// Takes the float's exact value: `0.1` becomes the 55 digits that it stands for, as it does in Terraform.
    fn try_from(float: f64) -> Result<Self, NumberError> {
        if float.is_nan() {
            return Err(NumberError::NotANumber);
        }
        if float.is_infinite() {
            return Ok(Self(Repr::Infinity(if float > 0.0 {
                Sign::Plus
            } else {
                Sign::Minus
            })));
        }
        format!("{float:.*}", fraction_digits(float)).parse()
    }
}

/// How many decimal places write the float exactly: as many as its value has binary places.
fn fraction_digits(float: f64) -> usize {
    const MANTISSA_BITS: u32 = 52;
    let bits = float.to_bits();
    let biased = i64::try_from((bits >> MANTISSA_BITS) & 0x7ff).unwrap_or(0);
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let (mantissa, exponent) = if biased == 0 {
        (fraction, -1074)
    } else {
        (fraction | (1 << MANTISSA_BITS), biased - 1075)
    };
    if mantissa == 0 {
        return 0;
    }
    usize::try_from(-(exponent + i64::from(mantissa.trailing_zeros()))).unwrap_or(0)
}

impl FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        if text.len() < 19
            && let Ok(small) = text.parse::<i64>()
        {
            return Ok(Self::from(small));
        }
        let (sign, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (Sign::Minus, &text[1..]),
            Some(b'+') => (Sign::Plus, &text[1..]),
            _ => (Sign::Plus, text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(NumberError::Syntax);
        }
        let places = i64::try_from(fraction.len()).map_err(|_| NumberError::Exponent)?;
        let exponent = exponent.checked_sub(places).ok_or(NumberError::Exponent)?;
        if fraction.is_empty() {
            return Self::from_parts(sign, whole, exponent);
        }
        Self::from_parts(sign, &[whole, fraction].concat(), exponent)
    }
}

fn parse_exponent(text: &str) -> Result<i64, NumberError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Syntax);
    }
    text.parse().map_err(|_| NumberError::Exponent)
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = match &self.0 {
            Repr::Integer(n) => return write!(f, "{n}"),
            Repr::Infinity(sign) => return write!(f, "{}Infinity", sign.prefix()),
            Repr::Decimal(d) => d,
        };
        let (sign, digits) = (d.sign.prefix(), d.digits.as_str());
        let point = d.magnitude();
        if d.exponent > MAX_PADDING || point < -MAX_PADDING {
            return write!(f, "{sign}{digits}e{}", d.exponent);
        }
        let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
        match usize::try_from(point) {
            _ if d.exponent >= 0 => write!(f, "{sign}{digits}{}", zeros(d.exponent)),
            Ok(at) if at > 0 => write!(f, "{sign}{}.{}", &digits[..at], &digits[at..]),
            _ => write!(f, "{sign}0.{}{digits}", zeros(-point)),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Repr::Integer(a), Repr::Integer(b)) = (&self.0, &other.0) {
            return a.cmp(b);
        }
        self.sign_rank()
            .cmp(&other.sign_rank())
            .then_with(|| match (self.to_decimal(), other.to_decimal()) {
                (Some(a), Some(b)) if a.sign == Sign::Minus => b.cmp_magnitude(&a),
                (Some(a), Some(b)) => a.cmp_magnitude(&b),
                _ => Ordering::Equal,
            })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Number {
    /// Orders what need not be compared digit by digit: -∞, negative, zero, positive, ∞.
    fn sign_rank(&self) -> i8 {
        match &self.0 {
            Repr::Infinity(Sign::Minus) => -2,
            Repr::Infinity(Sign::Plus) => 2,
            Repr::Integer(n) => i8::try_from(n.signum()).unwrap_or(0),
            Repr::Decimal(d) if d.sign == Sign::Minus => -1,
            Repr::Decimal(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn numbers_are_equal_when_their_values_are() {
        for same in [
            ["1", "1.0"],
            ["100", "1e2"],
            ["0.5", "5e-1"],
            ["-0", "0"],
            ["1e30", "1000000000000000000000000000000"],
        ] {
            assert_eq!(number(same[0]), number(same[1]));
        }
        assert_ne!(number("0.1"), Number::try_from(0.1).unwrap());
        assert_eq!(number("0.5"), Number::try_from(0.5).unwrap());
    }

    #[test]
    fn numbers_are_printed_without_exponent_up_to_a_sane_width() {
        for text in [
            "0",
            "-1",
            "0.8",
            "-12.25",
            "0.001",
            "18446744073709551616",
            "123456789012345678901234567890.5",
        ] {
            assert_eq!(number(text).to_string(), text);
        }
        assert_eq!(number("1e3").to_string(), "1000");
        assert_eq!(number("-25e-4").to_string(), "-0.0025");
        assert_eq!(number("1e5000").to_string(), "1e5000");
        assert_eq!(number("1e-5000").to_string(), "1e-5000");
    }

    #[test]
    fn text_that_is_no_number_is_refused() {
        for text in [
            "", "-", ".", "1e", "e1", "1.2.3", "0x10", "1_000", " 1", "NaN", "Inf", "+-1", "1e+-1", "１",
        ] {
            assert_eq!(text.parse::<Number>(), Err(NumberError::Syntax), "{text}");
        }
        for text in [
            "1e100001",
            "1e-100001",
            "1e99999999999999999999",
            "1e-9223372036854775808",
        ] {
            assert_eq!(text.parse::<Number>(), Err(NumberError::Exponent), "{text}");
        }
    }

    #[test]
    fn integers_at_the_edges_of_64_bits_keep_their_kind() {
        assert_eq!(number("9223372036854775807").as_i64(), Some(i64::MAX));
        assert_eq!(number("-9223372036854775808").as_i64(), Some(i64::MIN));
        assert_eq!(number("9223372036854775808").as_i64(), None);
        assert_eq!(number("18446744073709551615").as_u64(), Some(u64::MAX));
        assert_eq!(number("18446744073709551616").as_u64(), None);
        assert_eq!(Number::from(u64::MAX), number("18446744073709551615"));
        assert_eq!(number("1.5").as_u64(), None);
    }

    #[test]
    fn a_float_is_taken_at_its_exact_value() {
        assert_eq!(
            Number::try_from(0.1).unwrap().to_string(),
            "0.1000000000000000055511151231257827021181583404541015625"
        );
        for float in [
            0.1,
            1.5,
            -2.0,
            1e300,
            5e-324,
            f64::MAX,
            f64::MIN_POSITIVE,
            9.007_199_254_740_993e15,
        ] {
            let exact = Number::try_from(float).unwrap();
            assert_eq!(exact.to_f64_exact(), Some(float), "{float}");
        }
        assert_eq!(number("0.1").to_f64_exact(), None);
        assert_eq!(Number::try_from(f64::NAN), Err(NumberError::NotANumber));
        assert_eq!(Number::try_from(f64::INFINITY).unwrap().to_f64(), f64::INFINITY);
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let ordered = [
            "-1e50", "-10", "-9.99", "-0.001", "0", "1e-9", "0.5", "5", "10", "12.5", "99e20", "1e23",
        ];
        let mut numbers: Vec<_> = ordered.iter().map(|t| number(t)).collect();
        numbers.insert(0, Number::try_from(f64::NEG_INFINITY).unwrap());
        numbers.push(Number::try_from(f64::INFINITY).unwrap());
        for (i, a) in numbers.iter().enumerate() {
            for (j, b) in numbers.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a} {b}");
            }
        }
    }
}
