//! The shared secret between services.

use std::fmt;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::backend::App;
use crate::connection::Line;
use crate::problem::Problem;

/// The header that carries the secret.
pub(crate) const HEADER: &str = "x-service-token";

/// A secret that is not empty and does not print itself.
pub(crate) struct ServiceToken(String);

impl ServiceToken {
    /// `None` for the empty string.
    pub(crate) fn new(secret: String) -> Option<Self> {
        if secret.is_empty() {
            None
        } else {
            Some(Self(secret))
        }
    }

    /// Compares as a plain string. Several values count as one, joined by a comma, as HTTP servers in other languages
    /// present them to an application: a genuine token beside a forged one is therefore wrong.
    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let values: Vec<&[u8]> = headers
            .get_all(HEADER)
            .iter()
            .map(|value| value.as_bytes())
            .collect();
        if values.is_empty() {
            return Err(Refusal::Missing);
        }
        let presented = values.join(&b", "[..]);
        if bool::from(presented.ct_eq(self.0.as_bytes())) {
            Ok(())
        } else {
            Err(Refusal::Wrong)
        }
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceToken({} bytes)", self.0.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Missing,
    Wrong,
}

/// Middleware: refuses and logs a request whose token is missing (401) or wrong (403).
pub(crate) async fn require(
    State(app): State<App>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = &app.0.token else {
        return next.run(request).await;
    };
    let (status, reason, message) = match token.check(request.headers()) {
        Ok(()) => return next.run(request).await,
        Err(Refusal::Missing) => (
            StatusCode::UNAUTHORIZED,
            "missing_service_token",
            "X-Service-Token is missing",
        ),
        Err(Refusal::Wrong) => (
            StatusCode::FORBIDDEN,
            "wrong_service_token",
            "X-Service-Token is not accepted",
        ),
    };
    eprintln!(
        "{}",
        json!({
            "event": "refused",
            "reason": reason,
            "method": request.method().as_str(),
            "path": request.uri().path(),
            "peer": line.peer().to_string(),
        })
    );
    Problem::new(status, reason, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(values: &[&'static str]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, axum::http::HeaderValue::from_static(value));
        }
        ServiceToken("0123abcd".to_owned()).check(&headers)
    }

    #[test]
    fn only_the_very_same_string_is_accepted() {
        assert_eq!(checked(&["0123abcd"]), Ok(()));
        assert_eq!(checked(&[]), Err(Refusal::Missing));
        for wrong in [
            "",
            "0123abc",
            "0123abcde",
            "0123ABCD",
            "${INTER_SERVICE_SECRET}",
        ] {
            assert_eq!(checked(&[wrong]), Err(Refusal::Wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_genuine_token_beside_a_forged_one_is_wrong() {
        assert_eq!(checked(&["forged", "0123abcd"]), Err(Refusal::Wrong));
        assert_eq!(checked(&["0123abcd", "forged"]), Err(Refusal::Wrong));
        assert_eq!(checked(&["0123abcd", "0123abcd"]), Err(Refusal::Wrong));
    }

    #[test]
    fn a_token_prints_only_its_length() {
        let token = ServiceToken::new("0123abcd".to_owned());
        assert_eq!(format!("{token:?}"), "Some(ServiceToken(8 bytes))");
        assert!(ServiceToken::new(String::new()).is_none());
    }
}
