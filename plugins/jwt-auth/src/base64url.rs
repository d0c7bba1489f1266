//! Base64url (RFC 4648 section 5), as it must be and as some write it.

use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, Engine as _};

/// The same with or without `=` at its end.
const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// As RFC 7515 section 2 has it: no padding, no white space, no bits behind the last byte.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The same, where `=` at the end is passed over.
pub(crate) fn decode_padded(text: &[u8]) -> Option<Vec<u8>> {
    PADDED_OR_NOT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_passed_over_only_where_that_is_asked_for() {
        for (text, strict, padded) in [
            ("AQID", true, true),
            ("AQ", true, true),
            ("AQ==", false, true),
            ("AQI=", false, true),
            ("", true, true),
            // Two bytes of `=` more, white space, bits behind the last byte, the other alphabet.
            ("AQI==", false, false),
            ("AQID====", false, false),
            ("=", false, false),
            ("AQ==AQ==", false, false),
            ("AQ ==", false, false),
            ("AR==", false, false),
            ("+/+/", false, false),
        ] {
            assert_eq!(decode(text.as_bytes()).is_some(), strict, "{text}");
            assert_eq!(decode_padded(text.as_bytes()).is_some(), padded, "{text}");
        }
    }
}
